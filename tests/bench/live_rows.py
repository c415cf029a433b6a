"""Rows about changes: how soon a commit is known at every replica, and answered to a long-poll."""

import asyncio
import time
from statistics import median

import aiohttp

from policyd.store.pool import Connection
from tests.bench.bench import FEW_ROWS, HEAD, HEADERS, Bench, progress
from tests.bench.children import Server
from tests.bench.databases import connection_to
from tests.bench.table import Row

_COMMITS = 300
_PAUSE = 0.01
_CHANGE = "update policy.listener_domain set relay_to = not relay_to where domain = $1"


async def commits(bench: Bench) -> Row:
    """From a commit's acknowledgement to the last replica's knowing it, and to a long-poll's answer."""
    rows = bench.sizes.rows
    dsn = await bench.databases.with_rows(rows)
    replicas = [await bench.service(rows), await bench.another(dsn)]
    for replica in replicas:
        await replica.known()
    async with connection_to(dsn) as connection:
        committed, answered = await _commit_and_poll(connection, replicas)
    known = [await replica.known() for replica in replicas]
    for replica in replicas:
        await bench.note_stall(replica, "commits")
    # A replica that reads two revisions at once knows of both; that is when each was known.
    learned = sorted(max(each[number] for each in known) - at for number, at in committed.items())
    polled = sorted(
        max(min(at for number, at in each if number >= wanted) for each in answered) - at_commit
        for wanted, at_commit in committed.items()
    )
    return Row(
        what="commit → known at every replica, p99; → long-poll answered",
        goal="≤ 5 ms; ≤ 20 ms",
        measured=f"{_p99(learned) * 1e3:.1f} ms; {_p99(polled) * 1e3:.1f} ms",
        notes=(
            f"{rows:,} domains; medians {median(learned) * 1e3:.1f} and {median(polled) * 1e3:.1f} ms; "
            f"{len(committed)} commits, "
            f"{1 / _PAUSE:.0f} a second at most, {len(replicas)} replicas that share a core and are idle else"
        ),
        values={"known": _p99(learned), "polled": _p99(polled)},
    )


async def _commit_and_poll(
    connection: Connection, replicas: list[Server]
) -> tuple[dict[int, float], list[list[tuple[int, float]]]]:
    """When each revision was committed, and which long-poll of each replica was answered when."""
    committed: dict[int, float] = {}
    head = str(await connection.fetchval(HEAD))
    numbers = range(_number(head) + 1, _number(head) + 1 + _COMMITS)
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        polls = [tasks.create_task(_poll(replica.port, head, numbers[-1])) for replica in replicas]
        change = await connection.prepare(_CHANGE)
        for number in numbers:
            await asyncio.sleep(_PAUSE)
            await change.fetch(f"d{number % FEW_ROWS:08d}.example.com")
            committed[number] = time.monotonic()
    return committed, [poll.result() for poll in polls]


async def _poll(port: int, position: str, last: int) -> list[tuple[int, float]]:
    url = f"http://127.0.0.1:{port}/changes"
    answered: list[tuple[int, float]] = []
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        while not answered or answered[-1][0] < last:
            async with session.get(url, params={"position": position, "wait": "25"}) as response:
                response.raise_for_status()
                position = (await response.json())["position"]
            answered.append((_number(position), time.monotonic()))
    return answered


async def bulk_followed(bench: Bench, dsn: str) -> str:
    """How a replica that is busy with hits takes in a change of every row, in words."""
    progress("a bulk change under a replica")
    replica = await bench.another(dsn)
    await bench.warm(replica, FEW_ROWS, FEW_ROWS)
    async with connection_to(dsn) as connection, asyncio.TaskGroup() as tasks:
        head = str(await connection.fetchval(HEAD))
        load = tasks.create_task(bench.hits(replica, FEW_ROWS, FEW_ROWS))
        poll = tasks.create_task(_poll(replica.port, head, _number(head) + 1))
        await connection.execute(
            "set policy.allow_mass_change = 'bench';"
            " update policy.listener_domain set relay_to = not relay_to"
        )
        committed = time.monotonic()
        await load
    await bench.note_stall(replica, "bulk change")
    return f"told to a long-poll of a busy replica {(poll.result()[-1][1] - committed) * 1e3:.0f} ms after it"


def _number(position: str) -> int:
    return int(position.partition("-")[0])


def _p99(values: list[float]) -> float:
    return values[len(values) * 99 // 100]
