"""
`make bench`: the rows of the design's table of numbers that exist so far, measured here, as a table.

No pass and no fail: a ratio is what two things did side by side on this machine. `make bench ROWS=100000 SECONDS=1`
is a quick look; `ROWS=10000000` is the design's largest and takes a while. The rows of a real kumod need one: $KUMOD names it.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from tests.bench import (
    auth_rows,
    children,
    dkim_rows,
    kumod_rows,
    live_rows,
    lookup_rows,
    overload_rows,
    script_rows,
    sql_rows,
)
from tests.bench.bench import Bench, Sizes, progress
from tests.bench.databases import databases
from tests.bench.machine import allow_many_files, cores, description, pin
from tests.bench.table import Row, show, to_json

_ROWS: dict[str, Callable[[Bench], Awaitable[Row | list[Row]]]] = {
    "client": lookup_rows.ceiling,
    "hits": lookup_rows.hits,
    "misses": lookup_rows.misses,
    "storm": lookup_rows.storm,
    "scale": lookup_rows.scale,
    "million": lookup_rows.million,
    "memory": lookup_rows.memory,
    "commits": live_rows.commits,
    "bulk": sql_rows.bulk_update,
    "statements": sql_rows.statements,
    "overload": overload_rows.overload,
    "stampede": overload_rows.stampede,
    "slow kinds": overload_rows.slow_kinds,
    "long-polls": overload_rows.long_polls,
    "logins": auth_rows.logins,
    "dkim": dkim_rows.plans,
    "keys": dkim_rows.keys,
    "lua": script_rows.warm,
    "loading": script_rows.loading,
    "kumod": kumod_rows.reception,
}


def main() -> None:
    """Measure what was asked for and print it."""
    asked = _arguments()
    where = cores()
    machine = description(where)
    pin(where.postgres)
    allow_many_files()
    with databases() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:

        async def measure() -> list[Row]:
            await made.empty()
            async with AsyncExitStack() as stack:
                bench = Bench(
                    sizes=Sizes(rows=asked.rows, seconds=asked.seconds, rounds=asked.rounds),
                    where=where,
                    databases=made,
                    client=await stack.enter_async_context(children.client(where)),
                    stack=stack,
                )
                return await _measure(bench, asked.only)

        rows = runner.run(measure())
    show(rows, machine)
    if asked.json is not None:
        asked.json.write_text(to_json(rows, machine), encoding="utf-8")


async def _measure(bench: Bench, only: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in only:
        progress(name)
        made = await _ROWS[name](bench)
        rows.extend(made if isinstance(made, list) else [made])
    if bench.stalls:
        rows.append(lookup_rows.longest_stall(bench))
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="listener domains of the large database")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument(
        "--only",
        type=lambda names: names.split(","),
        default=list(_ROWS),
        metavar="ROW,…",
        help=", ".join(_ROWS),
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
