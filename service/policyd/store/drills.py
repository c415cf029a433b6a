"""The rows of drills."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRow:
    """A drill that was begun."""

    number: int
    until: datetime


async def begin_drill(
    connection: Connection, *, kinds: Sequence[str] | None, nodes: Sequence[str] | None, seconds: float
) -> DrillRow:
    """Let lookups fail, of these kinds or all, for these nodes or whoever asks; it ends by itself after *seconds*."""
    with translated():
        row = await connection.fetchrow(QUERIES["begin_drill"], kinds, nodes, seconds)
    assert row is not None  # noqa: S101 - an insert returns what it inserted
    return DrillRow(number=row["number"], until=row["until"])


async def end_drills(connection: Connection, number: int | None = None) -> Sequence[int]:
    """The numbers of the drills that are over now: that one, or all."""
    with translated():
        return [row["number"] for row in await connection.fetch(QUERIES["end_drill"], number)]
