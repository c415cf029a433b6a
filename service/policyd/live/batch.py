"""
Batched fetches: whatever is wanted at one moment is read in one statement.

A pool of connections shared by single-row queries starves some of its waiters for hundreds of milliseconds; a few
workers that take everything that is waiting do not, and read each document once for all who want it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

from policyd.errors import BackendUnavailable, Overloaded
from policyd.policy.position import Position
from policyd.policy.resolving import Documents

Read: TypeAlias = Callable[[Iterable[str]], Awaitable[tuple[Position, Documents]]]
"""Reads documents in one statement; raises BackendUnavailable."""

MOST_TAGS = 500
"""In one statement: while PostgreSQL reads the next one, what came with this one is answered, and neither stalls."""


class Fetches(Protocol):
    """Where documents are fetched."""

    async def fetch(self, tags: Sequence[str]) -> tuple[Position, Documents]:
        """The documents that exist among *tags* (perhaps with others) and their snapshot's position."""


class Batch:
    """Collects wanted documents and has them read by *workers* statements at a time."""

    def __init__(self, read: Read, *, workers: int, most_waiting: int) -> None:
        self._read = read
        self._workers = workers
        self._most_waiting = most_waiting
        self._waiting: list[tuple[Sequence[str], asyncio.Future[tuple[Position, Documents]]]] = []
        self._arrived = asyncio.Event()

    async def fetch(self, tags: Sequence[str]) -> tuple[Position, Documents]:
        """
        The documents that exist among *tags* (perhaps with others) and their snapshot's position.

        Raises BackendUnavailable, and Overloaded at once when more is waiting than can be read in time.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Overloaded(what="lookups waiting for PostgreSQL", limit=self._most_waiting)
        future: asyncio.Future[tuple[Position, Documents]] = asyncio.get_running_loop().create_future()
        self._waiting.append((tags, future))
        self._arrived.set()
        return await future

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
            wanted = dict.fromkeys(tag for tags, _ in taken for tag in tags)
            try:
                read = await self._read(wanted)
            except BackendUnavailable as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for _, future in taken:
                if not future.done():
                    future.set_result(read)

    def _take(self) -> list[tuple[Sequence[str], asyncio.Future[tuple[Position, Documents]]]]:
        taken, tags = 0, 0
        while taken < len(self._waiting) and tags < MOST_TAGS:
            tags += len(self._waiting[taken][0])
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return [(tags, future) for tags, future in batch if not future.done()]
