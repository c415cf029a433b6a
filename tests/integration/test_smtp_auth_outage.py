"""Logins while PostgreSQL is gone, slow, or another one; and while a password is being checked."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from policyd.config import Config
from policyd.errors import DatabaseUnavailable, TooManyFailures
from policyd.live.answers import AnswerCache
from policyd.live.batch import Batch
from policyd.live.failures import FailureLimits
from policyd.live.feed import Feed
from policyd.live.logins import Login, Logins
from policyd.live.lookups import Lookups
from policyd.live.password_checks import PasswordChecks
from policyd.observe.events import AuthAttempted, CurrencyLost, CurrencyRegained, HistoryReplaced, Observation
from policyd.passwords import NOBODYS, hash_password, is_password
from policyd.policy.credential import Attempt
from policyd.policy.position import Position
from policyd.store.database import Database
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.conftest import Postgres
from tests.integration.conftest import Service, head, make_config, make_token, serving
from tests.integration.databases import Replaceable
from tests.integration.proxy import proxying
from tests.integration.test_smtp_auth import HASH, PASSWORD, log_in, make_customer, outcomes


@pytest.fixture
async def database(postgres: Postgres, dsn: str) -> AsyncIterator[Replaceable]:
    """A database with a token and a customer."""
    database = Replaceable(postgres, dsn)
    async with database.connection() as db:
        await make_token(db)
        await make_customer(db)
        await make_customer(db, "bob")
        await make_customer(db, "home", networks="'{10.0.0.0/8}'")
    yield database
    await database.drop_others()


async def statuses(service: Service, *attempts: tuple[str, str, str]) -> list[int]:
    return [(await log_in(service, *attempt))[0] for attempt in attempts]


async def test_in_an_outage_who_logged_in_before_goes_on_and_nobody_is_told_no(database: Replaceable) -> None:
    async with serving(make_config(database.dsn, lease=1.0, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        assert (await log_in(service))[1]["authenticated"]
        assert (await log_in(service, "home", PASSWORD, "10.1.1.1"))[1]["authenticated"]
        assert not (await log_in(service, "bob", "wrong"))[1]["authenticated"]
        await database.close_doors()
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost))

        status, body, headers = await log_in(service)
        assert (status, body["authenticated"], headers["Policy-Stale"]) == (200, True, "true")
        assert int(headers["Age"]) >= 0
        assert headers["Cache-Control"] == "no-store"
        for username, password, peer in (
            ("alice", "wrong", "192.0.2.1"),
            ("bob", PASSWORD, "192.0.2.1"),
            ("bob", "wrong", "192.0.2.1"),
            ("nobody", PASSWORD, "192.0.2.1"),
            ("home", PASSWORD, "192.0.2.1"),
            ("alice", "p" * 5_000, "192.0.2.1"),
            ("", "", "192.0.2.1"),
        ):
            status, problem, headers = await log_in(service, username, password, peer)
            assert (status, problem["type"]) == (503, "urn:policyd:problem:unavailable"), username
            assert headers["Retry-After"] == "1"
        assert set(outcomes(service)[-8:]) == {"stale", "unavailable"}


async def test_what_is_remembered_is_good_for_max_stale_and_no_longer(database: Replaceable) -> None:
    config = make_config(database.dsn, lease=1.0, poll=0.1)
    config = replace(config, cache=replace(config.cache, max_stale=Seconds(1.5)))
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        assert (await log_in(service))[0] == 200
        await database.close_doors()
        async with asyncio.timeout(10):
            while (await log_in(service))[0] == 200:
                pass
        assert (await log_in(service))[0] == 503
        assert "stale" in outcomes(service)


async def test_a_password_of_another_history_is_forgotten(database: Replaceable) -> None:
    other = await database.copy()
    async with serving(make_config(database.dsn, lease=1.0, poll=0.1)) as service:
        await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
        assert (await log_in(service))[1]["authenticated"]
        async with database.connection(other) as db:
            await db.execute(
                "update policy.smtp_credential set password_hash = $1", hash_password("another one")
            )
        async with database.connection() as db:
            await db.execute("insert into policy.tenant (name) values ('lost')")
        await service.reach(await position_of(database))
        await database.replace_by(other)
        await service.observations.wait_for(lambda seen: isinstance(seen, HistoryReplaced))
        status, body, _ = await log_in(service)
        assert (status, body["authenticated"]) == (200, False)
        assert (await log_in(service, "alice", "another one"))[1]["authenticated"]


async def position_of(database: Replaceable) -> str:
    async with database.connection() as db:
        return await head(db)


async def test_a_database_that_says_nothing_is_no_wrong_password(dsn: str, db: Connection) -> None:
    await make_token(db)
    await make_customer(db)
    async with proxying(dsn) as proxy:
        config = make_config(proxy.dsn, lease=30.0)
        config = replace(config, lookup=replace(config.lookup, deadline=Seconds(0.5)))
        async with serving(config) as service:
            await service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained))
            assert (await service.get("/queue-settings"))[0] == 200
            proxy.fall_silent("lookups")
            assert await statuses(
                service, ("alice", PASSWORD, "192.0.2.1"), ("alice", "wrong", "192.0.2.1")
            ) == [503, 503]
            proxy.heal()
            async with asyncio.timeout(10):
                while (await log_in(service))[0] != 200:
                    pass
            assert (await log_in(service))[1]["authenticated"]


@dataclass(slots=True)
class Checks:
    """Real checks, which begin when they are let."""

    hashes: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def __call__(self, password_hash: str, password: str) -> bool:
        self.hashes.append(password_hash)
        self.begun.set()
        self.gate.wait(10)
        return is_password(password_hash, password)


@dataclass(frozen=True, slots=True)
class Replica:
    logins: Logins
    feed: Feed
    checks: Checks
    seen: list[Observation]

    async def log_in(
        self, username: str = "alice", password: str = PASSWORD, peer: str = "192.0.2.1"
    ) -> Login:
        return await self.logins.attempt(
            Attempt.parse({"username": username, "password": password, "peer": peer})
        )

    async def reach(self, db: Connection) -> None:
        await self.feed.reach(Position.parse(await head(db)).number, 5)


@pytest.fixture
async def replica(dsn: str, db: Connection) -> AsyncIterator[Replica]:
    """What judges logins, without HTTP, with a customer; current, and the gate open."""
    await make_customer(db)
    config: Config = make_config(dsn, poll=0.1, read_on_deadline=5)
    config = replace(config, auth=replace(config.auth, failures=3))
    database = Database(config.database, lambda _: None)
    current = asyncio.Event()
    seen: list[Observation] = []
    feed = Feed(
        database.log, config.feed, lambda each: current.set() if isinstance(each, CurrencyRegained) else None
    )
    batch = Batch(database.read_documents, workers=2, most_waiting=100, longest_wait=60)
    lookups = Lookups(
        (),
        tallies={},
        cache=AnswerCache(most_bytes=2**20, none_share=0.1),
        batch=batch,
        feed=feed,
        config=config,
    )
    checks = Checks()
    checks.gate.set()
    queue = PasswordChecks(checks, threads=2, most_waiting=100)
    limits = FailureLimits(most=config.auth.failures, within=config.auth.failures_within)
    logins = Logins(lookups, feed, checks=queue, limits=limits, config=config, observe=seen.append)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(batch.run())]
    try:
        await asyncio.wait_for(current.wait(), 10)
        yield Replica(logins, feed, checks, seen)
    finally:
        checks.gate.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        queue.close()
        await database.close()


async def test_an_unknown_user_costs_one_check_as_a_known_one_does(replica: Replica) -> None:
    await replica.log_in("alice", "wrong")
    await replica.log_in("nobody", "wrong")
    assert replica.checks.hashes == [HASH, NOBODYS]
    assert [len(each.split("$")) for each in replica.checks.hashes] == [6, 6]
    assert HASH.split("$")[:4] == NOBODYS.split("$")[:4]


async def test_disabled_while_the_password_is_checked_is_disabled(replica: Replica, db: Connection) -> None:
    replica.checks.gate.clear()
    login = asyncio.create_task(replica.log_in())
    await asyncio.to_thread(replica.checks.begun.wait, 10)
    await db.execute("update policy.smtp_credential set enabled = false")
    await replica.reach(db)
    replica.checks.gate.set()
    assert (await login).outcome == "disabled"
    assert len(replica.checks.hashes) == 2


async def test_who_joins_a_check_that_began_before_a_change_is_not_let_in_by_it(
    replica: Replica, db: Connection
) -> None:
    replica.checks.gate.clear()
    first = asyncio.create_task(replica.log_in())
    await asyncio.to_thread(replica.checks.begun.wait, 10)
    await db.execute("delete from policy.smtp_credential")
    await replica.reach(db)
    second = asyncio.create_task(replica.log_in("alice", PASSWORD, "198.51.100.1"))
    await asyncio.sleep(0)
    replica.checks.gate.set()
    assert [(await first).outcome, (await second).outcome] == ["unknown", "unknown"]


async def test_a_login_that_is_given_up_is_not_counted_and_who_joined_it_is_told_to_come_again(
    replica: Replica,
) -> None:
    for _ in range(5):
        replica.checks.gate.clear()
        replica.checks.begun.clear()
        first = asyncio.create_task(replica.log_in())
        await asyncio.to_thread(replica.checks.begun.wait, 10)
        second = asyncio.create_task(replica.log_in())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(DatabaseUnavailable):
            await second
        assert first.cancelled()
        replica.checks.gate.set()
    assert (await replica.log_in()).outcome == "verified"


async def test_a_check_that_breaks_is_no_no_and_is_not_counted(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(_: str, __: str) -> bool:
        raise MemoryError

    for _ in range(5):
        with monkeypatch.context() as patch:
            patch.setattr(Checks, "__call__", lambda _, a, b: out_of_memory(a, b))
            with pytest.raises(MemoryError):
                await replica.log_in("alice", "wrong")
    assert replica.seen == [AuthAttempted(outcome="unavailable")] * 5
    assert (await replica.log_in()).outcome == "verified"


async def test_attempts_that_arrive_together_are_limited_like_those_that_do_not(replica: Replica) -> None:
    together = [replica.log_in("alice", f"guess {number}") for number in range(50)]
    results = await asyncio.gather(*together, return_exceptions=True)
    assert sum(isinstance(result, Login) for result in results) == 3
    assert sum(isinstance(result, TooManyFailures) for result in results) == 47
    assert len(replica.checks.hashes) == 3


async def test_only_so_many_are_remembered_those_that_came_last(replica: Replica, db: Connection) -> None:
    logins = replica.logins
    logins._config = replace(logins._config, auth=replace(logins._config.auth, remembered=2))
    for username in ("bob", "carol"):
        await make_customer(db, username)
    await replica.reach(db)
    for username in ("alice", "bob", "alice", "carol", "alice", "bob"):
        await replica.log_in(username)
    assert [seen.outcome for seen in replica.seen if isinstance(seen, AuthAttempted)] == [
        "verified", "verified", "remembered", "verified", "remembered", "verified",
    ]  # fmt: skip
