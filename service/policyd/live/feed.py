"""
The change feed: what this replica knows of the log, kept current by NOTIFY, and by reading on every second.

A notification, a reconnect and a second without either all mean the same thing: read on. NOTIFY may be lost, the
log is not.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from policyd.config import FeedConfig
from policyd.errors import BackendUnavailable, NotCaughtUp
from policyd.live.drills import Drills
from policyd.live.turnstile import Turnstile
from policyd.observe.events import (
    BackendLost,
    BackendReached,
    ChangesRead,
    CurrencyLost,
    CurrencyRegained,
    HistoryReplaced,
    Observer,
)
from policyd.pauses import jittered
from policyd.policy.position import Position
from policyd.policy.validity import KnownChanges
from policyd.store.changes import Reading

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_TICK = 0.002
"""Timers may fire this much early: the loop's clock is coarser than the one that the lease is measured by."""


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _since_boot() -> float:
    """Seconds that have passed, those in which the whole machine slept among them: policy went on meanwhile."""
    return time.clock_gettime(_CLOCK)


class Log(Protocol):
    """An open connection to the log that hears notifications."""

    async def read(self, since: Position | None) -> Reading:
        """What happened after *since*, up to the head."""


Connect = Callable[[Callable[[], None]], AbstractAsyncContextManager[Log]]
"""Opens a `Log` that calls its argument at each notification, and when the connection is lost."""


class Feed:
    """What this replica knows of the log, and how fresh that knowledge is."""

    def __init__(self, connect: Connect, config: FeedConfig, observe: Observer) -> None:
        self._connect = connect
        self._config = config
        self._lease = config.lease
        self._observe = observe
        self._read_at: float | None = None
        self._was_current = False
        self._lease_end: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._begun = self._finished = 0
        self._read = Turnstile()
        self._moved = Turnstile()
        self._stamps: dict[int, str] = {}
        self.drills = Drills(observe)
        self.known: KnownChanges | None = None
        self._waits = True
        self.history = 0
        """Raised whenever the database turns out to have another history: what was read before is nothing."""
        self.on_replaced: Callable[[], None] = lambda: None
        self.has_tried = asyncio.Event()
        """Set when the log was read for the first time, or could not be."""

    @property
    def current(self) -> bool:
        """Whether the log was read from the primary within the lease, so that answers can be vouched for."""
        return self.vouched is not None

    @property
    def vouched(self) -> KnownChanges | None:
        """`known`, while this replica is current: what makes an answer one that can be vouched for."""
        # Asked with every hit, so without a call that could be spared.
        if self._read_at is None or time.clock_gettime(_CLOCK) - self._read_at >= self._lease:
            return None
        return self.known

    @property
    def age(self) -> float:
        """Seconds since the log was last read; what a stale answer's age is."""
        return float("inf") if self._read_at is None else _since_boot() - self._read_at

    def is_ours(self, position: Position) -> bool | None:
        """Whether *position* is of the history that is known here; None when only the database can tell."""
        stamp = self._stamps.get(position.number)
        return None if stamp is None else stamp == position.stamp

    async def run(self) -> None:
        """Follow the log until cancelled, connecting again with growing, jittered pauses."""
        try:
            await self._run()
        finally:
            self.drills.close()
            if self._lease_end is not None:
                self._lease_end.cancel()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with self._connect(self._wake.set) as log:
                    async for _ in self._follow(log):
                        pause = _FIRST_PAUSE
            except BackendUnavailable as error:
                delay = jittered(pause)
                self.has_tried.set()
                trouble = error.trouble or "unreachable"
                self._observe(
                    BackendLost(backend="postgresql", trouble=trouble, reason=str(error), retry_in=delay)
                )
                await asyncio.sleep(delay)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def read_on(self, deadline: float) -> None:
        """Wait until a reading that began after this call is taken in; NotCaughtUp after *deadline* seconds."""
        wanted = self._begun + 1
        self._wake.set()
        await self._wait(self._read, lambda: self._finished >= wanted, deadline)

    async def reach(self, number: int, deadline: float) -> None:
        """Wait until revision *number* is known here; NotCaughtUp after *deadline* seconds."""
        if self.known is not None and self.known.position.number >= number:
            return
        self._wake.set()
        await self._wait(
            self._moved, lambda: self.known is not None and self.known.position.number >= number, deadline
        )

    async def moved_from(self, position: Position, wait: float) -> None:
        """Wait until something newer than *position* is known, or nobody can tell, or *wait* seconds have passed."""
        drills = self.drills.on

        def is_over() -> bool:
            moved = self.known is None or self.known.position != position or self.drills.on is not drills
            return moved or not self.current or not self._waits

        with contextlib.suppress(NotCaughtUp):
            await self._wait(self._moved, is_over, wait)

    def stop_waiting(self) -> None:
        """Answer everyone who waits for something new, because the service is about to end."""
        self._waits = False
        self._moved.turn()

    @property
    def is_stopping(self) -> bool:
        """Whether the service is about to end."""
        return not self._waits

    async def _wait(self, turnstile: Turnstile, reached: Callable[[], bool], deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline):
                while not reached():
                    await turnstile.wait()
        except TimeoutError:
            raise NotCaughtUp(seconds=deadline) from None

    async def _follow(self, log: Log) -> AsyncIterator[None]:
        is_reached = False
        while True:
            self._wake.clear()
            self._begun += 1
            begun_at, drills_from = _since_boot(), time.monotonic()
            before = None if self.known is None else self.known.position
            reading = await log.read(before)
            if not is_reached:
                # Not before: a database that lets policyd in and refuses it the log is of no use.
                self._observe(BackendReached(backend="postgresql"))
                is_reached = True
            self._take(reading)
            self._read_at = begun_at
            self._finished = self._begun
            self._watch_lease()
            self.has_tried.set()
            self._read.turn()
            if self.drills.take(reading.drills, drills_from) or reading.news.head != before:
                self._moved.turn()
            yield
            await self._pause(self._config.poll)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _take(self, reading: Reading) -> None:
        news = reading.news
        self._stamps |= reading.stamps
        if self.known is None:
            self.known = KnownChanges(news.head, limit=self._config.window)
            return
        if news.reset:
            self._observe(HistoryReplaced(held=self.known.position, found=news.head))
            self._stamps = dict(reading.stamps)
            self.history += 1
            self.known.learn(news)
            self.on_replaced()
            return
        revisions = news.head.number - self.known.position.number
        self.known.learn(news)
        if revisions:
            lag = 0.0 if reading.committed_at is None else max(0.0, time.time() - reading.committed_at)
            self._observe(
                ChangesRead(
                    position=news.head,
                    revisions=revisions,
                    tags=len(news.tags),
                    floors=len(news.floors),
                    lag=lag,
                )
            )
        self._forget_old_stamps()

    def _forget_old_stamps(self) -> None:
        if len(self._stamps) > 2 * self._config.window:
            newest = sorted(self._stamps)[-self._config.window :]
            self._stamps = {number: self._stamps[number] for number in newest}

    def _watch_lease(self) -> None:
        """Tell when the lease begins and when it ends; who waits for news then asks another replica."""
        self._tell_currency()
        if self._lease_end is not None:
            self._lease_end.cancel()
        if self.current:
            left = self._config.lease - self.age + _TICK
            self._lease_end = asyncio.get_running_loop().call_later(left, self._watch_lease)
        else:
            self._moved.turn()

    def _tell_currency(self) -> None:
        if self.known is None or self.current == self._was_current:
            return
        self._was_current = self.current
        position = self.known.position
        self._observe(
            CurrencyRegained(position=position)
            if self.current
            else CurrencyLost(position=position, age=self.age)
        )
