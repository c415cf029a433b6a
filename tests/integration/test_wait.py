"""`policyd wait`: who waits is told when the last node has it, and never that it has what it has not."""

import asyncio
import os
import signal
import sys

import pytest

from policyd.store.pool import Connection
from tests.integration.conftest import head
from tests.integration.node_reports import LONG_AGO, Run, change, node, runs_against, status


@pytest.fixture
def run(dsn: str) -> Run:
    return runs_against(dsn)


async def is_waiting(db: Connection) -> None:
    """Return once `policyd wait` has read what nodes say."""
    reads = (
        "select exists (select from pg_stat_activity"
        " where application_name = 'policyd wait' and state = 'idle' and query ~ 'node_state')"
    )
    async with asyncio.timeout(20):
        while not await db.fetchval(reads):
            pass


async def test_wait_returns_when_the_last_live_node_has_it(db: Connection, run: Run) -> None:
    old = await change(db, 1)
    new = await change(db, 2)
    await node(db, "mx-1", new)
    await node(db, "mx-2", old)
    await node(db, "gone", old, seen=LONG_AGO)
    waiting = asyncio.create_task(run("wait", new.split("-")[0]))
    await is_waiting(db)
    await node(db, "mx-2", await change(db, 3))
    result = await waiting
    assert status(result) == 0
    first, second, third, last = result.output.splitlines()
    assert first == "not waiting for gone: silent for 24 h"
    assert second.startswith(f"waiting for {new}: mx-2 (at {old}, seen ")
    assert third.startswith("mx-2 has it, after ")
    assert last == f"{new} is applied by mx-1, mx-2"


async def test_wait_ends_when_its_time_is_over_and_says_who_is_missing(db: Connection, run: Run) -> None:
    old = await change(db, 1)
    new = await change(db, 2)
    await node(db, "mx-1", new)
    await node(db, "mx-2", old)
    await node(db, "lost", new[:-8] + "00000000")
    result = await run("wait", new, "--timeout", "0")
    assert status(result) == 6
    assert [line.partition(" (")[0] for line in result.stderr.splitlines()] == [
        "not within 0 s: lost",
        "not within 0 s: mx-2",
    ]
    assert status(await run("wait", old, "--nodes", "mx-1,mx-2", "--timeout", "0")) == 0
    assert status(await run("wait", "--node", "mx-1", "--timeout", "0")) == 0
    result = await run("wait", "--nodes", "mx-1,mx-9", "--timeout", "0")
    assert status(result) == 6
    assert "mx-9 (has never reported)" in result.stderr


async def test_wait_for_nobody_is_not_taken_for_success(db: Connection, run: Run) -> None:
    await node(db, "gone", await head(db), seen=LONG_AGO)
    result = await run("wait")
    assert (status(result), "nobody to wait for" in result.output) == (5, True)


async def test_wait_refuses_a_revision_that_there_is_not(db: Connection, run: Run) -> None:
    position = await change(db)
    await node(db, "mx-1", position)
    number, stamp = position.split("-")
    for written, said in (
        (str(int(number) + 1), f"there is no revision {int(number) + 1}: the log's newest one is {position}"),
        (f"{number}-{'0' * len(stamp)}", "is of another history"),
        ("head", "'head' is no revision"),
        ("-5", "no such option"),
    ):
        result = await run("wait", written)
        assert status(result) == (2 if written == "-5" else 1), written
        assert said in (result.output + str(result.exception)).lower() or said in str(result.exception)
    assert status(await run("wait", position, "--timeout", "soon")) == 2


async def test_wait_notices_that_the_history_is_another_one_now(db: Connection, run: Run) -> None:
    position = await change(db)
    await node(db, "mx-1", None)
    waiting = asyncio.create_task(run("wait", position))
    await is_waiting(db)
    await db.execute(
        "update policy.revision set stamp = '00000000' where number = (select max(number) from policy.revision)"
    )
    result = await waiting
    assert (status(result), "of another history" in str(result.exception)) == (1, True)


async def test_wait_rides_out_an_outage_and_says_so(db: Connection, run: Run) -> None:
    position = await change(db)
    await node(db, "mx-1", None)
    waiting = asyncio.create_task(run("wait", position))
    await is_waiting(db)
    await db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'policyd wait'"
    )
    await node(db, "mx-1", position)
    result = await waiting
    assert status(result) == 0, result.output
    assert "waiting for PostgreSQL too" in result.stderr


@pytest.mark.parametrize("command", [("wait",), ("nodes", "--watch"), ("nodes", "--watch", "--json")])
async def test_ctrl_c_ends_whatever_waits(dsn: str, db: Connection, command: tuple[str, ...]) -> None:
    await node(db, "mx-1", None)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "policyd", *command),
        env=os.environ | {"POLICYD_DATABASE_DSN": dsn},
        stdout=pipe,
        stderr=pipe,
    )
    assert process.stdout is not None
    while b"mx-1" not in (line := await process.stdout.readline()):
        assert line, (await process.communicate())[1]
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, err.strip()) == (130, b"")
