"""
Batched fetches: whatever is wanted at one moment is read in one statement.

A pool of connections shared by single-row queries starves some of its waiters for hundreds of milliseconds; a few
workers that take everything that is waiting do not, and read each document once for all who want it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from policyd.errors import BackendUnavailable, Overloaded
from policyd.policy.position import Position
from policyd.policy.resolving import Documents

Read: TypeAlias = Callable[[Iterable[str]], Awaitable[tuple[Position, Documents]]]
"""Reads documents in one statement; raises BackendUnavailable."""

MOST_TAGS = 500
"""In one statement: while PostgreSQL reads the next one, what came with this one is answered, and neither stalls."""

_CROWD = 100
"""So many may wait however long it takes: a statement that hangs for a moment is no overload."""


class Fetches(Protocol):
    """Where documents are fetched."""

    async def fetch(self, tags: Sequence[str]) -> tuple[Position, Documents]:
        """The documents that exist among *tags* (perhaps with others) and their snapshot's position."""


@dataclass(frozen=True, slots=True, eq=False)
class _Want:
    """Somebody who waits for documents, and since when."""

    tags: Sequence[str]
    read: asyncio.Future[tuple[Position, Documents]]
    since: float


class Batch:
    """
    Collects wanted documents and has them read by *workers* statements at a time.

    At most *most_waiting* wait; and where many do, nobody joins a line whose first has waited for *longest_wait* seconds:
    who came later would be answered when it is too late, and so would everybody after them.
    """

    def __init__(self, read: Read, *, workers: int, most_waiting: int, longest_wait: float) -> None:
        self._read = read
        self._workers = workers
        self._most_waiting = most_waiting
        self._longest_wait = longest_wait
        self._waiting: deque[_Want] = deque()
        self._arrived = asyncio.Event()

    async def fetch(self, tags: Sequence[str]) -> tuple[Position, Documents]:
        """
        The documents that exist among *tags* (perhaps with others) and their snapshot's position.

        Raises BackendUnavailable, and Overloaded at once when more is waiting than can be read in time.
        """
        loop = asyncio.get_running_loop()
        self._refuse_what_would_be_late(loop.time())
        want = _Want(tags, loop.create_future(), loop.time())
        self._waiting.append(want)
        self._arrived.set()
        return await want.read

    def _refuse_what_would_be_late(self, now: float) -> None:
        if len(self._waiting) >= self._most_waiting:
            raise Overloaded(bottleneck="lookups", limit=self._most_waiting)
        if len(self._waiting) < _CROWD:
            return
        while self._waiting and self._waiting[0].read.done():  # they have given up
            self._waiting.popleft()
        if self._waiting and now - self._waiting[0].since > self._longest_wait:
            raise Overloaded(bottleneck="line", limit=self._longest_wait)

    async def run(self) -> None:
        """Read what is wanted until cancelled."""
        async with asyncio.TaskGroup() as workers:
            for _ in range(self._workers):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            taken = self._take()
            if not taken:
                # Those at the head of the queue may all have given up; others may wait behind them.
                if not self._waiting:
                    self._arrived.clear()
                continue
            wanted = dict.fromkeys(tag for want in taken for tag in want.tags)
            try:
                read = await self._read(wanted)
            except BackendUnavailable as error:
                for want in taken:
                    if not want.read.done():
                        want.read.set_exception(error)
                continue
            for want in taken:
                if not want.read.done():
                    want.read.set_result(read)

    def _take(self) -> list[_Want]:
        taken: list[_Want] = []
        tags = 0
        while self._waiting and tags < MOST_TAGS:
            want = self._waiting.popleft()
            tags += len(want.tags)
            if not want.read.done():
                taken.append(want)
        return taken
