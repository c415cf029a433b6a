"""
Whether an answer is right: a function of the answer, of who gave it when, and of what was the truth when.

A service's answer is labelled with a position, and has to be the truth of that very position. A node's has to be the truth
of what it knew when it answered, or of what it was just told. Who claims to be current has to know all that was committed
before `current_since`.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.chaos.history import History, State
from tests.chaos.questions import Answer, Question, answer_at, concerned, reduced

Outcome: TypeAlias = Literal["right", "mixed", "stale", "old", "unavailable", "wrong", "undecided"]
"""
Stale: marked as such. Old: not true any more, from a node that is out of touch and does not say so. Mixed: of two moments that
are both as new as they have to be, because a node learns of a name and of a row at different ones.
"""
_MOST_REMEMBERED = 200_000
_IN_MEMORY = 10.0
"""Seconds."""
_UNHEARD = 9.0
"""
Seconds for which a replica vouches for a history that has been replaced, of which it has not heard; and then, until a node, whose
position is of both histories, has asked whether what it was answered is still of its own.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer as somebody was given it."""

    who: str
    question: Question
    asked_at: float
    told_at: float
    answer: Answer
    is_unknown: bool = False
    is_stale: bool = False
    """It says itself that nobody can tell whether it still holds."""
    label: str | None = None
    """A service's: up to which position it is valid."""
    number: int = 0
    """A node's: the same without a stamp."""
    knew: tuple[str | None, str | None] = (None, None)
    """A node's: what it had applied before, and after."""
    asked_from: str | None = None
    """A service's: the position that the asker had reached, and that nothing older may be answered to."""
    current_since: float | None = None
    """Whoever says nothing else knows everything that was committed before; None: nobody claims that."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth."""

    outcome: Outcome
    why: str = ""


@dataclass(slots=True)
class Judge:
    """Judges answers by one history."""

    history: History
    oldest: float = 0.0
    """Seconds for which the oldest stale or old answer had not been true any more."""
    _known: dict[tuple[str, tuple[int, ...]], Answer] = field(default_factory=dict)

    def judge(self, told: Told) -> Verdict:
        """What *told* is worth; undecided while it is not known whether its position was committed."""
        if told.is_unknown:
            return Verdict("unavailable")
        return self._judge_service(told) if told.label is not None else self._judge_node(told)

    def _judge_service(self, told: Told) -> Verdict:
        state = self.history.states.get(told.label or "")
        if state is None or state.committed_at is None:
            return Verdict("undecided", f"nobody knows of a commit of {told.label}")
        if state.begun_at > told.told_at:
            return Verdict("wrong", f"it is labelled {told.label}, which was committed later")
        if not self._is_true(told, state):
            return Verdict("wrong", f"it was not true at its label {told.label}")
        reached = self.history.states.get(told.asked_from or "")
        if reached is not None and not state.is_from(reached):
            return Verdict("wrong", f"it is of {told.label}, and was asked for from {told.asked_from}")
        if told.is_stale:
            return self._aged("stale", told, state)
        return self._judge_currency(told, state) or Verdict("right")

    def _judge_node(self, told: Told) -> Verdict:
        before, after = (None if known is None else self.history.states.get(known) for known in told.knew)
        if (before is None) != (told.knew[0] is None) or (after is None) != (told.knew[1] is None):
            return Verdict("undecided", f"nobody knows of a commit of {' or '.join(map(str, told.knew))}")
        true = next(
            (state for state in self._possible(told, before, after) if self._is_true(told, state)), None
        )
        if true is None and self._is_mixed(told, before, after):
            return Verdict("mixed")
        if true is None and self.history.doubtful(told.number, told.told_at):
            return Verdict("undecided", f"it may be of a commit after {told.number} that nobody knows of")
        if true is None:
            newest = next(self._possible(told, before, after), None)
            shown = None if newest is None else self._answer(told, newest)
            return Verdict(
                "wrong",
                f"it was true at no moment from {told.number} on, known {told.knew}; now it is {shown}",
            )
        if told.is_stale:
            return self._aged("stale", told, true)
        late = None if before is None else self._judge_currency(told, before)
        if late is not None:
            return late
        head = self.history.head(told.asked_at)
        is_new = told.current_since is not None or head is None or self._is_true(told, head)
        return Verdict("right") if is_new else self._aged("old", told, true)

    def _possible(self, told: Told, before: State | None, after: State | None) -> Iterator[State]:
        """
        The states of which a node's answer may be the truth, each that makes a difference: what it had applied, or what it was
        told just then. Of one that it marks, what it knew once, in whichever history.
        """
        if told.is_stale or before is None or after is None:
            states: Iterable[State] = self.history.once(told.number, told.told_at)
        else:
            states = self._current(told, before, after)
        seen = set()
        for state in states:
            difference = tuple(map(id, concerned(told.question, state)))
            if difference not in seen:
                seen.add(difference)
                yield state

    def _current(self, told: Told, before: State, after: State) -> Iterator[State]:
        roots = (before, after)
        newest = [
            self.history.newest(told.told_at),
            *self.history.replaced(told.asked_at - _UNHEARD, told.told_at),
        ]
        yield from after.since(before.position.number)
        yield before
        states = itertools.chain.from_iterable(each.since(before.position.number) for each in newest)
        for state in (*states, *self.history.numbers.get(told.number, ())):
            if state.begun_at <= told.told_at and any(state.is_from(root) for root in roots):
                yield state

    def _is_mixed(self, told: Told, before: State | None, after: State | None) -> bool:
        """Whether it is the truth of the rows of one moment, as far as they, and campaigns, are there at another: see the name index."""
        if before is None or after is None:
            return False
        latest = [*after.since(before.position.number), before, *self._just_before(before, told.asked_at)]
        return any(
            told.answer
            in (answer_at(told.question, rows, names=names), answer_at(reduced(told.question, names), rows))
            for names in latest
            for rows in self._possible(told, before, after)
        )

    def _just_before(self, state: State, at: float) -> Iterator[State]:
        """What a node may still have in memory, and asks anew after two seconds."""
        for older in state.since(0):
            if (older.committed_at or older.begun_at) < at - _IN_MEMORY:
                return
            yield older

    def _judge_currency(self, told: Told, state: State) -> Verdict | None:
        if told.current_since is None:
            return None
        floors = self.history.floors(told.current_since, told.told_at)
        if not floors or any(floor.bears(state) for floor in floors):
            return None
        known = " or ".join(str(floor.state.position) for floor in floors)
        ago = told.asked_at - told.current_since
        return Verdict(
            "wrong", f"it is of {state.position}, unmarked, and {known} was committed {ago:.1f} s before"
        )

    def _is_true(self, told: Told, state: State) -> bool:
        return bool(self._answer(told, state) == told.answer)

    def _answer(self, told: Told, state: State) -> Answer:
        key = told.question.lookup.path, tuple(map(id, concerned(told.question, state)))
        if key not in self._known:
            if len(self._known) > _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = answer_at(told.question, state)
        return self._known[key]

    def _aged(self, outcome: Outcome, told: Told, state: State) -> Verdict:
        ended = self.history.ended(state)
        if ended is not None and told.asked_at - ended > self.oldest:
            self.oldest = max(self.oldest, told.asked_at - self._true_until(told, state))
        return Verdict(outcome)

    def _true_until(self, told: Told, state: State) -> float:
        """When the answer, which was true at *state*, became untrue."""
        head = self.history.head(told.asked_at)
        later = [] if head is None else list(head.since(state.position.number))
        if not later or later[-1] is not state:
            return self.history.ended(state) or told.asked_at
        untrue = (each for each in reversed(later) if not self._is_true(told, each))
        return next((each.committed_at or told.asked_at for each in untrue), told.asked_at)
