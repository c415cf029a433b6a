"""
Random histories, told backwards: what was taken back is as it was, and what is asked about the past was so.
"""

import contextlib
import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import orjson
import pytest

from policyd.policy.resolving import resolve_with
from policyd.store.changes import read_revision
from policyd.store.documents import KINDS, read_documents
from policyd.store.past import read_documents_at
from policyd.store.pool import Connection
from tests.integration.rows_at_random import TABLES, WIPED, Question, Write, insert, question, transaction
from tests.integration.sql_log import head
from tests.integration.test_completeness import answer_of

SECRET = ("api_token", "smtp_credential")
OBSERVED = "dkim_key"
STORIES = 4
UNTOLD = ("policy.prune", "policy.invalidate")
"""What a story of rows that can all be taken back leaves out."""

Documents = Mapping[str, Any]
Answer = tuple[Any, tuple[str, ...]]


@dataclass(slots=True)
class History:
    """A story as it happened: the documents after each revision."""

    begins: int
    documents: dict[int, Documents] = field(default_factory=dict)
    answers: dict[int, list[tuple[Question, Answer]]] = field(default_factory=dict)

    @property
    def tags(self) -> list[str]:
        return sorted({tag for each in self.documents.values() for tag in each})


def transactions(seed: int, length: int) -> Iterator[Write]:
    chance = random.Random(seed)
    yield Write(
        ("set constraints all immediate", *(insert(chance, table, many=4) for table in TABLES)), commits=True
    )
    for _ in range(length):
        yield transaction(chance)


async def everything(db: Connection, *, secrets: bool = False) -> Documents:
    kinds = [kind for kind in KINDS if secrets or kind not in SECRET]
    rows = await db.fetch(
        " union all ".join(f"select tag, body::text from policy.{kind}_document" for kind in kinds)
    )
    return {row["tag"]: orjson.loads(row["body"]) for row in rows}


async def happen(db: Connection, seed: int, *, without: tuple[str, ...], length: int = 12) -> History:
    """Tell a story to the database, without statements that hold one of some words."""
    await db.execute(WIPED)
    history = History(await head(db))
    chance = random.Random(seed)
    await remember(db, history, chance)
    for write in transactions(seed, length):
        outer = db.transaction()
        await outer.start()
        for statement in write.statements:
            if any(word in statement for word in without):
                continue
            savepoint = statement.startswith(("savepoint", "rollback to"))
            try:
                await db.execute(statement if savepoint else f"savepoint each; {statement}; release each")
            except asyncpg.PostgresError:
                await db.execute("rollback to each")
        with contextlib.suppress(asyncpg.PostgresError):  # refused at its end
            await (outer.commit() if write.commits else outer.rollback())
        await remember(db, history, chance)
    return history


async def remember(db: Connection, history: History, chance: random.Random) -> None:
    """Record what there is, and what is answered."""
    now = await head(db)
    history.documents[now] = await everything(db)
    history.answers[now] = []
    for _ in range(3):
        asked = question(chance, 0)
        if not asked.path.startswith("("):  # those are of tokens and credentials
            resolved = await resolve_with(asked.start, partial(read_documents, db))
            history.answers[now].append((asked, (answer_of(resolved), resolved.tags)))


async def documents_at(db: Connection, revision: int, tags: list[str]) -> Documents:
    rows = await db.fetch("select tag, body::text as body from policy.documents_at($1, $2)", revision, tags)
    return {row["tag"]: orjson.loads(row["body"]) for row in rows}


def some(documents: Mapping[int, Documents], many: int) -> list[tuple[int, Documents]]:
    """So many revisions with their documents, spread over the story."""
    return list(documents.items())[:: max(1, -(-len(documents) // many))]


def of_rows(documents: Documents) -> Documents:
    """Without what was merely seen, which no revert touches."""
    return {tag: body for tag, body in documents.items() if not tag.startswith(OBSERVED + "/")}


async def check_reverts(db: Connection, seeds: Iterable[int], *, each: int = 100) -> int:
    """Back from the end of each story to so many of its revisions, and forth again."""
    done = 0
    for seed in seeds:
        history = await happen(db, seed, without=(*UNTOLD, *SECRET))
        last = await head(db)
        now = of_rows(await everything(db))
        for revision, before in some(history.documents, each):
            if revision == last:
                continue
            where = f"seed {seed}, back to {revision} from {last}"
            outer = db.transaction()
            await outer.start()
            taken = await db.fetchval("select policy.revert($1, $2, 'a test')", revision + 1, last)
            assert of_rows(await everything(db)) == of_rows(before), where
            if taken is None:
                assert now == of_rows(before), where
            else:
                assert taken == last + 1, where
                assert await db.fetchval("select policy.revert($1, $1, 'back again')", taken) == taken
                assert of_rows(await everything(db)) == now, where
                done += 1
            await outer.rollback()
    return done


async def check_the_past(db: Connection, seeds: Iterable[int], *, each: int = 100) -> int:
    """From the end of each story, what was told and answered at so many of its revisions."""
    done = 0
    for seed in seeds:
        history = await happen(db, seed, without=("policy.prune",))
        tags = [tag for tag in history.tags if tag.partition("/")[0] not in SECRET]
        for revision, then in some(history.documents, each):
            assert await documents_at(db, revision, tags) == then, f"seed {seed}, at {revision}"
            position = await read_revision(db, revision)
            assert position is not None
            for asked, answer in history.answers[revision]:
                told = await resolve_with(asked.start, partial(read_documents_at, db, position))
                assert (answer_of(told), told.tags) == answer, f"seed {seed}, {asked.path} at {revision}"
                done += 1
    return done


async def check_force(db: Connection, seeds: Iterable[int], *, each: int = 10) -> Counter[str]:
    """Any stretch of a story, with all that stands in the way, can be taken back as far as that goes."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        chance = random.Random(seed)
        history = await happen(db, seed, without=("policy.prune",))
        last = await head(db)
        for _ in range(each):
            first, upto = sorted(chance.choices(range(history.begins + 1, last + 1), k=2))
            outer = db.transaction()
            await outer.start()
            obstacles = await db.fetch(
                "select possible from policy.reversals($1, $2) where obstacle is not null", first, upto
            )
            secrets = await everything(db, secrets=True)
            try:
                await db.fetchval("select policy.revert($1, $2, force => true)", first, upto)
                seen["forced"] += bool(obstacles)
                seen["left"] += sum(not row["possible"] for row in obstacles)
                seen["overwritten"] += sum(row["possible"] for row in obstacles)
            except asyncpg.CheckViolationError:
                # Rows that were right in other company: a domain without a selector, where the settings have none any more.
                seen["refused"] += 1
            else:
                assert not lets_in(secrets, await everything(db, secrets=True)), (
                    f"seed {seed}, {first}..{upto}"
                )
            await outer.rollback()
    return seen


def lets_in(before: Documents, after: Documents) -> list[str]:
    """The tokens and credentials that let in more than before."""
    return [
        tag
        for tag, body in after.items()
        if tag.partition("/")[0] in SECRET
        and (
            tag not in before
            or (body.get("enabled") and not before[tag].get("enabled"))
            or ("networks" in before[tag] and "networks" not in body)
            or not set(body.get("scopes", ())) <= set(before[tag].get("scopes", ()))
        )
    ]


async def test_what_was_taken_back_is_as_it_was(db: Connection) -> None:
    assert await check_reverts(db, range(STORIES), each=4) > STORIES


async def test_the_past_is_told_as_it_was(db: Connection) -> None:
    assert await check_the_past(db, range(STORIES), each=4) > 2 * STORIES


async def test_force_goes_as_far_as_it_can_and_gives_nobody_back_what_was_taken_away(db: Connection) -> None:
    seen = await check_force(db, range(STORIES), each=4)
    assert seen["forced"] > STORIES
    assert seen["left"] > STORIES
    assert seen["overwritten"] > STORIES
    assert seen["refused"] < STORIES


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
async def test_thousands_of_histories_backwards(db: Connection, part: int) -> None:
    base = int(os.environ.get("REVERT_SEED", random.randrange(10**9))) + part * 500
    await check_reverts(db, range(base, base + 500))
    await check_the_past(db, range(base, base + 500))
    await check_force(db, range(base, base + 500))
