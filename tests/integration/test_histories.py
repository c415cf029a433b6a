"""The database is replaced by another one under the same name: what was known of the first is worth nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from policyd.observe.events import ChangesRead, CurrencyLost, CurrencyRegained, HistoryReplaced, Observation
from policyd.policy.position import Position
from policyd.store.pool import Connection
from tests.conftest import Postgres
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.databases import Replaceable
from tests.integration.proxy import proxying


def is_replacement(seen: Observation) -> bool:
    return isinstance(seen, HistoryReplaced)


def is_current(seen: Observation) -> bool:
    return isinstance(seen, CurrencyRegained)


@asynccontextmanager
async def following(dsn: str) -> AsyncIterator[Service]:
    async with serving(make_config(dsn, lease=1, poll=0.1)) as service:
        await service.observations.wait_for(is_current)
        yield service


async def allow(db: Connection, *domains: str) -> str:
    """Make each domain a listener domain in a transaction of its own; the position of the last."""
    for domain in domains:
        await db.execute("insert into policy.listener_domain (domain, relay_to) values ($1, true)", domain)
    return await head(db)


@pytest.fixture
async def database(postgres: Postgres, dsn: str) -> AsyncIterator[Replaceable]:
    """A migrated database with a token."""
    database = Replaceable(postgres, dsn)
    async with database.connection() as db:
        await make_token(db)
    yield database
    await database.drop_others()


async def status_of(service: Service, path: str, position: str | None = None) -> int:
    return (await service.get(path, **({} if position is None else {"Policy_Position": position})))[0]


async def test_an_older_copy_written_past_the_old_number_is_another_history(database: Replaceable) -> None:
    older = await database.copy()
    async with following(database.dsn) as service:
        async with database.connection() as db:
            lost = await allow(db, "gone.example", "kept.example")
        assert await status_of(service, "/listener-domain/gone.example", lost) == 200
        assert await status_of(service, "/listener-domain/new.example") == 404
        async with database.connection(older) as db:
            found = await allow(db, "kept.example", "new.example", "more.example", "most.example")
        assert Position.parse(found).number > Position.parse(lost).number
        await database.replace_by(older)
        replaced = await service.observations.wait_for(is_replacement)

        assert isinstance(replaced, HistoryReplaced)
        assert (str(replaced.held), str(replaced.found)) == (lost, found)
        for path, status in {"gone": 404, "kept": 200, "new": 200, "most": 200}.items():
            assert await status_of(service, f"/listener-domain/{path}.example") == status
        assert await status_of(service, "/listener-domain/kept.example", lost) == 409
        assert await status_of(service, "/listener-domain/kept.example", found) == 200
        _, news, headers = await service.get(f"/changes?position={lost}&wait=10")
        assert news == {"position": found, "tags": {}, "floors": {}, "reset": True}
        assert headers["Policy-Position"] == found


async def test_two_histories_with_the_same_numbers_are_told_apart(database: Replaceable) -> None:
    other = await database.copy()
    async with following(database.dsn) as service:
        async with database.connection() as db:
            ours = await allow(db, "one.example", "two.example")
        async with database.connection(other) as db:
            theirs = await allow(db, "un.example", "deux.example")
        assert Position.parse(ours).number == Position.parse(theirs).number
        assert await status_of(service, "/listener-domain/one.example", ours) == 200
        assert await status_of(service, "/listener-domain/one.example", theirs) == 409
        assert (await service.get(f"/changes?position={theirs}"))[1]["reset"] is True
        await database.replace_by(other)
        await service.observations.wait_for(is_replacement)
        assert await status_of(service, "/listener-domain/one.example", theirs) == 404
        assert await status_of(service, "/listener-domain/deux.example", theirs) == 200
        assert await status_of(service, "/listener-domain/deux.example", ours) == 409


async def test_an_older_copy_that_nobody_wrote_to_since_is_another_history(database: Replaceable) -> None:
    older = await database.copy()
    async with following(database.dsn) as service:
        async with database.connection() as db:
            lost = await allow(db, "gone.example")
            await make_token(db, "late.0123456789abcdefghij")
        late = {"Authorization": "Bearer late.0123456789abcdefghij"}
        assert (await service.get("/listener-domain/gone.example", **late))[0] == 200
        waiting = asyncio.create_task(service.get(f"/changes?position={await position_of(service)}&wait=15"))
        await database.replace_by(older)
        await service.observations.wait_for(is_replacement)

        assert await status_of(service, "/listener-domain/gone.example") == 404
        assert await status_of(service, "/listener-domain/gone.example", lost) == 409
        assert (await service.get("/listener-domain/gone.example", **late))[0] == 401
        status, news, _ = await waiting
        assert (status, status == 200 and news["reset"]) in ((200, True), (503, False))


async def position_of(service: Service) -> str:
    return (await service.get("/queue-settings"))[2]["Policy-Position"]


async def test_a_lost_transaction_that_the_service_never_saw_is_no_new_history(database: Replaceable) -> None:
    async with following(database.dsn) as service:
        async with database.connection() as db:
            known = await allow(db, "kept.example")
        assert await status_of(service, "/listener-domain/kept.example", known) == 200
        await database.close_doors()
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost))
        restored = await database.copy()
        async with database.connection(restored) as db:
            later = await allow(db, "new.example")
        await database.replace_by(restored)
        await service.observations.wait_for(
            lambda seen: isinstance(seen, ChangesRead) and str(seen.position) == later
        )
        assert await status_of(service, "/listener-domain/kept.example", known) == 200
        assert await status_of(service, "/listener-domain/new.example", later) == 200
        assert not any(is_replacement(seen) for seen in service.observations.seen)


async def test_while_a_database_is_being_replaced_what_is_known_is_served_as_stale(
    database: Replaceable,
) -> None:
    blank = await database.blank()
    async with following(database.dsn) as service:
        async with database.connection() as db:
            await service.reach(await allow(db, "known.example"))
        assert await status_of(service, "/listener-domain/known.example") == 200
        await database.close_doors()
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost))
        assert await is_stale(service)

        original = await database.replace_by(blank)  # a restore that has only begun: no schema yet
        said = len(service.observations.seen)
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "BackendLost", after=said)
        assert await is_stale(service)
        assert await status_of(service, "/listener-domain/unknown.example") == 503

        async with database.connection() as db:
            await db.execute("create schema policy; create table policy.revision (number bigint, stamp text)")
        said = len(service.observations.seen)
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "BackendLost", after=said)
        assert await is_stale(service)

        said = len(service.observations.seen)
        await database.replace_by(original)
        await service.observations.wait_for(is_current, after=said)
        assert not await is_stale(service)
        assert await status_of(service, "/listener-domain/unknown.example") == 404


async def is_stale(service: Service) -> bool:
    status, body, headers = await service.get("/listener-domain/known.example")
    assert (status, body["answer"]) == (200, {"relay_to": True})
    return headers.get("Policy-Stale") == "true" and int(headers["Age"]) >= 0


async def test_after_a_failover_nothing_asks_the_old_primary_which_still_runs(database: Replaceable) -> None:
    other = await database.copy()
    async with database.connection() as db, database.connection(other) as promoted:
        await allow(db, "lost.example")
        found = await allow(promoted, "found.example", "more.example")
        async with proxying(database.dsn) as proxy, following(proxy.dsn) as service:
            assert await status_of(service, "/listener-domain/lost.example") == 200
            proxy.lead_to(other)
            proxy.cut("change feed")
            proxy.heal()
            await service.observations.wait_for(is_replacement)
            for path, status in {"found": 200, "lost": 404, "more": 200, "most": 404}.items():
                asked = await service.get(f"/listener-domain/{path}.example")
                assert (asked[0], asked[2]["Policy-Position"]) == (status, found), asked


async def test_one_batch_never_mixes_answers_of_two_histories(database: Replaceable) -> None:
    other = await database.copy()
    async with database.connection() as db, database.connection(other) as promoted:
        await allow(db, "both.example", "gone.example")
        await allow(promoted, "both.example")
        async with proxying(database.dsn) as proxy, following(proxy.dsn) as service:
            assert await status_of(service, "/listener-domain/gone.example") == 200
            proxy.fall_silent("lookups")
            paths = ["/listener-domain/gone.example", "/listener-domain/both.example"]
            asked = asyncio.create_task(service.post("/batch", paths))
            await asyncio.sleep(0.2)  # the first is answered from the cache, the second is on its way
            proxy.lead_to(other)
            proxy.cut("change feed")
            proxy.let_in()
            await service.observations.wait_for(is_replacement)
            proxy.heal()
            status, _, headers = await asked
            assert (status, headers["Retry-After"]) == (503, "1")
            status, answers, headers = await service.post("/batch", paths)
            assert [answer["status"] for answer in answers] == [404, 200]
            assert (status, headers["Policy-Position"]) == (200, await head(promoted))


async def test_who_asks_from_a_history_that_is_replaced_meanwhile_is_told_so(database: Replaceable) -> None:
    other = await database.copy()
    async with database.connection() as db, database.connection(other) as promoted:
        ours = await allow(db, "both.example")
        await allow(promoted, "both.example", "more.example")
        async with proxying(database.dsn) as proxy, following(proxy.dsn) as service:
            await service.reach(ours)
            proxy.fall_silent("lookups")
            asked = asyncio.create_task(status_of(service, "/listener-domain/both.example", ours))
            await asyncio.sleep(0.2)  # its position has been looked at, and its documents are on their way
            proxy.lead_to(other)
            proxy.cut("change feed")
            proxy.let_in()
            await service.observations.wait_for(is_replacement)
            proxy.heal()
            assert await asked == 409
            assert await status_of(service, "/listener-domain/both.example") == 200
