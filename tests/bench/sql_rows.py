"""Rows about writing: what the change log costs in bulk, and many statements in one transaction."""

import time
from statistics import median

from policyd.store.pool import Connection
from tests.bench.bench import Bench, progress
from tests.bench.databases import connection_to
from tests.bench.live_rows import bulk_followed
from tests.bench.table import Row, spread

_BULK = 100_000
_STATEMENTS = 20_000
_TABLE = "policy.listener_domain"
_CHANGE_ALL = f"update {_TABLE} set relay_to = not relay_to"
_CHANGE_ONE = f"{_CHANGE_ALL} where domain = $1"


async def bulk_update(bench: Bench) -> Row:
    """Every row of a table changed in one statement, with triggers and without."""
    logged = await bench.databases.with_rows(_BULK)
    bare = await bench.databases.with_rows(_BULK, "_without_triggers")
    times: dict[str, list[float]] = {logged: [], bare: []}
    async with connection_to(logged) as with_log, connection_to(bare) as without:
        await without.execute(f"alter table {_TABLE} disable trigger user")
        for dsn, connection in ((logged, with_log), (bare, without)) * (bench.sizes.rounds + 1):
            await connection.execute("vacuum policy.listener_domain, policy.change")
            await connection.execute("checkpoint")
            times[dsn].append(await _change_all(connection))
    # The first of each is the first ever: it makes the table's files grow.
    ratios = [a / b for a, b in list(zip(times[logged], times[bare], strict=True))[1:]]
    return Row(
        what=f"bulk update of {_BULK:,} rows with change log / without",
        goal="≤ 2.5",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=(
            f"{median(times[logged][1:]):.2f} s with all triggers, {median(times[bare][1:]):.2f} s with none; "
            + await bulk_followed(bench, logged)
        ),
        values={"ratio": median(ratios), "with": median(times[logged][1:])},
    )


async def _change_all(connection: Connection) -> float:
    began = time.perf_counter()
    async with connection.transaction():
        await connection.execute("set local policy.allow_mass_change = 'bench'")
        await connection.execute(_CHANGE_ALL)
    return time.perf_counter() - began


async def statements(bench: Bench) -> Row:
    """Twenty thousand statements in one transaction, and whether twice as many take twice as long."""
    dsn = await bench.databases.with_rows(_BULK)
    bare = await bench.databases.with_rows(_BULK, "_without_triggers")
    async with connection_to(dsn) as connection, connection_to(bare) as without:
        await without.execute(f"alter table {_TABLE} disable trigger user")
        progress(f"{_STATEMENTS:,} statements in one transaction")
        half, _ = await _change_each(connection, _STATEMENTS // 2)
        whole, updates = await _change_each(connection, _STATEMENTS)
        alone, _ = await _change_each(without, _STATEMENTS)
    return Row(
        what=f"{_STATEMENTS:,} statements in one transaction",
        goal="counter row updated once",
        measured=f"{whole:.2f} s, updated {updates} time{'' if updates == 1 else 's'}",
        notes=(
            f"{whole / _STATEMENTS * 1e6:.0f} µs each; / half as many {whole / half:.2f}; "
            f"/ without triggers {whole / alone:.2f}"
        ),
        values={"seconds": whole, "updates": float(updates), "linear": whole / half},
    )


async def _change_each(connection: Connection, number: int) -> tuple[float, int]:
    began = time.perf_counter()
    async with connection.transaction():
        await connection.executemany(_CHANGE_ONE, [(f"d{each:08d}.example.com",) for each in range(number)])
        updates = await connection.fetchval(
            "select n_tup_upd from pg_stat_xact_user_tables where relid = 'policy.counter'::regclass"
        )
    return time.perf_counter() - began, int(updates)
