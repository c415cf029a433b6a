"""What a server under test tells the bench of itself, on its standard input and output."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.bench.machine import resident_bytes

_BEAT = 0.002


class Heartbeat:
    """
    How long the event loop did not turn.

    What passed between two beats may be time in which the processor was somebody else's; what this process worked
    meanwhile cannot be.
    """

    def __init__(self) -> None:
        self.worked = self.passed = 0.0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(_BEAT)
            passed = time.perf_counter() - began - _BEAT
            self.passed = max(self.passed, passed)
            self.worked = max(self.worked, min(passed, time.process_time() - used))

    def tell(self) -> dict[str, float]:
        """The longest of both since the last call."""
        longest = {"worked": self.worked, "passed": self.passed}
        self.worked = self.passed = 0.0
        return longest


async def answer_questions(more: Mapping[str, Callable[[], dict[str, Any]]]) -> None:
    """Answer until standard input ends."""
    heartbeat = Heartbeat()
    tellers: dict[str, Callable[[], dict[str, Any]]] = {
        "cpu": lambda: {"cpu": time.process_time()},
        "memory": lambda: {"bytes": resident_bytes()},
        "stall": heartbeat.tell,
        **more,
    }
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with asyncio.TaskGroup() as tasks:
        beating = tasks.create_task(heartbeat.run())
        while line := await reader.readline():
            print(json.dumps(tellers[json.loads(line)["tell"]]()), flush=True)
        beating.cancel()
