"""
What was the truth, and when: every state of policy that was ever about to be committed, by its position.

A restored database continues from an older state, so states make a tree. Times are CLOCK_MONOTONIC, which all processes of
a machine share.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from policyd.policy.position import Position
from policyd.policy.tags import kind_of

Documents: TypeAlias = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class State:
    """What policy said after a revision."""

    position: Position
    parent: "State | None"
    documents: Documents
    parts: Mapping[str, Documents]
    """The documents by kind: the very object that the parent has, where nothing of a kind has changed."""
    begun_at: float
    """Nobody can have seen it before."""
    committed_at: float | None = None
    """When its writer was told that it is committed; None: it may not be."""

    def is_from(self, ancestor: "State") -> bool:
        """Whether it came from *ancestor*, or is it."""
        state: State | None = self
        while state is not None and state.position.number > ancestor.position.number:
            state = state.parent
        return state is ancestor

    def since(self, number: int) -> Iterator["State"]:
        """It, and those that it came from, down to revision *number*; one at least."""
        state: State | None = self
        while state is not None:
            yield state
            if state.position.number <= number:
                return
            state = state.parent


@dataclass(frozen=True, slots=True)
class Floor:
    """A state, and since when its history has been the database's."""

    state: State
    since: float

    def bears(self, other: State) -> bool:
        """Whether *other* is that state, or came from it in that history: a lost one may have come from it too."""
        return other is self.state or (other.begun_at >= self.since and other.is_from(self.state))


@dataclass(slots=True)
class History:
    """Every state by position, and which of them was the newest when."""

    states: dict[str, State] = field(default_factory=dict)
    numbers: dict[int, list[State]] = field(default_factory=dict)
    last_reset: float = 0.0
    _heads: list[tuple[float, int, State, bool]] = field(default_factory=list)

    def add(self, position: str, parent: str | None, documents: Documents, begun_at: float) -> State:
        """A state that is about to be committed."""
        known = self.states.get(position)
        if known is not None:
            return known
        before = None if parent is None else self.states[parent]
        parts = _parts(documents, {} if before is None else before.parts)
        state = State(Position.parse(position), before, documents, parts, begun_at)
        self.states[position] = state
        self.numbers.setdefault(state.position.number, []).append(state)
        return state

    def commit(self, position: str, at: float) -> State:
        """It is committed, as its writer was told *at* this time."""
        state = self.states[position]
        if state.committed_at is None:
            state.committed_at = at
            self._head(at, state, is_reset=False)
        return state

    @property
    def last_commit(self) -> float:
        """When the last commit was known to be one."""
        return self._heads[-1][0] if self._heads else 0.0

    def others(self, revisions: Sequence[str], at: float) -> None:
        """Somebody else committed these after the first one, of what concerns nobody here."""
        for before, position in pairwise(revisions):
            parent = self.states[before]
            self.add(position, before, parent.documents, max(parent.begun_at, self.last_reset))
            self.commit(position, at)

    def found(self, revisions: Sequence[str], documents: Documents, at: float) -> str | None:
        """
        The log, newest first, and what policy is, as somebody reads it; what is wrong with it, if anything is.

        What was perhaps committed, and was never said to be, is committed if it is there.
        """
        place = next((place for place, each in enumerate(revisions) if each in self.states), None)
        if place is None:
            self.add(revisions[0], None, documents, 0.0)
            self.commit(revisions[0], at)
            return None
        doubtful = [
            each
            for each in revisions[place:]
            if each in self.states and self.states[each].committed_at is None
        ]
        for position in reversed(doubtful):
            self.commit(position, at)
        self.others(list(reversed(revisions[: place + 1])), at)
        wrong = difference(_ours(self.states[revisions[0]].documents), _ours(documents))
        return f"at {revisions[0]} the rows are not what was committed: {wrong}" if wrong else None

    def reset(self, position: str, at: float) -> None:
        """The database is an older state again, since *at* this time."""
        self._head(at, self.states[position], is_reset=True)
        self.last_reset = at

    def head(self, at: float) -> State | None:
        """The newest state that was known to be committed at that time, in the history of that time."""
        place = bisect_right(self._heads, at, key=lambda head: head[0])
        return self._heads[place - 1][2] if place else None

    def floors(self, begin: float, end: float) -> list[Floor]:
        """
        Of which an answer that is current has to come, if it knew all that was committed at *begin*.

        Several, where the database became another one between *begin* and *end*; none, where nothing is known of the beginning.
        """
        place = bisect_right(self._heads, begin, key=lambda head: head[0])
        if not place:
            return []
        resets = [
            Floor(state, at) for at, _, state, is_reset in self._heads[place:] if is_reset and at <= end
        ]
        return [Floor(self._heads[place - 1][2], self._since(begin)), *resets]

    def ended(self, state: State) -> float | None:
        """When something else became true than *state*; None: it is the newest."""
        place = bisect_right(self._heads, state.committed_at or state.begun_at, key=lambda head: head[0])
        return self._heads[place][0] if place < len(self._heads) else None

    def newest(self, at: float) -> State:
        """The newest state that may have been committed at that time, in the history of that time."""
        head = self.head(at)
        assert head is not None
        later, since = self.numbers.get(head.position.number + 1, ()), self._since(at)
        return next((each for each in later if since <= each.begun_at <= at and each.is_from(head)), head)

    def replaced(self, begin: float, end: float) -> list[State]:
        """The newest states of the histories that were replaced between *begin* and *end*."""
        return [
            self._heads[place - 1][2]
            for place, (at, _, _, is_reset) in enumerate(self._heads)
            if is_reset and place and begin <= at <= end
        ]

    def once(self, number: int, at: float) -> Iterator[State]:
        """The states of any history from revision *number* on that were committed by that time, the newest first."""
        for state in reversed(self.states.values()):
            if state.position.number >= number and state.committed_at is not None and state.begun_at <= at:
                yield state

    def doubtful(self, number: int, at: float) -> bool:
        """Whether it is not known of one of them yet whether it was committed: only of the last one that was begun."""
        last = next(reversed(self.states.values()))
        return last.committed_at is None and number <= last.position.number and last.begun_at <= at

    def committed(self) -> list[State]:
        """What has to be in the log now: the newest state known to be committed, and all that it came from."""
        newest = self._heads[-1][2]
        return list(newest.since(-1))

    def _since(self, at: float) -> float:
        """Since when the history of that time has been the database's."""
        return max((reset for reset, _, _, is_reset in self._heads if is_reset and reset <= at), default=0.0)

    def _head(self, at: float, state: State, *, is_reset: bool) -> None:
        insort(self._heads, (at, len(self._heads), state, is_reset), key=lambda head: head[:2])


def _parts(documents: Documents, before: Mapping[str, Documents]) -> Mapping[str, Documents]:
    parts: dict[str, dict[str, Any]] = {}
    for tag, body in documents.items():
        parts.setdefault(kind_of(tag), {})[tag] = body
    return {kind: before[kind] if before.get(kind) == part else part for kind, part in parts.items()}


def _ours(documents: Documents) -> Documents:
    """What only the editor changes."""
    return {tag: body for tag, body in documents.items() if not tag.startswith("dkim")}


def applied(documents: Documents, changed: Mapping[str, Any]) -> Documents:
    """The documents after a change: what is None is gone."""
    after = {**documents, **changed}
    return {tag: body for tag, body in after.items() if body is not None}


def difference(before: Documents, after: Documents) -> dict[str, Any]:
    """What has to be applied to *before* to get *after*."""
    changed: dict[str, Any] = {tag: body for tag, body in after.items() if before.get(tag) != body}
    return changed | dict.fromkeys(gone(before, after))


def gone(before: Documents, after: Documents) -> Iterable[str]:
    """The documents that there are no more."""
    return (tag for tag in before if tag not in after)
