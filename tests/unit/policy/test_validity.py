"""The one rule, held against a model that knows the whole history."""

import random
from dataclasses import dataclass, field

import pytest

from policyd.policy.asking import Layer, Resolution, Resolver, ask
from policyd.policy.position import Position
from policyd.policy.resolving import Resolved, Resolving
from policyd.policy.validity import KnownChanges, News, is_valid

KINDS = ("a", "b", "c")
TAGS = tuple(f"{kind}/{name}" for kind in KINDS for name in "1234")


@dataclass
class History:
    """A database in miniature: every revision's documents, and a log that says what changed."""

    random: random.Random
    stamps: list[str] = field(default_factory=list)
    states: list[dict[str, dict[str, int]]] = field(default_factory=list)
    changed: list[set[str]] = field(default_factory=list)
    floors: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._commit({}, set(), set())

    def _commit(self, state: dict[str, dict[str, int]], changed: set[str], floors: set[str]) -> None:
        self.stamps.append(f"{self.random.getrandbits(32):08x}")
        self.states.append(state)
        self.changed.append(changed)
        self.floors.append(floors)

    @property
    def head(self) -> Position:
        return Position(len(self.states) - 1, self.stamps[-1])

    def commit_something(self) -> None:
        state = dict(self.states[-1])
        tags = set(self.random.sample(TAGS, self.random.choice((1, 1, 1, 2, 5))))
        for tag in tags:
            if self.random.random() < 0.4:
                state.pop(tag, None)
            else:
                state[tag] = {"value": len(self.states)}
        if self.random.random() < 0.15:  # a bulk change is told as floors
            self._commit(state, set(), {tag[0] for tag in tags})
        else:
            self._commit(state, tags, set())

    def replace_by_an_older_copy(self) -> None:
        keep = self.random.randint(1, len(self.states))
        for log in (self.stamps, self.states, self.changed, self.floors):
            del log[keep:]
        for _ in range(self.random.randint(0, 4)):
            self.commit_something()

    def news_for(self, position: Position) -> News:
        known = position.number < len(self.stamps) and self.stamps[position.number] == position.stamp
        if not known:
            return News(head=self.head, reset=True)
        tags: dict[str, tuple[int, bool]] = {}
        floors: dict[str, int] = {}
        for number in range(position.number + 1, len(self.states)):
            tags |= {tag: (number, tag in self.states[-1]) for tag in self.changed[number]}
            floors |= dict.fromkeys(self.floors[number], number)
        return News(head=self.head, tags=tags, floors=floors)


def random_resolver(seed: int) -> Resolver:
    """A resolver that asks for what it sees fit, depending on what it saw: the hardest kind to be complete for."""
    choose = random.Random(seed)
    layers = []
    for _ in range(choose.randint(1, 3)):
        wanted = choose.sample(TAGS, choose.randint(0, 2))
        chain = choose.sample(TAGS, choose.randint(0, 4))
        if not wanted and not chain:
            wanted = [TAGS[0]]
        seen = yield ask(*wanted, first_of=chain)
        layers += [Layer(tag, {(tag,): dict(row)}) for tag, row in seen.documents.items() if row is not None]
        if seen.hit is not None:
            choose = random.Random(seed + (seen[seen.hit] or {})["value"])
    return Resolution(layers=tuple(layers))


def answer_at(history: History, number: int, seed: int) -> Resolved:
    resolving = Resolving(lambda: random_resolver(seed))
    while True:
        position = Position(number, history.stamps[number])
        resolved = resolving.show(position, history.states[number])
        if resolved is not None:
            return resolved


@pytest.mark.parametrize("batch", range(10))
def test_an_answer_that_the_rule_calls_valid_equals_a_fresh_one(batch: int) -> None:
    """Ten thousand histories with bulk changes, bounded windows, restores and lagging holders."""
    used = 0
    for seed in range(batch * 1000, batch * 1000 + 1000):
        used += _live_through(random.Random(seed), seed)
    assert used > 2000, "the model hardly ever found a cached answer valid: it shows nothing"


def _live_through(choose: random.Random, seed: int) -> int:
    history = History(choose)
    known = KnownChanges(history.head, limit=choose.choice((2, 6, 1000)))
    held: dict[int, tuple[int, Resolved]] = {}
    used = 0
    for _ in range(25):
        match choose.choice(
            ("commit", "commit", "learn", "ask", "ask", "ask", "restore" if seed % 3 == 0 else "ask")
        ):
            case "commit":
                history.commit_something()
            case "restore":
                history.replace_by_an_older_copy()
            case "learn":
                news = history.news_for(known.position)
                if news.reset:
                    held.clear()
                known.learn(news)
            case _:
                used += _use_or_fetch(history, known, held, choose.randrange(6))
    return used


def _use_or_fetch(
    history: History, known: KnownChanges, held: dict[int, tuple[int, Resolved]], seed: int
) -> int:
    number = known.position.number
    if number >= len(history.stamps) or history.stamps[number] != known.position.stamp:
        return 0  # the holder lives in a history that is gone, and has yet to be told
    fresh = answer_at(history, number, seed)
    if seed in held:
        label, resolved = held[seed]
        if is_valid(label, resolved.tags, known):
            assert resolved.resolution == fresh.resolution
            held[seed] = (number, resolved)  # the label is renewed at each successful check
            return 1
    held[seed] = (number, fresh)
    return 0


def test_an_answer_ends_with_its_own_validity() -> None:
    known = KnownChanges(Position(7, "00000000"), limit=10)
    assert is_valid(7, ("a/1",), known, valid_until=100.0, now=99.9)
    assert not is_valid(7, ("a/1",), known, valid_until=100.0, now=100.0)


def test_an_answer_from_before_the_window_is_not_valid() -> None:
    known = KnownChanges(Position(7, "00000000"), limit=10)
    assert not is_valid(6, ("a/1",), known)


def test_a_floor_ends_every_older_answer_of_its_kind_and_no_other() -> None:
    known = KnownChanges(Position(1, "00000000"), limit=10)
    known.learn(News(head=Position(5, "00000005"), floors={"a": 4}))
    assert not is_valid(3, ("b/1", "a/1"), known)
    assert is_valid(3, ("b/1", "c/1"), known)
    assert is_valid(4, ("b/1", "a/1"), known)


def test_what_changed_since_is_told_latest_first() -> None:
    known = KnownChanges(Position(0, "00000000"), limit=10)
    known.learn(
        News(head=Position(3, "00000003"), tags={"a/1": (3, True), "a/2": (1, True), "a/3": (2, False)})
    )
    known.learn(News(head=Position(4, "00000004"), tags={"a/2": (4, False)}))
    assert list(known.since(1)) == [("a/2", 4, False), ("a/1", 3, True), ("a/3", 2, False)]
