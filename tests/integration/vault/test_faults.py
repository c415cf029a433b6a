"""Whatever happens to Vault: plans and keys that are known go on, nothing else waits, and all is well again by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from policyd.config import Config, VaultConfig
from policyd.errors import Trouble
from policyd.observe.events import BackendFailed, BackendLost, VaultCredentialRefused
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import make_token
from tests.integration.outage import Step, Watched, assert_paced, changed
from tests.integration.signing import PATIENT, fingerprint
from tests.integration.vault.double import Fault, VaultDouble
from tests.integration.vault.double import serving as serving_vault
from tests.integration.vault.faults import always, on
from tests.integration.vault.servers import Vault, arranged
from tests.integration.vault.test_network import certified
from tests.unit.keys.pems import ed25519_pem, rsa_pem

KNOWN, OTHER = fingerprint(rsa_pem()), fingerprint(ed25519_pem())


@dataclass(slots=True)
class Site:
    """A Vault with one key, a database whose rows name it and another, and how to be a service of theirs."""

    dsn: str
    db: Connection
    double: VaultDouble
    vault: Vault
    config: VaultConfig

    def changed(self, config: Config) -> Config:
        root = replace(self.vault.root, timeout=Seconds(0.5))
        return replace(config, keys={"default": root}, vault=self.config, dkim=PATIENT)

    def watching(self) -> contextlib.AbstractAsyncContextManager[Watched]:
        return changed(self.dsn, self.changed)


@asynccontextmanager
async def standing(dsn: str, db: Connection, double: VaultDouble) -> AsyncIterator[Site]:
    await make_token(db)
    await db.execute("update policy.dkim_settings set selector = 's1'")
    await db.execute("insert into policy.dkim_domain (domain) values ('known.example'), ('other.example')")
    async with serving_vault(double), arranged(Vault(address=double.address)) as vault:
        for domain, pem in (("known.example", rsa_pem()), ("other.example", ed25519_pem())):
            await vault.write(f"{domain}/s1", pem)
        yield Site(dsn, db, double, vault, replace(await vault.approle(), login_timeout=Seconds(1.0)))


@pytest.fixture
async def site(dsn: str, db: Connection) -> AsyncIterator[Site]:
    async with standing(dsn, db, VaultDouble()) as site:
        yield site


async def asked(watched: Watched, path: str) -> tuple[int, str]:
    """The status, and the key_id that was answered or what is wrong."""
    status, body, headers = await watched.service.get(f"/dkim/{path}")
    assert "canary" not in str(body)
    if status == 503:
        assert headers["Retry-After"] in ("1", "10")
        return status, body["type"].rpartition(":")[2]
    answer = body["answer"]
    return status, answer["key_id"] if "key" in answer else answer["signatures"][0]["key_id"]


async def knows(watched: Watched) -> None:
    assert await asked(watched, "known.example") == (200, KNOWN)
    assert await asked(watched, f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)


async def heals(watched: Watched) -> None:
    for path in ("other.example", f"other.example/s1?key_id={OTHER}"):
        async with asyncio.timeout(20):
            while (answer := await asked(watched, path))[0] == 503:
                pass
        assert answer == (200, OTHER)


async def survives(site: Site, begin: Step, end: Step, trouble: Trouble, *, lost: bool = True) -> set[str]:
    """
    Let a service live through trouble with Vault that *begin* makes and *end* mends; what the log said was the matter.

    Known plans and keys go on, an unknown one is a 503, and nothing else waits; all is shown. A service that is started
    meanwhile starts, and is as good afterwards. Where Vault is not *lost*, it answers, and refuses.
    """
    event = BackendLost if lost else BackendFailed
    message = "backend lost" if lost else "a request could not be answered"
    async with site.watching() as watched:
        await knows(watched)
        said = watched.said
        await begin()
        assert await asked(watched, "other.example") == (503, "unavailable")
        await watched.service.observations.wait_for(
            lambda seen: isinstance(seen, event) and (seen.backend, seen.trouble) == ("vault", trouble),
            after=said,
        )
        await knows(watched)
        assert await asked(watched, f"known.example/s1?key_id={OTHER}") == (503, "unavailable")
        async with asyncio.timeout(0.4):
            status, _, headers = await watched.service.get("/queue/example.com")
        assert (status, "Policy-Stale" in headers) == (200, False)
        assert await watched.metric("policyd_backend_up", "vault") == (0 if lost else 1)
        assert await watched.metric("policyd_backend_troubles_total", "vault", trouble) >= 1
        async with site.watching() as late:
            assert await asked(late, "known.example") == (200, KNOWN)
            assert await asked(late, f"known.example/s1?key_id={KNOWN}") == (503, "unavailable")
            assert (await late.service.get("/queue/example.com"))[0] == 200
            assert await late.readiness() == 200
            await end()
            for each in (watched, late):
                await heals(each)
                assert await asked(each, f"known.example/s1?key_id={KNOWN}") == (200, KNOWN)
                assert await each.metric("policyd_backend_up", "vault") == 1
        if lost:
            assert_paced(
                [seen for seen in watched.service.observations.seen if isinstance(seen, BackendLost)]
            )
        return {line["reason"] for line in watched.lines(message) if line["trouble"] == trouble}


def fault(site: Site, found: Fault | None) -> Step:
    async def be() -> None:
        site.double.fault = found

    return be


async def hang(_: object) -> None:
    await asyncio.Event().wait()


async def test_while_vault_is_down_what_is_known_goes_on(dsn, db):
    double = VaultDouble()
    async with standing(dsn, db, double) as site, AsyncExitStack() as stack:
        # The address in front of it, so that it can be closed and opened again.
        front = VaultDouble()
        front.fault = double
        open_front = AsyncExitStack()
        await open_front.enter_async_context(serving_vault(front))
        port = int(front.address.rpartition(":")[2])
        site.config = replace(site.config, address=front.address)

        async def open_again() -> None:
            await stack.enter_async_context(serving_vault(front, port=port))

        (reason,) = await survives(site, open_front.aclose, open_again, "unreachable")
        assert reason == f"{front.address} cannot be reached: Connection refused"


async def test_while_vault_is_sealed_what_is_known_goes_on(site):
    async def seal() -> None:
        site.double.sealed = True

    async def unseal() -> None:
        site.double.sealed = False

    assert await survives(site, seal, unseal, "sealed") == {"503 Vault is sealed"}


async def test_while_vault_is_slow_what_is_known_goes_on(site):
    reasons = await survives(site, fault(site, hang), fault(site, None), "timeout")
    assert all("did not answer in time" in reason for reason in reasons)


async def test_while_vault_refuses_keys_what_is_known_goes_on(site):
    denied = on("/data/", always(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}))
    reasons = await survives(site, fault(site, denied), fault(site, None), "refused", lost=False)
    assert all(reason.startswith("Vault does not let policyd read dkim-") for reason in reasons)


async def test_while_a_standby_has_no_leader_what_is_known_goes_on(site):
    leaderless = always(307, text="", Location="http://127.0.0.1:1/v1/x")
    (reason,) = await survives(site, fault(site, leaderless), fault(site, None), "nonsense")
    assert "redirects to http://127.0.0.1:1, which vault.address does not name" in reason


async def test_a_standby_that_answers_reads_is_as_good_as_its_leader(site):
    async def standby(request):
        is_health = request.path.endswith("sys/health")
        return await always(429, {"standby": True, "sealed": False})(request) if is_health else None

    site.double.fault = standby
    async with site.watching() as watched:
        await knows(watched)
        await heals(watched)
        assert not any(isinstance(seen, BackendLost) for seen in watched.service.observations.seen)


async def test_while_the_token_has_ended_what_is_known_goes_on_until_there_is_another(site, tmp_path):
    file = tmp_path / "vault.token"
    token = await site.vault.token()
    file.write_text(token)
    file.chmod(0o600)
    site.config = site.vault.config(token="", token_file=file)

    async def revoke() -> None:
        await site.vault.call("POST", "auth/token/revoke", {"token": token})

    async def replace_it() -> None:
        file.write_text(await site.vault.token())

    reasons = await survives(site, revoke, replace_it, "login", lost=False)
    assert all(
        "Vault refused what vault.login = token offers (403 permission denied)" in each for each in reasons
    )


async def test_a_token_that_has_ended_is_replaced_by_a_login_and_nobody_notices(site):
    async with site.watching() as watched:
        await knows(watched)
        site.double.tokens = {
            name: each for name, each in site.double.tokens.items() if not name.startswith("hvs.")
        }
        await heals(watched)
        assert not any(isinstance(seen, VaultCredentialRefused) for seen in watched.service.observations.seen)


async def test_while_vaults_certificate_is_of_another_authority_what_is_known_goes_on(dsn, db, tmp_path):
    double = VaultDouble()
    async with standing(dsn, db, double) as site, AsyncExitStack() as stack:
        ca_file, first = certified(tmp_path)
        trusted = tmp_path / "ca.pem"
        trusted.write_bytes(ca_file.read_bytes())
        front = VaultDouble()
        front.fault = double
        open_front = AsyncExitStack()
        await open_front.enter_async_context(serving_vault(front, tls=first))
        port = int(front.address.rpartition(":")[2])
        site.config = replace(site.config, address=front.address, ca_file=trusted)
        new_ca, second = certified(tmp_path)

        async def change() -> None:
            await open_front.aclose()
            await stack.enter_async_context(serving_vault(front, port=port, tls=second))

        async def trust() -> None:
            trusted.write_bytes(new_ca.read_bytes())

        (reason,) = await survives(site, change, trust, "certificate")
        assert "has a TLS certificate that is not accepted" in reason
