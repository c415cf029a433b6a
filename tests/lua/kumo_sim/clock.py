"""Time that stands still until somebody moves it."""

import asyncio
import heapq
import itertools
import time


class Clock:
    """A monotonic clock and a wall clock that only tests move."""

    def __init__(self) -> None:
        self.now = 0.0
        self._wall = float(int(time.time()))
        self._timers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def wall(self) -> float:
        """Seconds since 1970, as the node believes."""
        return self._wall + self.now

    def set_wall(self, seconds: float) -> None:
        """Step the wall clock by *seconds*, as an administrator or a broken NTP does; nothing that waits notices."""
        self._wall += seconds

    def timer(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done once *seconds* have passed here."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), future))
        return future

    @property
    def next_deadline(self) -> float | None:
        while self._timers and self._timers[0][2].done():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def move_to(self, when: float) -> None:
        """Let it be *when*, and ring what was due by then."""
        self.now = max(self.now, when)
        while (deadline := self.next_deadline) is not None and deadline <= self.now:
            heapq.heappop(self._timers)[2].set_result(None)
