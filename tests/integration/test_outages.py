"""PostgreSQL is out of reach: what is known is served and marked, what is not known is refused for a while."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest

from policyd.config import EmbeddedConfig
from policyd.observe.events import BackendLost, ChangesRead, CurrencyLost, CurrencyRegained, Observation
from policyd.store import embedded
from policyd.store.migrate import migrate
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.conftest import Postgres, connection_to
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.outage import changed
from tests.integration.proxy import Proxy, proxying

LEASE = 1.0
KNOWN, UNKNOWN = "/listener-domain/known.example", "/listener-domain/unknown.example"
OTHER = "other.0123456789abcdefghij"


@dataclass(frozen=True, slots=True)
class Distant:
    """A service that is current, knows one answer, and reaches PostgreSQL through a network that can fail."""

    service: Service
    proxy: Proxy
    db: Connection
    position: str

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str]]:
        status, _, received = await self.service.get(path, **headers)
        return status, received


@pytest.fixture
async def distant(dsn: str, db: Connection) -> AsyncIterator[Distant]:
    await make_token(db)
    await make_token(db, OTHER, ("lookup",))
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('known.example', true)")
    async with (
        proxying(dsn) as proxy,
        serving(make_config(proxy.dsn, lease=LEASE, poll=0.1)) as service,
    ):
        await service.observations.wait_for(is_current)
        assert (await service.get(KNOWN))[0] == 200
        yield Distant(service, proxy, db, await head(db))


def is_current(seen: Observation) -> bool:
    return isinstance(seen, CurrencyRegained)


def is_not_current(seen: Observation) -> bool:
    return isinstance(seen, CurrencyLost)


TROUBLES: dict[str, Callable[[Proxy], None]] = {
    "cut": lambda proxy: proxy.cut(),
    "silent": lambda proxy: proxy.fall_silent(),
    "slow": lambda proxy: proxy.slow_down(0.7),
    "only the feed is cut": lambda proxy: proxy.cut("change feed"),
    "only the feed is silent": lambda proxy: proxy.fall_silent("change feed"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_nothing_is_vouched_for_later_than_the_lease_after_the_network_failed(
    distant: Distant, trouble: str
) -> None:
    TROUBLES[trouble](distant.proxy)
    failed_at = time.monotonic()
    await distant.db.execute("delete from policy.listener_domain")
    marked = 0
    async with asyncio.timeout(15):
        while marked < 50:
            began = time.monotonic()
            status, headers = await distant.get(KNOWN)
            if began >= failed_at + LEASE:
                assert status == 503 or headers["Policy-Stale"] == "true"
                assert status == 503 or int(headers["Age"]) >= LEASE
                marked += 1
    status, headers = await distant.get(UNKNOWN)
    assert (status, headers["Retry-After"]) == (503, "1")
    status, headers = await distant.get(f"/changes?position={distant.position}")
    assert (status, headers["Retry-After"]) == (503, "1")

    said = len(distant.service.observations.seen)
    distant.proxy.heal()
    await distant.service.observations.wait_for(is_current, after=said)
    status, headers = await distant.get(KNOWN, Policy_Position=await head(distant.db))
    assert (status, "Policy-Stale" in headers) == (404, False)


async def test_in_an_outage_a_position_that_was_reached_is_answered_and_a_later_one_is_not(
    distant: Distant,
) -> None:
    distant.proxy.cut()
    await distant.db.execute("delete from policy.listener_domain")
    later = await head(distant.db)
    assert (await distant.get(KNOWN, Policy_Position=later))[0] == 503
    await distant.service.observations.wait_for(is_not_current)
    status, headers = await distant.get(KNOWN, Policy_Position=distant.position)
    assert (status, headers["Policy-Stale"], headers["Policy-Position"]) == (200, "true", distant.position)
    assert (await distant.get(KNOWN, Policy_Position=later))[0] == 503
    assert (await distant.get(KNOWN, Policy_Position=distant.position[:-8] + "00000000"))[0] == 409


async def test_in_an_outage_a_token_seen_before_is_good_and_no_other_is_called_wrong(
    distant: Distant,
) -> None:
    distant.proxy.cut()
    await distant.service.observations.wait_for(is_not_current)
    assert (await distant.get(KNOWN))[0] == 200
    assert (await distant.get(KNOWN, Authorization=f"Bearer {OTHER}"))[0] == 503
    assert (await distant.get(KNOWN, Authorization="Bearer nobody.0123456789abcdefghij"))[0] == 503
    said = len(distant.service.observations.seen)
    distant.proxy.heal()
    await distant.service.observations.wait_for(is_current, after=said)
    assert (await distant.get(KNOWN, Authorization=f"Bearer {OTHER}"))[0] == 200
    assert (await distant.get(KNOWN, Authorization="Bearer nobody.0123456789abcdefghij"))[0] == 401


async def test_who_waits_for_changes_is_told_of_an_outage_as_soon_as_the_lease_ends(distant: Distant) -> None:
    waiting = [
        asyncio.create_task(distant.get(f"/changes?position={distant.position}&wait=14")) for _ in range(3)
    ]
    distant.proxy.fall_silent()
    failed_at = time.monotonic()
    await distant.service.observations.wait_for(is_not_current)
    assert {status for status, _ in await asyncio.gather(*waiting)} == {503}
    assert time.monotonic() < failed_at + LEASE + 1.5


async def test_a_lost_server_is_not_asked_again_without_a_pause_however_many_wait_for_it(
    distant: Distant,
) -> None:
    distant.proxy.cut()
    assert (await distant.get(KNOWN, Policy_Position="999999-00000000"))[0] == 503
    await distant.service.observations.wait_for(is_not_current)
    attempts = [seen for seen in distant.service.observations.seen if isinstance(seen, BackendLost)]
    assert 1 <= len(attempts) <= 8


async def test_what_is_older_than_max_stale_is_not_served_at_all(dsn: str, db: Connection) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy:
        config = make_config(proxy.dsn, lease=LEASE, poll=0.1)
        config = replace(config, cache=replace(config.cache, max_stale=Seconds(2 * LEASE)))
        async with serving(config) as service:
            await service.observations.wait_for(is_current)
            assert (await service.get(KNOWN))[0] == 404
            proxy.cut()
            failed_at = time.monotonic()
            await service.observations.wait_for(is_not_current)
            status, _, headers = await service.get(KNOWN)
            assert (status, headers["Policy-Stale"]) == (404, "true")
            async with asyncio.timeout(5):
                while status != 503:
                    began = time.monotonic()
                    status, _, headers = await service.get(KNOWN)
                    assert status == 503 or began < failed_at + 2 * LEASE
            assert headers["Retry-After"] == "1"


async def test_a_service_that_cannot_reach_postgresql_ends_when_it_is_told_to(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy:
        async with serving(make_config(proxy.dsn, lease=LEASE, poll=0.1)) as service:
            await service.observations.wait_for(is_current)
            asked = [service.get("/names/tenant") for _ in range(30)]
            assert {status for status, _, _ in await asyncio.gather(*asked)} == {200}
            proxy.fall_silent()
            await service.observations.wait_for(is_not_current)
            told_at = time.monotonic()
        assert time.monotonic() < told_at + 6


async def test_lookups_that_hang_neither_stop_what_is_known_nor_outlast_their_deadline(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy:
        config = make_config(proxy.dsn, lease=LEASE, poll=0.1)
        config = replace(config, lookup=replace(config.lookup, deadline=Seconds(0.5)))
        async with serving(config) as service:
            await service.observations.wait_for(is_current)
            assert (await service.get(KNOWN))[0] == 404
            proxy.fall_silent("lookups")
            began = time.monotonic()
            asked = [service.get(f"/listener-domain/{number}.example") for number in range(50)]
            assert {status for status, _, _ in await asyncio.gather(*asked)} == {503}
            assert time.monotonic() < began + 2
            status, _, headers = await service.get(KNOWN)
            assert (status, "Policy-Stale" in headers) == (404, False)
            proxy.heal()
            async with asyncio.timeout(5):
                while (await service.get(UNKNOWN))[0] != 404:
                    pass


async def test_without_notifications_a_change_is_read_within_a_poll(dsn: str, db: Connection) -> None:
    await make_token(db)
    source = await db.fetchval("select pg_get_functiondef('policy.take_revision()'::regprocedure)")
    await db.execute(source.replace("perform pg_notify('policy', taken::text);", ""))
    async with serving(make_config(dsn, poll=0.3)) as service:
        await service.observations.wait_for(is_current)
        assert (await service.get(KNOWN))[0] == 404
        await db.execute(
            "insert into policy.listener_domain (domain, relay_to) values ('known.example', true)"
        )
        seen = await service.observations.wait_for(lambda seen: isinstance(seen, ChangesRead))
        assert isinstance(seen, ChangesRead)
        assert str(seen.position) == await head(db)
        assert (await service.get(KNOWN))[0] == 200


async def test_a_service_starts_without_postgresql_and_lives_through_its_restart(
    postgres: Postgres, state_directory
) -> None:
    del postgres
    state = EmbeddedConfig(state=state_directory / "restarted")
    with embedded.running(state, durable=False) as server:
        dsn = server.dsn()
        async with connection_to(dsn) as db:
            await migrate(db)
            await make_token(db)
    async with serving(make_config(dsn, lease=LEASE, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, BackendLost))
        assert (await service.get(KNOWN))[0] == 503
        assert (await service.get("/openapi.json"))[0] == 200
        async with service.session.get(service.admin_url + "/readyz") as ready:
            assert ready.status == 503
        with embedded.running(state, durable=False):
            await service.observations.wait_for(is_current)
            async with connection_to(dsn) as db:
                await db.execute("insert into policy.listener_domain (domain) values ('known.example')")
                assert (await service.get(KNOWN, Policy_Position=await head(db)))[0] == 200
        await service.observations.wait_for(is_not_current)
        status, _, headers = await service.get(KNOWN)
        assert (status, headers["Policy-Stale"]) == (200, "true")
        async with service.session.get(service.admin_url + "/readyz") as ready:
            assert ready.status == 200
        said = len(service.observations.seen)
        with embedded.running(state, durable=False):
            await service.observations.wait_for(is_current, after=said)
            async with connection_to(dsn) as db:
                await db.execute("delete from policy.listener_domain")
                assert (await service.get(KNOWN, Policy_Position=await head(db)))[0] == 404


async def test_lookups_that_get_no_connection_are_counted_and_told_and_do_not_hammer_the_server(
    dsn: str, db: Connection
) -> None:
    await make_token(db)
    async with proxying(dsn) as proxy, changed(proxy.dsn) as watched:
        assert (await watched.service.get(KNOWN))[0] == 404
        proxy.cut("lookups")
        began = time.monotonic()
        asked = [watched.service.get(f"/listener-domain/{number}.example") for number in range(50)]
        assert {status for status, _, _ in await asyncio.gather(*asked)} == {503}
        for number in range(50, 55):
            assert (await watched.service.get(f"/listener-domain/{number}.example"))[0] == 503
        # Two that work side by side, with pauses of 25 ms at first.
        assert proxy.refusals <= 10 + 80 * (time.monotonic() - began)
        # The feed is in touch, so that what is known is vouched for.
        status, _, headers = await watched.service.get(KNOWN)
        assert (status, "Policy-Stale" in headers) == (404, False)
        assert await watched.metric("policyd_backend_up", "postgresql") == 1
        assert await watched.metric("policyd_backend_troubles_total", "postgresql", "unreachable") >= 1
        (line,) = watched.lines("a request could not be answered")
        assert (line["backend"], line["trouble"]) == ("postgresql", "unreachable")
        proxy.heal()
        assert (await watched.service.get(UNKNOWN))[0] == 404
