"""How much of the change log is kept."""

from dataclasses import dataclass

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Up to which revision the log is pruned, and how many rows went with it now."""

    revision: int
    rows: int


async def prune_some(connection: Connection, *, keep: float, most: int) -> Pruned | None:
    """Delete at most *most* rows of the log older than *keep* seconds; None while somebody else is at it."""
    with translated():
        row = await connection.fetchrow(QUERIES["prune_some"], keep, most)
    return None if row is None else Pruned(revision=row["revision"], rows=row["rows"])
