"""The change log as its readers see it: what happened since a position, and whether that position is of this history."""

from dataclasses import dataclass

import asyncpg
import orjson

from policyd.errors import DatabaseUnavailable
from policyd.policy.drill import Drill
from policyd.policy.position import Position
from policyd.policy.validity import News
from policyd.store.documents import EMPTY
from policyd.store.migrate import refuse_breaking
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of the log."""

    news: News
    stamps: dict[int, str]
    """The latest new revisions with their stamps: by these somebody else's position is recognised."""
    committed_at: float | None
    """When the newest revision began to be committed, in seconds since the epoch by the database's clock."""
    drills: tuple[tuple[Drill, float], ...] = ()
    """The drills that are on, each with the seconds that it has left."""


async def read_changes(
    connection: Connection,
    since: Position | None,
    *,
    most_tags: int,
    most_rows: int = 100_000,
    most_stamps: int = 10_000,
) -> Reading:
    """
    What happened after *since*, up to the head, in one snapshot.

    Kinds of which more than *most_tags* documents changed are told as floors; so is everything when the log no
    longer reaches back, or holds more than *most_rows* rows to read, so that any reading ends in time. A *since* that
    the log does not hold, or None, gives a reset. DatabaseUnavailable when there is no log at all, as in the middle
    of a restore; SchemaIncompatible when a newer policyd has changed the schema into one that is not known here.
    """
    number, stamp = (-1, "") if since is None else (since.number, since.stamp)
    with translated():
        rows = await connection.fetch(QUERIES["changes"], number, stamp, most_tags, most_stamps, most_rows)
    head = next((row for row in rows if row["what"] == "head"), None)
    if head is None:
        raise DatabaseUnavailable(EMPTY, trouble="starting")
    refuse_breaking(next(row["revision"] for row in rows if row["what"] == "breaking"))
    position = Position(head["revision"], head["name"])
    stamps = {row["revision"]: row["name"] for row in rows if row["what"] in ("head", "stamp")}
    return Reading(
        news=News(
            head=position,
            reset=not head["flag"],
            tags={row["name"]: (row["revision"], row["flag"]) for row in rows if row["what"] == "tag"},
            floors={row["name"]: row["revision"] for row in rows if row["what"] == "floor"},
        ),
        stamps=stamps,
        committed_at=head["at"],
        drills=tuple(_drill(row) for row in rows if row["what"] == "drill"),
    )


def _drill(row: asyncpg.Record) -> tuple[Drill, float]:
    said = orjson.loads(row["name"])
    drill = Drill(
        number=row["revision"],
        kinds=None if said["kinds"] is None else frozenset(said["kinds"]),
        nodes=None if said["nodes"] is None else frozenset(said["nodes"]),
        by=said["by"],
    )
    return drill, row["at"]


async def holds_position(connection: Connection, position: Position) -> bool:
    """Whether *position* is one of this database's history."""
    with translated():
        return bool(await connection.fetchval(QUERIES["holds_position"], position.number, position.stamp))


async def read_revision(connection: Connection, number: int | None) -> Position | None:
    """The position of a revision, or with None of the newest; None where there is none."""
    with translated():
        row = await connection.fetchrow(QUERIES["revision"], number)
    return None if row is None else Position(row["number"], row["stamp"])
