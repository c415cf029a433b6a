"""Revisions as people read them: who changed what, when and why; and taking them back."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policyd.policy.position import Position
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES
from policyd.store.rows import RowChange

MOST_COUNTED = 10_001
"""Rows of one revision that are counted; a reader does not care for the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One committed transaction that changed policy."""

    position: Position
    at: datetime
    actor: str
    """The role that logged in."""
    claimed_actor: str | None
    """Who it said that it acted for."""
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A kind of documents that was said to have changed unseen by the log."""

    revision: int
    kind: str
    reason: str | None = None


async def read_revisions(
    connection: Connection,
    *,
    since: datetime | None,
    actor: str | None,
    tags: Sequence[str] | None,
    limit: int,
) -> list[Revision]:
    """Revisions, newest first; of documents whose tags are *tags*, or go on from one with a slash, unless that is None."""
    with translated():
        rows = await connection.fetch(QUERIES["revisions"], since, actor, tags, limit)
    return [_revision(row) for row in rows]


async def read_told_revision(connection: Connection, number: int) -> Revision:
    """A revision that is there."""
    with translated():
        row = await connection.fetchrow(QUERIES["told_revision"], number)
    assert row is not None  # noqa: S101 - whoever asks has just seen it, and none is ever deleted
    return _revision(row)


async def revision_at(connection: Connection, at: datetime) -> Position | None:
    """The revision that was the newest at a time; None from before there was one."""
    with translated():
        row = await connection.fetchrow(QUERIES["revision_at"], at)
    return None if row is None else Position(row["number"], row["stamp"])


async def read_rows_of(
    connection: Connection, revisions: Sequence[int], *, tags: Sequence[str] | None, most: int
) -> tuple[list[RowChange], list[Floor]]:
    """The first *most* rows that each revision changed, and what it said of whole kinds."""
    with translated():
        rows = await connection.fetch(QUERIES["changes_of"], revisions, tags, most)
    changes = [
        RowChange(
            revision=row["revision"],
            table=row["table"],
            op=row["op"],
            tag=row["tag"],
            key=json.loads(row["key"]),
            old=_record(row["old"]),
            new=_record(row["new"]),
        )
        for row in rows
        if row["op"] != "floor"
    ]
    return changes, [
        Floor(revision=row["revision"], kind=row["kind"]) for row in rows if row["op"] == "floor"
    ]


async def count_rows_of(
    connection: Connection, revisions: Sequence[int], *, tags: Sequence[str] | None
) -> dict[int, int]:
    """How many rows each revision changed, up to `MOST_COUNTED`."""
    with translated():
        rows = await connection.fetch(QUERIES["count_changes"], revisions, tags, MOST_COUNTED)
    return {row["revision"]: row["rows"] for row in rows}


async def groups_of(connection: Connection, kind: str) -> list[str]:
    """The groups of nodes, or listeners, that the log knows names of a kind in."""
    with translated():
        return [row["name"] for row in await connection.fetch(QUERIES["groups_in_log"], kind)]


async def tags_from(connection: Connection, first: str, before: str, *, most: int) -> list[str]:
    """Tags that the log tells of, from *first* on, up to *before*."""
    with translated():
        return [row["tag"] for row in await connection.fetch(QUERIES["tags_in_log"], first, before, most)]


async def pruned_to(connection: Connection) -> int:
    """Up to which revision the log may be gone."""
    with translated():
        return int(await connection.fetchval(QUERIES["pruned_to"]))


async def floors_since(connection: Connection, revision: int, kinds: Iterable[str]) -> list[Floor]:
    """What was said of whole kinds after a revision."""
    with translated():
        rows = await connection.fetch(QUERIES["floors_since"], revision, sorted(kinds))
    return [Floor(revision=row["revision"], kind=row["kind"], reason=row["reason"]) for row in rows]


async def revert(
    connection: Connection, first: int, last: int, *, reason: str | None, force: bool
) -> int | None:
    """Take revisions back in one new one, whose number this is; None where nothing was to change."""
    with translated():
        taken = await connection.fetchval(QUERIES["revert"], first, last, reason, force)
        return None if taken is None else int(taken)


def _revision(row: Any) -> Revision:
    return Revision(
        position=Position(row["number"], row["stamp"]),
        at=row["at"],
        actor=row["actor"],
        claimed_actor=row["claimed_actor"],
        reason=row["reason"],
    )


def _record(text: str | None) -> dict[str, Any] | None:
    record: dict[str, Any] | None = None if text is None else json.loads(text)
    return record
