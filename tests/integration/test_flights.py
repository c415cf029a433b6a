"""One reading for all who ask the same, of one moment, and never ahead of what the change feed has confirmed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from policyd.config import Config
from policyd.errors import DatabaseUnavailable
from policyd.live.answers import AnswerCache
from policyd.live.batch import MOST_TAGS, Batch
from policyd.live.feed import Feed, Log
from policyd.live.lookups import Lookups, Served
from policyd.live.tally import Tally
from policyd.policy.kinds import KINDS
from policyd.policy.lookup import Lookup
from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.policy.validity import News
from policyd.store.changes import Reading
from policyd.store.database import Database
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import head, make_config

KIND = {kind.name: kind for kind in KINDS}


@dataclass(slots=True)
class Gate:
    """The real log, which can be held back, and told to have another history."""

    database: Database
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    replaced_by: Position | None = None

    @asynccontextmanager
    async def connect(self, wake: Callable[[], None]) -> AsyncIterator[Log]:
        async with self.database.log(wake) as log:
            yield _GatedLog(self, log)

    async def shut(self) -> None:
        """Let no reading begin, and wait for the one that is under way."""
        self.opened.clear()
        self.held.clear()
        await asyncio.wait_for(self.held.wait(), 5)


@dataclass(slots=True)
class _GatedLog:
    gate: Gate
    log: Log

    async def read(self, since: Position | None) -> Reading:
        if not self.gate.opened.is_set():
            self.gate.held.set()
            await self.gate.opened.wait()
        if self.gate.replaced_by is None:
            return await self.log.read(since)
        found = self.gate.replaced_by
        reset = since != found
        return Reading(
            news=News(head=found, reset=reset), stamps={found.number: found.stamp}, committed_at=None
        )


@dataclass(slots=True)
class Readings:
    """The real reading of documents, counted, with something to happen before or after each."""

    database: Database
    tags: list[list[str]] = field(default_factory=list)
    before: Callable[[], Awaitable[object]] | None = None
    after: Callable[[], Awaitable[object]] | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, tags: Iterable[str]) -> tuple[Position, Documents]:
        self.tags.append(list(tags))
        if self.before is not None:
            await self.before()
        read = await self.database.read_documents(self.tags[-1])
        if self.after is not None:
            await self.after()
        self.done.set()
        return read


@dataclass(frozen=True, slots=True)
class Replica:
    lookups: Lookups
    feed: Feed
    gate: Gate
    readings: Readings

    async def answer(self, kind: str, key: str = "", **parameters: str) -> Served:
        return await self.lookups.answer(self.lookup(kind, key, **parameters))

    def lookup(self, kind: str, key: str = "", **parameters: str) -> Lookup:
        return KIND[kind].read(key, parameters.items())


@pytest.fixture
async def replica(dsn: str) -> AsyncIterator[Replica]:
    """What answers lookups, without HTTP; the gate is open and the feed current."""
    config: Config = make_config(dsn, poll=0.1, read_on_deadline=5)
    config = replace(config, lookup=replace(config.lookup, deadline=Seconds(5)))
    database = Database(config.database, lambda _: None)
    gate, readings = Gate(database), Readings(database)
    gate.opened.set()
    current = asyncio.Event()
    feed = Feed(gate.connect, config.feed, lambda seen: current.set() if "Regained" in str(seen) else None)
    batch = Batch(readings, workers=2, most_waiting=2_000, longest_wait=60)
    tallies = {kind.name: Tally() for kind in KINDS}
    cache = AnswerCache(most_bytes=2**20, none_share=0.1)
    lookups = Lookups(KINDS, tallies=tallies, cache=cache, batch=batch, feed=feed, config=config)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(batch.run())]
    try:
        await asyncio.wait_for(current.wait(), 10)
        yield Replica(lookups, feed, gate, readings)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


async def allow(db: Connection, domain: str) -> Position:
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ($1, true)", domain)
    return Position.parse(await head(db))


async def test_a_storm_on_a_cold_key_is_one_reading(replica: Replica, db: Connection) -> None:
    await allow(db, "example.com")
    storm = [replica.answer("listener_domain", "example.com") for _ in range(500)]
    answers = await asyncio.gather(*storm)
    assert len(replica.readings.tags) == 1
    assert {served.answer.body for served in answers} == {answers[0].answer.body}
    assert answers[0].answer.found


async def test_different_keys_of_one_moment_are_read_together(replica: Replica) -> None:
    await asyncio.gather(*(replica.answer("tenant", f"t{number}") for number in range(300)))
    assert len(replica.readings.tags) <= 2
    assert sum(len(tags) for tags in replica.readings.tags) == 300


async def test_what_changes_between_two_rounds_is_read_again_whole(replica: Replica, db: Connection) -> None:
    await db.execute(
        "insert into policy.egress_source (name, ehlo_domain) values ('s', 'old.example'), ('t', 'old.example')"
    )
    await db.execute("insert into policy.egress_pool values ('p')")
    await db.execute("insert into policy.egress_pool_entry values ('p', 's')")

    async def change() -> None:
        if len(replica.readings.tags) == 2:  # the pool is known to have s; now it has t
            await db.execute("update policy.egress_pool_entry set source = 't'")
            await db.execute("update policy.egress_source set ehlo_domain = 'new.example' where name = 't'")

    replica.readings.before = change
    served = await replica.answer("egress_pool", "p")
    assert b'"t"' in served.answer.body
    assert b"new.example" in served.answer.body
    assert b'"s"' not in served.answer.body
    assert b"egress_source/*/s" not in served.answer.body
    assert served.position == Position.parse(await head(db))
    assert len(replica.readings.tags) <= 4


async def test_a_lookup_ends_though_something_else_changes_before_every_reading(
    replica: Replica, db: Connection
) -> None:
    await db.execute(
        "insert into policy.queue (domain, options) values ('a.example', '{\"max_age\": \"1h\"}')"
    )

    async def change() -> None:
        await allow(db, f"n{len(replica.readings.tags)}.example")

    replica.readings.before = change
    served = await replica.answer("queue", "a.example", tenant="t", campaign="c")
    assert b'"max_age":"1h"' in served.answer.body
    assert len(replica.readings.tags) <= 4


async def test_what_never_stands_still_is_refused_and_not_kept(replica: Replica, db: Connection) -> None:
    await allow(db, "example.com")
    lookup = replica.lookup("listener_domain", "example.com")

    async def overtake() -> None:
        await db.execute("update policy.listener_domain set relay_to = not relay_to")
        await replica.feed.reach(Position.parse(await head(db)).number, 5)

    replica.readings.after = overtake
    with pytest.raises(DatabaseUnavailable, match="change faster"):
        await replica.lookups.answer(lookup)
    assert replica.lookups.ready(lookup.path) is None
    assert len(replica.readings.tags) < 10
    replica.readings.after = None
    assert (await replica.lookups.answer(lookup)).answer.found


async def test_an_answer_read_ahead_of_the_feed_waits_for_it(replica: Replica, db: Connection) -> None:
    lookup = replica.lookup("listener_domain", "example.com")
    await replica.gate.shut()
    ahead = await allow(db, "example.com")
    asked = [asyncio.create_task(replica.lookups.answer(lookup)) for _ in range(3)]
    await asyncio.wait_for(replica.readings.done.wait(), 5)
    done, _ = await asyncio.wait(asked, timeout=0.2)
    assert not done
    assert replica.lookups.ready(lookup.path) is None
    replica.gate.opened.set()
    for served in await asyncio.gather(*asked):
        assert (served.answer.found, served.position) == (True, ahead)
    assert len(replica.readings.tags) == 1


async def test_an_answer_of_another_history_is_neither_sent_nor_kept(
    replica: Replica, db: Connection
) -> None:
    lookup = replica.lookup("listener_domain", "example.com")
    await replica.gate.shut()
    ahead = await allow(db, "example.com")
    asked = asyncio.create_task(replica.lookups.answer(lookup))
    await asyncio.wait_for(replica.readings.done.wait(), 5)
    replica.gate.replaced_by = Position(ahead.number + 7, "0badcafe")
    replica.gate.opened.set()
    with pytest.raises(DatabaseUnavailable):
        await asked
    assert replica.feed.history == 1
    assert replica.lookups.ready(lookup.path) is None
    assert len(replica.readings.tags) <= 6


async def test_when_the_reading_fails_all_who_wait_are_told_and_the_next_one_reads_anew(
    replica: Replica, db: Connection
) -> None:
    await allow(db, "example.com")

    async def fail() -> None:
        raise DatabaseUnavailable("the cable is out")

    replica.readings.before = fail
    asked = [replica.answer("listener_domain", "example.com") for _ in range(5)]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(each) for each in told] == ["the cable is out"] * 5
    replica.readings.before = None
    assert (await replica.answer("listener_domain", "example.com")).answer.found


async def test_who_gave_up_waiting_does_not_hold_up_who_still_waits() -> None:
    first = asyncio.Event()

    async def read(tags: Iterable[str]) -> tuple[Position, Documents]:
        if "first" in tags:
            await first.wait()
        return Position(1, "00000000"), {}

    batch = Batch(read, workers=1, most_waiting=100, longest_wait=60)
    running = asyncio.create_task(batch.run())
    stuck = asyncio.create_task(batch.fetch(["first"]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gone = [asyncio.create_task(batch.fetch(["x"] * (MOST_TAGS // 2))) for _ in range(3)]
    patient = asyncio.create_task(batch.fetch(["last"]))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    first.set()
    assert await asyncio.wait_for(patient, 5) == (Position(1, "00000000"), {})
    await stuck
    running.cancel()
