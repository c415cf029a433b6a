"""What was seen of private keys: which one is at a place. Never a key itself."""

from policyd.policy.dkim import Place
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


async def note(
    connection: Connection, place: Place, key_id: str, algorithm: str, known: str | None
) -> dict[str, str]:
    """Note the key read at a place by who knew *known* there; the document of what is known there then."""
    with translated():
        row = await connection.fetchrow(
            QUERIES["note_dkim_key"], place.root, place.name, key_id, algorithm, known
        )
    return {} if row is None else dict(row)


async def count(connection: Connection, root: str) -> int:
    """How many keys of a root have been seen."""
    with translated():
        seen: int = await connection.fetchval(QUERIES["count_dkim_keys"], root)
    return seen


async def page(connection: Connection, root: str, *, after: str, limit: int) -> list[tuple[str, str]]:
    """At most *limit* names and key_ids of a root's keys, after a name."""
    with translated():
        rows = await connection.fetch(QUERIES["seen_dkim_keys"], root, after, limit)
    return [(row["name"], row["key_id"]) for row in rows]
