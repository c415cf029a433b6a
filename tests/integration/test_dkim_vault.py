"""Plans and keys while Vault is in trouble: what is known is answered, what is not is a clear 503, and nothing is mixed up."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from aiohttp import web

from policyd.observe.events import BackendLost, CurrencyRegained, KeyChanged, KeyUnusable
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.signing import PATIENT, RESTLESS, fingerprint
from tests.integration.sql_log import changes
from tests.integration.sql_log import head as revision
from tests.integration.vault.double import ROOT, Fault, VaultDouble
from tests.integration.vault.faults import always
from tests.integration.vault.servers import Vault, doubled
from tests.unit.keys.pems import ed25519_pem, rsa_pem

KNOWN, OTHER, MODERN = (fingerprint(pem) for pem in (rsa_pem(), rsa_pem(number=1), ed25519_pem()))


@dataclass(frozen=True, slots=True)
class Stored:
    """A service whose keys are in Vault; that of known.example was seen, those of other domains never."""

    service: Service
    vault: Vault
    double: VaultDouble
    db: Connection

    async def get(self, path: str) -> tuple[int, str]:
        """The status, and what matters of the answer: a key_id, or what is wrong."""
        status, body, _ = await self.service.get(f"/dkim/{path}", Policy_Position=await head(self.db))
        assert ROOT not in str(body)
        if "type" in body:
            return status, body["type"].rpartition(":")[2]
        answer = body["answer"]
        if "key" in answer:
            assert fingerprint(answer["key"].encode()) == answer["key_id"]
            return status, answer["key_id"]
        (signature,) = answer["signatures"]
        return status, signature.get("key_id") or signature["key_problem"]

    async def unknown(self) -> str:
        """A domain whose plan nobody asked for yet."""
        number = await self.db.fetchval("select count(*) from policy.dkim_domain")
        await self.db.execute("insert into policy.dkim_domain (domain) values ($1)", f"d{number}.example")
        return f"d{number}.example"

    async def lose(self, fault: Fault) -> None:
        said = len(self.service.observations.seen)
        self.double.fault = fault
        assert (await self.get(await self.unknown()))[0] == 503
        await self.service.observations.wait_for(lambda seen: isinstance(seen, BackendLost), after=said)


async def _serve(dsn: str, db: Connection, *, restless: bool) -> AsyncIterator[Stored]:
    await make_token(db)
    await db.execute("update policy.dkim_settings set selector = 's1'")
    await db.execute("insert into policy.dkim_domain (domain) values ('known.example')")
    async with doubled() as (vault, double):
        await vault.write("known.example/s1", rsa_pem())
        config = replace(
            make_config(dsn),
            keys={"default": replace(vault.root, timeout=Seconds(0.5))},
            vault=vault.config(),
            dkim=RESTLESS if restless else PATIENT,
        )
        async with serving(config) as service:
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
            stored = Stored(service, vault, double, db)
            assert await stored.get("known.example") == (200, KNOWN)
            assert await stored.get(f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)
            yield stored


@pytest.fixture
async def stored(dsn: str, db: Connection) -> AsyncIterator[Stored]:
    async for each in _serve(dsn, db, restless=False):
        yield each


@pytest.fixture
async def watched(dsn: str, db: Connection) -> AsyncIterator[Stored]:
    async for each in _serve(dsn, db, restless=True):
        yield each


async def hang(_: web.BaseRequest) -> None:
    await asyncio.Event().wait()


async def cut(request: web.BaseRequest) -> None:
    assert request.transport is not None
    request.transport.abort()


FAULTS: dict[str, Fault] = {
    "down": cut,
    "sealed": always(503, {"errors": ["Vault is sealed"]}),
    "slow": hang,
    "revoked": always(403, {"errors": ["permission denied"]}),
    "garbage": always(200, text="<html>"),
    "wrong shape": always(200, {"data": {"data": {"key": 5}}}),
    "standby without its leader": always(307, text="", Location="http://127.0.0.1:1/v1/x"),
    "starting": always(500, {"errors": ["local node not active but active cluster node not found"]}),
}


@pytest.mark.parametrize("trouble", FAULTS)
async def test_what_is_known_is_answered_and_what_is_not_is_unavailable(stored: Stored, trouble: str) -> None:
    stored.double.fault = FAULTS[trouble]
    status, said = await stored.get(await stored.unknown())
    # What Vault says wrongly of a key is that key's problem; else nobody can know.
    assert (status, said) in {(503, "unavailable"), (200, "unusable")}, (status, said)
    assert await stored.get("known.example") == (200, KNOWN)
    assert await stored.get(f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)
    assert (await stored.get(f"known.example/s1?key_id={OTHER}"))[0] == 503
    status, _, _ = await stored.service.get("/queue/example.com")
    assert status == 200


async def test_other_lookups_do_not_wait_for_a_vault_that_hangs(stored: Stored) -> None:
    await stored.db.execute("insert into policy.dkim_domain (domain) values ('*.many.example')")
    await stored.service.reach(await head(stored.db))
    stored.double.fault = hang
    waiting = [
        asyncio.ensure_future(stored.service.get(f"/dkim/d{number}.many.example")) for number in range(50)
    ]
    async with asyncio.timeout(0.45):
        for _ in range(20):
            assert (await stored.service.get("/queue/example.com"))[0] == 200
    assert {status for status, _, _ in await asyncio.gather(*waiting)} == {503}


async def test_when_vault_is_back_the_plan_heals_by_itself(stored: Stored) -> None:
    await stored.lose(FAULTS["sealed"])
    domain = await stored.unknown()
    assert await stored.get(domain) == (503, "unavailable")
    stored.double.fault = None
    await stored.vault.write(f"{domain}/s1", ed25519_pem())
    async with asyncio.timeout(10):
        while (await stored.get(domain))[0] != 200:
            pass
    assert await stored.get(domain) == (200, MODERN)


async def test_a_key_replaced_in_vault_is_one_change(watched: Stored) -> None:
    before = await revision(watched.db)
    await watched.vault.write("known.example/s1", rsa_pem(number=1))
    await watched.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
    assert await watched.get("known.example") == (200, OTHER)
    assert await watched.get(f"known.example/s1?key_id={OTHER}") == (200, OTHER)
    assert await watched.get(f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)
    assert len(await changes(watched.db, before)) == 1


@pytest.mark.parametrize(
    "how", ["DELETE secret/data/{path}", "PUT secret/destroy/{path}", "POST secret/data/{path}"]
)
async def test_a_version_deleted_destroyed_or_made_unreadable_stays_known(watched: Stored, how: str) -> None:
    method, _, path = how.partition(" ")
    body = {
        "DELETE": None,
        "PUT": {"versions": [1]},
        "POST": {"data": {"key": "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"}},
    }[method]
    name = f"dkim-{watched.vault.mark}/known.example/s1"
    await watched.vault.call(method, path.format(path=name), body)
    unusable = await watched.service.observations.wait_for(lambda seen: isinstance(seen, KeyUnusable))
    assert "canary" not in repr(unusable)
    assert await watched.get("known.example") == (200, KNOWN)
    assert await watched.get(f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)
    assert (await watched.get(f"known.example/s1?key_id={OTHER}"))[0] == 503
    assert not any(isinstance(seen, KeyChanged) for seen in watched.service.observations.seen)


async def test_a_key_of_the_wrong_algorithm_does_not_sign_and_heals(watched: Stored) -> None:
    await watched.db.execute("update policy.dkim_domain set algorithm = 'sha256'")
    await watched.vault.write("known.example/s1", ed25519_pem())
    await watched.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged))
    assert await watched.get("known.example") == (200, "wrong-algorithm")
    said = len(watched.service.observations.seen)
    await watched.vault.write("known.example/s1", rsa_pem())
    await watched.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged), after=said)
    assert await watched.get("known.example") == (200, KNOWN)


async def test_the_recheck_leaves_a_lost_vault_in_peace(watched: Stored) -> None:
    await watched.lose(FAULTS["sealed"])
    watched.double.asked.clear()
    await asyncio.sleep(3)
    assert len(watched.double.asked) < 20
    said = len(watched.service.observations.seen)
    watched.double.fault = None
    await watched.vault.write("known.example/s1", rsa_pem(number=1))
    await watched.service.observations.wait_for(lambda seen: isinstance(seen, KeyChanged), after=said)
