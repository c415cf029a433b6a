"""How far behind nodes are: since when the log has held something that a node has not applied."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from policyd.policy.node import OUTCOMES, NodeState

_MOST_NODES = 1_000
_MOST_READINGS = 10_000


@dataclass(frozen=True, slots=True)
class NodeSample:
    """A node as a scrape shows it."""

    node: str
    applied: int
    lag: float
    """Seconds."""
    silent_for: float
    counts: Mapping[str, int]


@dataclass(slots=True)
class _Known:
    applied: int
    seen_at: float
    waits_since: float | None
    """Since when it has waited, if the database says that it waits; else our own readings say so."""
    counts: Mapping[str, int]


class NodeLag:
    """
    The revisions that nodes said they have applied, against those that were known here, and when.

    The database tells of all nodes, now and then; those that report to this very replica are known at once.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun = clock()
        self._readings: list[tuple[int, float]] = []
        self._nodes: dict[str, _Known] = {}

    def read(self, number: int) -> None:
        """The log was read up to revision *number*."""
        self._readings.append((number, self._clock()))
        if len(self._readings) > _MOST_READINGS:
            del self._readings[: _MOST_READINGS // 2]

    def report(self, node: str, applied: int, counts: Mapping[str, int]) -> None:
        """A node has applied revision *applied*. Of nodes that nobody has heard of there may be a thousand."""
        if node in self._nodes or len(self._nodes) < _MOST_NODES:
            self._nodes[node] = _Known(applied, self._clock(), None, counts)

    def replace(self, states: Iterable[NodeState]) -> None:
        """These are the nodes, and what they said last."""
        now = self._clock()
        self._nodes = {
            state.node_id: _Known(
                state.applied.number,
                now - state.silent_for,
                None if state.waits_for is None else now - state.waits_for,
                state.counts,
            )
            for state in states
            if state.applied is not None
        }

    def forget(self) -> None:
        """The numbers begin anew: the database has another history."""
        self._readings.clear()
        self._begun = self._clock()

    def samples(self, head: int) -> Iterator[NodeSample]:
        """Each node, and how long revisions up to *head* have waited for it."""
        now = self._clock()
        for node, known in self._nodes.items():
            yield NodeSample(
                node,
                known.applied,
                self._waited(known, head, now),
                now - known.seen_at,
                {outcome: known.counts.get(outcome, 0) for outcome in OUTCOMES},
            )

    def _waited(self, known: _Known, head: int, now: float) -> float:
        if known.waits_since is not None:
            return now - known.waits_since
        if known.applied >= head:
            return 0.0
        first_missing = bisect_right(self._readings, (known.applied, float("inf")))
        return now - (
            self._readings[first_missing][1] if first_missing < len(self._readings) else self._begun
        )
