"""
What the tests of sql/ read from the log.
"""

import json
from dataclasses import dataclass
from typing import Any

import asyncpg


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of policy.change, with its JSON parsed."""

    revision: int
    table: str | None
    op: str
    key: dict[str, Any] | None
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    tags: list[str]


async def head(db: asyncpg.Connection) -> int:
    """The last revision."""
    number = await db.fetchval("select number from policy.counter")
    assert isinstance(number, int)
    return number


async def changes(db: asyncpg.Connection, after: int) -> list[Change]:
    """What the log says of later revisions, in order."""
    rows = await db.fetch(
        'select revision, "table", op, key, old, new, tags from policy.change where revision > $1 order by revision, ordinal',
        after,
    )
    return [
        Change(
            revision=row["revision"],
            table=row["table"],
            op=row["op"],
            key=_parsed(row["key"]),
            old=_parsed(row["old"]),
            new=_parsed(row["new"]),
            tags=row["tags"],
        )
        for row in rows
    ]


async def ops(db: asyncpg.Connection, after: int) -> list[tuple[str, tuple[str, ...]]]:
    """The operation and tags of each later change, sorted."""
    return sorted((change.op, tuple(change.tags)) for change in await changes(db, after))


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)
