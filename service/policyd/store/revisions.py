"""Revisions as people read them: who changed what, when and why; and taking them back."""

import json
from collections.abc import Iterable, Mapping, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What revisions changed: the first rows of each, what was said of whole kinds, and how many of both there are."""

    changes: tuple[RowChange, ...]
    floors: tuple[Floor, ...]
    counts: Mapping[int, int]
    """By revision; `MOST_COUNTED` stands for that many or more."""


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
) -> Rows:
    """The first *most* rows that each revision changed; of documents whose tags begin with *tags*, unless that is None."""
    with translated():
        if tags is not None and all("/" in tag for tag in tags):
            rows = await connection.fetch(QUERIES["changes_of_documents"], revisions, tags, most)
            counts = {row["revision"]: row["rows"] for row in rows}
        else:
            # All documents, or all of a kind: then there is no way around looking at each row of a revision.
            rows = await connection.fetch(QUERIES["changes_of"], revisions, tags, most)
            counted = await connection.fetch(QUERIES["count_changes"], revisions, tags, MOST_COUNTED)
            counts = {row["revision"]: row["rows"] for row in counted}
    return Rows(
        changes=tuple(_change(row) for row in rows if row["op"] != "floor"),
        floors=tuple(
            Floor(revision=row["revision"], kind=row["kind"]) for row in rows if row["op"] == "floor"
        ),
        counts=counts,
    )


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


def _change(row: Any) -> RowChange:
    return RowChange(
        revision=row["revision"],
        table=row["table"],
        op=row["op"],
        tag=row["tag"],
        key=json.loads(row["key"]),
        old=_record(row["old"]),
        new=_record(row["new"]),
    )


def _record(text: str | None) -> dict[str, Any] | None:
    record: dict[str, Any] | None = None if text is None else json.loads(text)
    return record
