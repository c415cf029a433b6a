"""The drills that are on, as this replica knows them."""

import asyncio
import time
from collections.abc import Sequence

from policyd.errors import OutageDrilled
from policyd.observe.events import DrillBegan, DrillEnded, DrillKeptTo, Observer
from policyd.policy.drill import Drill


class Drills:
    """
    Makes fail what a drill says, until its time is over.

    The log's reading brings them, with how long each has left. When the log cannot be read any more, they end by this
    process's own clock, so that no drill outlives its time because the database is gone.
    """

    def __init__(self, observe: Observer) -> None:
        self._observe = observe
        self._ends: dict[Drill, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.on: tuple[Drill, ...] = ()
        """Empty nearly always, which is all that a lookup has to look at."""

    def take(self, read: Sequence[tuple[Drill, float]], read_at: float) -> bool:
        """Whether other drills are on now: those that were *read*, each with the seconds that it has left."""
        now = time.monotonic()
        self._ends = {drill: read_at + left for drill, left in read if read_at + left > now}
        before, on = self.on, tuple(sorted(self._ends, key=lambda drill: drill.number))
        self._watch(now)
        if on == before:
            # The same tuple: who waits looks for another one.
            return False
        self.on = on
        for drill in self.on:
            if drill not in before:
                self._observe(_began(drill, self._ends[drill] - now))
        for drill in before:
            if drill not in self._ends:
                self._observe(DrillEnded(number=drill.number))
        return True

    def refuse(self, kind: str, node: str | None) -> None:
        """Raise OutageDrilled when *node* asks for something of *kind* that is to fail."""
        for drill in self.on:
            if drill.concerns(kind, node):
                self._observe(DrillKeptTo(kind=kind))
                raise OutageDrilled(number=drill.number, by=drill.by)

    def close(self) -> None:
        """Watch no clock any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _watch(self, now: float) -> None:
        self.close()
        if self._ends:
            left = max(0.0, min(self._ends.values()) - now)
            self._timer = asyncio.get_running_loop().call_later(left, self._end)

    def _end(self) -> None:
        now = time.monotonic()
        self.take([(drill, end - now) for drill, end in self._ends.items()], now)


def _began(drill: Drill, seconds: float) -> DrillBegan:
    return DrillBegan(
        number=drill.number,
        by=drill.by,
        kinds="everything" if drill.kinds is None else ", ".join(sorted(drill.kinds)),
        nodes="whoever asks" if drill.nodes is None else ", ".join(sorted(drill.nodes)),
        seconds=round(seconds, 1),
    )
