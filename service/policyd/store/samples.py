"""Names that are in the database, for examples that work when they are pasted."""

from dataclasses import dataclass

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """One name of each kind, where there is one, and how many there are."""

    listener_domain: str | None
    egress_pool: str | None
    queue: str | None
    tenant: str | None
    dkim_domain: str | None
    dkim_selector: str | None
    listener_domains: int
    egress_sources: int
    egress_pools: int
    tenants: int
    queues: int
    dkim_domains: int


async def read_samples(connection: Connection) -> Samples:
    """Names to try."""
    with translated():
        row = await connection.fetchrow(QUERIES["samples"])
    assert row is not None  # noqa: S101 - a select without from gives a row
    return Samples(**row)


async def insert_example_webhook(connection: Connection) -> None:
    """Add a webhook that shows what one can say."""
    with translated():
        await connection.execute(QUERIES["insert_example_webhook"])


async def is_untouched(connection: Connection) -> bool:
    """Whether this database holds nothing but what the migrations put there."""
    with translated():
        return bool(await connection.fetchval(QUERIES["is_untouched"]))


async def count_secretive(connection: Connection) -> tuple[int, int]:
    """How many credentials and tokens there are: rows that hold hashes, which no file may."""
    with translated():
        row = await connection.fetchrow(QUERIES["count_secretive"])
    assert row is not None  # noqa: S101 - a select without from gives a row
    return row["credentials"], row["tokens"]
