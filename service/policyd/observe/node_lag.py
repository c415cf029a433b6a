"""How far behind nodes are: since when the log has held something that a node has not applied."""

from bisect import bisect_right
from collections.abc import Callable

_MOST_NODES = 1_000
_MOST_READINGS = 10_000


class NodeLag:
    """The revisions that nodes said they have applied, against those that were known here, and when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun = clock()
        self._readings: list[tuple[int, float]] = []
        self.applied: dict[str, int] = {}

    def read(self, number: int) -> None:
        """The log was read up to revision *number*."""
        self._readings.append((number, self._clock()))
        if len(self._readings) > _MOST_READINGS:
            del self._readings[: _MOST_READINGS // 2]

    def report(self, node: str, applied: int) -> None:
        """A node has applied revision *applied*. Of nodes that nobody has heard of there may be a thousand."""
        if node in self.applied or len(self.applied) < _MOST_NODES:
            self.applied[node] = applied

    def forget(self) -> None:
        """The numbers begin anew: the database has another history."""
        self._readings.clear()
        self._begun = self._clock()

    def seconds(self, head: int) -> dict[str, float]:
        """By node: how long revisions up to *head* have waited for it."""
        now = self._clock()
        return {node: self._waited(applied, head, now) for node, applied in self.applied.items()}

    def _waited(self, applied: int, head: int, now: float) -> float:
        if applied >= head:
            return 0.0
        first_missing = bisect_right(self._readings, (applied, float("inf")))
        return now - (
            self._readings[first_missing][1] if first_missing < len(self._readings) else self._begun
        )
