"""Networks take turns at the few threads, and a full queue says so at once."""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from policyd.errors import Overloaded
from policyd.live.password_checks import PasswordChecks


class Gate:
    """A check that takes as long as a test wants: it tells what it began, and waits to be let through."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open = threading.Semaphore(0)
        self._changed = threading.Event()

    def is_password(self, password_hash: str, password: str) -> bool:
        self.begun.append(password)
        self._open.acquire()
        if password == "broken":
            raise MemoryError
        return password == password_hash

    def let_through(self, several: int) -> None:
        self._open.release(several)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@contextlib.contextmanager
def checking(gate: Gate, *, threads: int = 1, most_waiting: int = 4) -> Iterator[PasswordChecks]:
    checks = PasswordChecks(gate.is_password, threads=threads, most_waiting=most_waiting)
    try:
        yield checks
    finally:
        gate.let_through(1000)
        checks.close()


async def begin(checks: PasswordChecks, line: str, password: str) -> "asyncio.Task[bool]":
    task = asyncio.create_task(checks.check(line, "right", password))
    await asyncio.sleep(0)  # until it waits for its turn
    return task


async def test_a_check_says_what_it_found_or_what_went_wrong(gate):
    with checking(gate) as checks:
        gate.let_through(3)
        assert await checks.check("a", "right", "right") is True
        assert await checks.check("a", "right", "wrong") is False
        with pytest.raises(MemoryError):
            await checks.check("a", "right", "broken")
        gate.let_through(1)
        assert await checks.check("a", "right", "right") is True


async def test_networks_take_turns(gate):
    with checking(gate, most_waiting=10) as checks:
        tasks = [await begin(checks, "a", f"a{number}") for number in range(5)]
        tasks += [await begin(checks, "b", f"b{number}") for number in range(2)]
        tasks += [await begin(checks, "c", "c0")]
        gate.let_through(len(tasks))
        await asyncio.gather(*tasks)
    assert gate.begun == ["a0", "a1", "b0", "c0", "a2", "b1", "a3", "a4"]


async def test_no_more_run_at_a_time_than_there_are_threads(gate):
    with checking(gate, threads=2) as checks:
        tasks = [await begin(checks, "a", f"{number}") for number in range(5)]
        gate.let_through(1)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert len(gate.begun) <= 3
        gate.let_through(4)
        await asyncio.gather(*tasks)
    assert len(gate.begun) == 5


async def test_a_full_queue_refuses_whoever_has_the_most_in_it(gate):
    with checking(gate) as checks:
        flood = [await begin(checks, "a", f"a{number}") for number in range(20)]
        refused = [task for task in flood if task.done()]
        assert len(refused) == 15  # one is being checked, four wait
        others = [await begin(checks, line, line) for line in ("b", "c")]
        await asyncio.sleep(0)
        assert sum(task.done() for task in flood) == 17
        assert not any(task.done() for task in others)
        gate.let_through(100)
        assert await asyncio.gather(*others) == [False, False]
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(result, Overloaded) for result in results) == 17


async def test_where_everybody_has_one_in_line_the_next_is_refused(gate):
    with checking(gate) as checks:
        tasks = [await begin(checks, line, line) for line in "abcde"]
        with pytest.raises(Overloaded, match="passwords waiting to be checked: 4"):
            await checks.check("f", "right", "f")
        gate.let_through(10)
        await asyncio.gather(*tasks)


async def test_what_nobody_waits_for_any_more_is_not_checked(gate):
    with checking(gate) as checks:
        first, second = await begin(checks, "a", "a0"), await begin(checks, "a", "a1")
        third = await begin(checks, "b", "b0")
        second.cancel()
        gate.let_through(3)
        await asyncio.gather(first, third)
        assert second.cancelled()
    assert gate.begun == ["a0", "b0"]


async def test_whoever_leaves_while_being_checked_makes_room_when_that_ends(gate):
    with checking(gate) as checks:
        first = await begin(checks, "a", "a0")
        first.cancel()
        gate.let_through(2)
        assert await checks.check("b", "right", "right") is True


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a priority of its own on Linux only")
async def test_passwords_are_checked_with_what_lookups_leave():
    mine = os.getpriority(os.PRIO_PROCESS, 0)
    checks = PasswordChecks(
        lambda *_: os.getpriority(os.PRIO_PROCESS, 0) == max(mine, 10), threads=1, most_waiting=4
    )
    assert await checks.check("a", "hash", "password")
    assert os.getpriority(os.PRIO_PROCESS, 0) == mine
    checks.close()
