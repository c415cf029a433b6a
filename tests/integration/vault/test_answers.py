"""Vault answers, or does not: a key is read, or it is said why not; never a wrong answer, never a flood."""

import asyncio
import time

import pytest
from aiohttp import web

from policyd.errors import KeyInvalid, SecretsUnavailable
from policyd.keys import key_of, read_pem
from tests.integration.vault.faults import NAME, PATH, REACHED, always, on, refusal
from tests.unit.keys.pems import rsa_pem


async def test_while_vault_is_gone_nobody_waits_for_it(here, said):
    async with here.vault.keys(here.vault.config(), said) as keys:
        assert await keys.read(NAME) is not None
        here.double.fault = always(503, {"errors": ["Vault is sealed"]})
        here.double.asked.clear()
        for number in range(200):
            assert "sealed" in await refusal(keys, key_of("example.com", f"s{number}"))
        assert len(here.double.asked) < 10


async def test_a_slow_vault_costs_a_read_its_deadline_and_no_more(here, said):
    async with here.vault.keys(here.vault.config(), said, timeout=0.3) as keys:
        assert await keys.read(NAME) is not None
        released = asyncio.Event()

        async def hang(_: web.BaseRequest) -> None:
            await released.wait()

        here.double.fault = hang
        began = time.monotonic()
        said_of_it = await asyncio.gather(*(refusal(keys, key_of("example.com", f"s{n}")) for n in range(20)))
        assert time.monotonic() - began < 2
        assert any("did not answer in time" in each for each in said_of_it)
        released.set()
        here.double.fault = None
        await said.wait_for(lambda each: each == REACHED, after=len(said.seen))
        assert await keys.read(NAME) is not None


async def test_an_answer_that_trickles_ends_at_the_deadline_too(here, said):
    stopped = asyncio.Event()

    async def trickle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not stopped.is_set() and request.transport is not None:
            await response.write(b" ")
            await asyncio.sleep(0.02)
        return response

    async with here.vault.keys(here.vault.config(), said, timeout=0.3) as keys:
        await keys.read(NAME)
        here.double.fault = on("/data/", trickle)
        began = time.monotonic()
        assert "did not answer in time" in await refusal(keys)
        assert time.monotonic() - began < 1
        stopped.set()


@pytest.mark.parametrize(
    "garbage",
    [
        always(200, text="<html>Welcome</html>"),
        always(404, text="<html>Not found</html>"),
        always(404, text=""),
        always(404, {"message": "no Route matched with those values"}),
        always(404, {"errors": ["no handler for route"]}),
        always(404, {"data": {"data": None}}),
        always(404, {"data": None, "warnings": ["Invalid path for a versioned K/V secrets engine"]}),
        always(200, text=""),
        always(200, ["canary"]),
        always(200, {}),
        always(200, {"data": None}),
        always(200, {"data": {"data": None}}),
        always(200, {"data": {"data": ["canary"]}}),
        always(200, text="{" + " " * 2**21),
        always(204, text=""),
        always(400, {"errors": ["Waiting for the primary to upgrade from non-versioned to versioned"]}),
        always(403, text="<html>canary: access denied</html>"),
        always(412, {"errors": ["required index state not present"]}),
        always(418, {"errors": "canary"}),
        always(500, {"errors": ["local node not active but active cluster node not found"]}),
        always(502, text="Bad Gateway"),
        always(503, {"errors": ["API access to this namespace has been locked"]}),
        always(429, {"errors": ["rate limit quota exceeded"]}),
    ],
)
async def test_garbage_is_neither_a_key_nor_a_missing_key(here, said, garbage):
    async with here.vault.keys(here.vault.config(), said) as keys:
        assert await keys.read(NAME) is not None
        here.double.fault = on("/data/", garbage)
        await refusal(keys)
        here.double.fault = None
        await _eventually_read(keys)


@pytest.mark.parametrize("value", [17, ["canary"], {"canary": 1}, True])
async def test_a_field_that_is_no_text_is_no_key(here, said, value):
    here.double.fault = on("/data/", always(200, {"data": {"data": {"key": value}, "metadata": {}}}))
    async with here.vault.keys(here.vault.config(), said) as keys:
        with pytest.raises(KeyInvalid, match="is not text") as caught:
            await keys.read(NAME)
        assert "canary" not in str(caught.value)


async def test_a_standby_is_no_lost_vault_though_its_health_is_429(here, said):
    async with here.vault.keys(here.vault.config(), said) as keys:
        await keys.read(NAME)
        here.double.fault = always(503, {"errors": ["Vault is sealed"]})
        await refusal(keys)
        after = len(said.seen)
        here.double.fault = always(429, {"initialized": True, "sealed": False, "standby": True})
        await said.wait_for(lambda each: each == REACHED, after=after)


async def test_many_who_ask_for_one_key_cost_one_read(here, said):
    async with here.vault.keys(here.vault.config(), said) as keys:
        await keys.read(NAME)
        before = here.count(PATH)
        found = await asyncio.gather(*(keys.read(NAME) for _ in range(100)))
        assert here.count(PATH) == before + 1
        assert set(found) == {read_pem(rsa_pem())}


async def test_who_gives_up_does_not_take_the_key_from_the_others(here, said):
    async with here.vault.keys(here.vault.config(), said) as keys:
        await keys.read(NAME)
        impatient = asyncio.ensure_future(keys.read(NAME))
        patient = asyncio.ensure_future(keys.read(NAME))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient is not None


async def test_a_mount_that_is_upgraded_meanwhile_is_read_in_its_new_version(here, said):
    here.double.mounts["secret"] = "1"
    here.double.secrets[f"secret/dkim-{here.vault.mark}/{PATH}"], kept = (
        {"key": rsa_pem().decode()},
        here.double.secrets[f"secret/dkim-{here.vault.mark}/{PATH}"],
    )
    async with here.vault.keys(here.vault.config(), said) as keys:
        assert await keys.read(NAME) is not None
        here.double.mounts["secret"] = "2"
        here.double.secrets[f"secret/dkim-{here.vault.mark}/{PATH}"] = kept
        assert await keys.read(NAME) is not None


async def test_the_end_does_not_wait_for_a_vault_that_hangs(here, said):
    released = asyncio.Event()

    async def hang(_: web.BaseRequest) -> None:
        await released.wait()

    async with here.vault.keys(here.vault.config(), said, timeout=2) as keys:
        await keys.read(NAME)
        here.double.fault = hang
        reading = asyncio.ensure_future(keys.read(NAME))
        await asyncio.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 0.5
    with pytest.raises(asyncio.CancelledError):
        await reading
    released.set()


async def _eventually_read(keys) -> None:
    """Read a key, as soon as policyd thinks that Vault is worth asking again."""
    async with asyncio.timeout(10):
        while True:
            try:
                assert await keys.read(NAME) is not None
                return
            except SecretsUnavailable:
                await asyncio.sleep(0.05)
