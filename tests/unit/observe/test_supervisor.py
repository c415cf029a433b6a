"""What systemd is told, received by a socket like systemd's."""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from policyd.observe import events
from policyd.observe.supervisor import Supervisor, supervised
from policyd.policy.position import Position

HERE = Position(105, "3f9a12bc")
STARTED = events.ServiceStarted(
    lookup="127.0.0.1:8085", admin="127.0.0.1:9085", version="1", current=False, connections=9
)


@pytest.fixture
def manager() -> Iterator[tuple[str, Callable[[], str]]]:
    """The address of a service manager, and what reads the next thing that it was told."""
    # Not tmp_path: the address of a socket is 107 bytes at most.
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        address = str(Path(directory) / "notify")
        listening = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        listening.bind(address)
        listening.settimeout(30)
        yield address, lambda: listening.recv(4096).decode()


def told(address: str, **more: str) -> contextlib.AbstractContextManager[Supervisor | None]:
    return supervised({"NOTIFY_SOCKET": address, **more})


def test_ready_is_told_when_the_listeners_are_open_and_stopping_at_the_end(manager):
    address, next_message = manager
    with told(address) as supervisor:
        assert supervisor is not None
        supervisor(STARTED)
        assert next_message().split("\n")[0] == "READY=1"
        supervisor(events.ServiceStopping())
        assert next_message().split("\n")[0] == "STOPPING=1"


def test_the_status_line_says_whether_answers_are_vouched_for(manager):
    address, next_message = manager
    with told(address) as supervisor:
        assert supervisor is not None
        supervisor(events.CurrencyRegained(position=HERE))
        assert next_message() == "STATUS=current at 105-3f9a12bc"
        supervisor(events.CurrencyLost(position=HERE, age=6.0))
        assert next_message() == "STATUS=not current: answers are of 105-3f9a12bc and marked stale"


async def test_the_watchdog_hears_of_a_loop_that_turns(manager):
    address, next_message = manager
    with told(address, WATCHDOG_USEC="30000", WATCHDOG_PID=str(os.getpid())) as supervisor:
        assert supervisor is not None
        beating = asyncio.create_task(supervisor.run())
        for _ in range(3):
            assert await asyncio.to_thread(next_message) == "WATCHDOG=1"
        beating.cancel()


async def test_a_watchdog_of_somebody_else_hears_nothing(manager):
    address, next_message = manager
    with told(address, WATCHDOG_USEC="30000", WATCHDOG_PID="1") as supervisor:
        assert supervisor is not None
        beating = asyncio.create_task(supervisor.run())
        await asyncio.sleep(0)
        supervisor(events.ServiceStopping())
        assert next_message().startswith("STOPPING=1")
        assert not beating.done()
        beating.cancel()


def test_without_a_service_manager_there_is_nobody_to_tell():
    with supervised({}) as supervisor:
        assert supervisor is None


def test_a_service_manager_that_is_gone_stops_nothing(tmp_path):
    with told(str(tmp_path / "no-such-socket")) as supervisor:
        assert supervisor is None


def test_a_service_manager_that_does_not_read_stops_nothing(manager):
    address, _ = manager
    with told(address) as supervisor:
        assert supervisor is not None
        for _ in range(10_000):
            supervisor(events.CurrencyRegained(position=HERE))
