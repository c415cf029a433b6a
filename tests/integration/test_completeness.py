"""
Tags are complete: whatever is done to rows, an answer that the rule calls valid is what would be answered afresh.

Several holders learn at their own pace from readings of the real log, in windows so small that they forget, and
with so few tags told one by one that floors happen. Each also keeps a name index as a node does.
"""

import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias

import asyncpg
import orjson
import pytest

from policyd.config import DatabaseConfig
from policyd.live.history import news_since
from policyd.policy.asking import Resolution, overlay
from policyd.policy.egress import EGRESS_SOURCE
from policyd.policy.position import Position
from policyd.policy.resolving import Documents, Resolved, resolve_with
from policyd.policy.tags import kind_of
from policyd.policy.validity import KnownChanges, News, is_valid
from policyd.store.changes import read_changes
from policyd.store.documents import KINDS, read_documents
from policyd.store.pool import Connection, close, connect
from tests.integration.rows_at_random import WIPED, Learn, Question, Step, Write, story

LIMITS = (3, 12, 1000)
EVERYTHING = (
    "select null as tag, null as body, number, stamp from policy.revision where number = (select max(number) from policy.revision)"
    + "".join(f" union all select tag, body::text, null, null from policy.{kind}_document" for kind in KINDS)
)


Answer: TypeAlias = tuple[dict[str, Any], dict[str, Any]]
"""What a lookup says, and the answers that come along by path."""


class Broken(AssertionError):
    """What must not happen happened."""


@dataclass(frozen=True, slots=True)
class Held:
    """An answer as somebody keeps it."""

    question: Question
    label: int
    tags: tuple[str, ...]
    answer: Answer


@dataclass(slots=True)
class Holder:
    """Somebody with answers, known changes and a name index."""

    known: KnownChanges
    names: set[str]
    answers: list[Held] = field(default_factory=list)


class Story:
    """A story as it is told to one database: `writer` changes rows, `reader` is the service's kind of connection."""

    def __init__(self, writer: Connection, reader: Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._holders: list[Holder] = []
        self._replica: KnownChanges
        self.seen: Counter[str] = Counter()

    async def tell(self, steps: Sequence[Step]) -> None:
        await self._writer.execute(WIPED)
        position, documents = await self._everything()
        self._replica = KnownChanges(position, limit=20)
        self._holders = [Holder(KnownChanges(position, limit=limit), set(documents)) for limit in LIMITS]
        for step in steps:
            match step:
                case Write():
                    await self._write(step)
                case Question():
                    await self._ask(step)
                case Learn():
                    await self._learn(step)

    async def _write(self, step: Write) -> None:
        transaction = self._writer.transaction()
        await transaction.start()
        try:
            for statement in step.statements:
                await self._execute(statement)
        except asyncpg.PostgresError:  # a savepoint that is not there: only in a story with steps left out
            await transaction.rollback()
            return
        await (transaction.commit() if step.commits else transaction.rollback())

    async def _execute(self, statement: str) -> None:
        if statement in ("savepoint undone", "rollback to undone"):
            await self._writer.execute(statement)
            return
        try:
            await self._writer.execute(f"savepoint each; {statement}; release each")
            self.seen["accepted"] += 1
        except asyncpg.PostgresError:
            await self._writer.execute("rollback to each")
            self.seen["refused"] += 1

    async def _ask(self, question: Question) -> None:
        resolved = await resolve_with(question.start, self._read)
        answers = self._holders[question.holder].answers
        answers.append(Held(question, resolved.position.number, resolved.tags, answer_of(resolved)))
        # What comes along is kept under its own path with its own tags.
        for part in resolved.resolution.brings:
            name, group = part.path.removeprefix("/egress-source/").partition("?group=")[::2]
            lookup = EGRESS_SOURCE.read(
                part.layers[-1].fields[("name",)], [("group", group)] if group else []
            )
            assert lookup.path == part.path, name
            alone = Question(question.holder, part.path, partial(EGRESS_SOURCE.resolve, lookup, 0.0))
            brought: Answer = (overlay(part.layers), {})
            answers.append(Held(alone, resolved.position.number, part.tags, brought))

    async def _learn(self, step: Learn) -> None:
        holder = self._holders[step.holder]
        since = holder.known.position
        news = await self._news(since, step)
        holder.known.learn(news)
        position, documents = await self._everything()
        if news.reset or holder.known.position != position:
            raise Broken(f"a reading from {since} led to {news} and not to {position}")
        self._compare_names(holder, news, documents)
        kept = []
        for held in holder.answers:
            if not is_valid(held.label, held.tags, holder.known):
                self.seen["invalid"] += 1
                continue
            await self._compare(held, position, documents)
            kept.append(replace(held, label=position.number) if step.renews else held)
        holder.answers = kept
        self.seen["floors"] += len(news.floors)

    async def _news(self, since: Position, step: Learn) -> News:
        reading = await read_changes(self._reader, self._replica.position, most_tags=step.most_tags)
        self._replica.learn(reading.news)
        if step.from_replica and since.number >= self._replica.begins:
            self.seen["from a replica"] += 1
            return news_since(since.number, self._replica, most_tags=step.most_tags)
        return (
            await read_changes(self._reader, since, most_tags=step.most_tags, most_rows=step.most_rows)
        ).news

    async def _compare(self, held: Held, position: Position, documents: Documents) -> None:
        async def look_up(_: Iterable[str]) -> tuple[Position, Documents]:
            return position, documents

        fresh = await resolve_with(held.question.start, look_up)
        if (answer_of(fresh), fresh.tags) != (held.answer, held.tags):
            raise Broken(f"{held} is called valid at {position}, but the answer is {answer_of(fresh)}")
        self.seen["valid"] += 1
        self.seen["valid, and older than the last change"] += held.label < position.number
        self.seen["valid, and something is there"] += bool(fresh.resolution.layers)

    def _compare_names(self, holder: Holder, news: News, documents: Documents) -> None:
        """The index as a node keeps it (`exists`, and a floor's kind read anew) is the list of what exists."""
        for tag, (_, exists) in news.tags.items():
            (holder.names.add if exists else holder.names.discard)(tag)
        for kind in news.floors:
            holder.names = {tag for tag in holder.names if kind_of(tag) != kind}
            holder.names |= {tag for tag in documents if kind_of(tag) == kind}
        if holder.names != set(documents):
            raise Broken(f"after {news} the index is wrong about {holder.names ^ set(documents)}")
        wrong = {tag for tag, exists in holder.known.exists.items() if exists != (tag in documents)}
        if wrong:
            raise Broken(f"after {news} it is not known whether {wrong} exist")

    async def _read(self, tags: Iterable[str]) -> tuple[Position, Documents]:
        return await read_documents(self._reader, tags)

    async def _everything(self) -> tuple[Position, Documents]:
        head, *rows = await self._reader.fetch(EVERYTHING)
        return Position(head["number"], head["stamp"]), {
            row["tag"]: orjson.loads(row["body"]) for row in rows
        }


def answer_of(resolved: Resolved) -> Answer:
    resolution: Resolution = resolved.resolution
    return overlay(resolution.layers), {
        part.path: (part.tags, overlay(part.layers)) for part in resolution.brings
    }


async def tell_many(dsn: str, seeds: Iterable[int]) -> Counter[str]:
    config = DatabaseConfig(dsn=dsn)
    writer = await connect(config, purpose="writer", statement_timeout=0)
    reader = await connect(config, purpose="reader", index_only=True)
    try:
        await writer.execute("set synchronous_commit = off")
        told = Story(writer, reader)
        for seed in seeds:
            steps = story(seed, holders=len(LIMITS))
            try:
                await told.tell(steps)
            except Broken as broken:
                least = await shrink(told, steps)
                shown = "\n".join(f"  {step}" for step in least)
                pytest.fail(f"COMPLETENESS_SEED={seed}: {broken}\nas few steps as will do:\n{shown}")
        return told.seen
    finally:
        await close(reader)
        await close(writer)


async def shrink(told: Story, steps: list[Step]) -> list[Step]:
    """The story with every step and statement left out that it breaks without."""

    async def still_breaks(fewer: list[Step]) -> bool:
        try:
            await told.tell(fewer)
        except Broken:
            return True
        return False

    for position in reversed(range(len(steps))):
        fewer = steps[:position] + steps[position + 1 :]
        if await still_breaks(fewer):
            steps = fewer
    for position, step in enumerate(steps):
        if isinstance(step, Write):
            for statement in reversed(step.statements):
                shorter = replace(step, statements=tuple(s for s in step.statements if s is not statement))
                fewer = [*steps[:position], shorter, *steps[position + 1 :]]
                if await still_breaks(fewer):
                    steps, step = fewer, shorter  # noqa: PLW2901
    return steps


def assert_worth_something(seen: Counter[str], stories: int) -> None:
    assert seen["accepted"] > 10 * stories
    assert seen["refused"] > stories
    assert seen["floors"] > stories
    assert seen["from a replica"] > stories
    assert seen["invalid"] > 5 * stories
    assert seen["valid, and older than the last change"] > 10 * stories
    assert seen["valid, and something is there"] > 10 * stories


async def test_an_answer_that_the_rule_calls_valid_is_what_would_be_answered_afresh(dsn: str) -> None:
    stories = 200
    assert_worth_something(await tell_many(dsn, range(stories)), stories)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(8))
async def test_tags_are_complete_in_thousands_of_stories(dsn: str, part: int) -> None:
    stories = 500
    base = int(os.environ.get("COMPLETENESS_SEED", random.randrange(10**9))) + part * stories
    assert_worth_something(await tell_many(dsn, range(base, base + stories)), stories)
