"""The clock of simulated kumods and of the ways to them, which is the machine's."""

import asyncio
import time

from tests.lua.kumo_sim.clock import Clock


class RealClock(Clock):
    """Time that nobody moves."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        super().__init__()

    @property
    def now(self) -> float:
        """Seconds since the process began."""
        return time.monotonic() - self._begun

    @now.setter
    def now(self, _: float) -> None:
        pass

    @property
    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def timer(self, seconds: float) -> "asyncio.Future[None]":
        """A future that is done once *seconds* have passed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        loop.call_later(seconds, lambda: None if future.done() else future.set_result(None))
        return future
