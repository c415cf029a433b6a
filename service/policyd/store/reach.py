"""Who is touched by a change: how many domains and tenants have to do with pools and sources."""

from collections.abc import Collection
from dataclasses import dataclass

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUsers:
    """How many rows name a pool."""

    tenants: int
    queues: int
    is_default: bool
    """Whether it is the default queue's, and so that of all who name none."""


async def pools_of(connection: Connection, sources: Collection[str]) -> dict[str, list[str]]:
    """The pools that each source is in, for any group of nodes."""
    with translated():
        rows = await connection.fetch(QUERIES["pools_of_sources"], sorted(sources))
    return {row["source"]: row["pools"] for row in rows}


async def users_of(connection: Connection, pools: Collection[str]) -> dict[str, PoolUsers]:
    """Who names each pool."""
    with translated():
        rows = await connection.fetch(QUERIES["users_of_pools"], sorted(pools))
    return {
        row["pool"]: PoolUsers(tenants=row["tenants"], queues=row["queues"], is_default=row["is_default"])
        for row in rows
    }


async def count_touched(
    connection: Connection, *, domains: Collection[str], tenants: Collection[str], pools: Collection[str]
) -> tuple[int, int]:
    """How many domains and tenants these are, together with those that name one of the pools."""
    with translated():
        row = await connection.fetchrow(
            QUERIES["count_touched"], sorted(domains), sorted(tenants), sorted(pools)
        )
    assert row is not None  # noqa: S101 - a select without from gives a row
    return row["domains"], row["tenants"]
