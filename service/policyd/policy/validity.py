"""
The one rule: when an answer may be used, given what its holder knows has changed.

An answer labelled P is valid while no tag of it changed after P, no floor of its tags' kinds is later than P, the
holder's window reaches back to P, and its own `valid_until` has not passed. The tags of an answer include the
documents that were looked for and *not* there, so a new row invalidates exactly the answers that it changes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from policyd.policy.position import Position
from policyd.policy.tags import kind_of


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """
    What one reading of the log says happened after the reader's position, up to *head*.

    *tags* maps a tag to its last revision and whether its document exists at *head*; *floors* maps a kind to the
    revision before which everything of it is stale. *reset* says that the reader's position is not in this log:
    another history, so that nothing held may be vouched for.
    """

    head: Position
    tags: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    floors: Mapping[str, int] = field(default_factory=dict)
    reset: bool = False


class KnownChanges:
    """
    What a holder has learned, up to its position, in a window of at most *limit* tags.

    `begins` is where the window begins: the holder knows of every change after that revision, so that an answer
    labelled earlier cannot be judged and is not valid.
    """

    __slots__ = ("begins", "exists", "floors", "limit", "position", "tags")

    def __init__(self, position: Position, *, limit: int) -> None:
        self.limit = limit
        self.reset(position)

    def reset(self, position: Position) -> None:
        """Forget everything: this is another history, or the first reading of one."""
        self.position = position
        self.begins = position.number
        self.tags: dict[str, int] = {}  # in revision order, the latest last
        self.exists: dict[str, bool] = {}
        self.floors: dict[str, int] = {}

    def learn(self, news: News) -> None:
        """Take in what a reading from this holder's position brought."""
        if news.reset:
            self.reset(news.head)
            return
        for name, (revision, exists) in sorted(news.tags.items(), key=lambda change: change[1][0]):
            self.tags.pop(name, None)
            self.tags[name] = revision
            self.exists[name] = exists
        for kind, revision in news.floors.items():
            self.floors[kind] = max(revision, self.floors.get(kind, 0))
        if news.floors:
            self._forget_what_floors_cover()
        self.position = news.head
        self._forget_the_oldest()

    def since(self, number: int) -> Iterator[tuple[str, int, bool]]:
        """The tags that changed after revision *number*, the latest first; complete while `begins` <= *number*."""
        for name in reversed(self.tags):
            revision = self.tags[name]
            if revision <= number:
                return
            yield name, revision, self.exists[name]

    def _forget_what_floors_cover(self) -> None:
        # A floor says more than they do, and what it stands for may have changed whether they exist.
        for name in [
            name for name, revision in self.tags.items() if revision <= self.floors.get(kind_of(name), 0)
        ]:
            del self.tags[name], self.exists[name]

    def _forget_the_oldest(self) -> None:
        surplus = len(self.tags) - self.limit
        if surplus <= 0:
            return
        for name in [name for name, _ in zip(self.tags, range(surplus), strict=False)]:
            self.begins = max(self.begins, self.tags.pop(name))
            del self.exists[name]


def is_valid(
    label: int,
    tags: Sequence[str],
    known: KnownChanges,
    *,
    valid_until: float | None = None,
    now: float = 0.0,
) -> bool:
    """Whether an answer labelled *label*, a revision number of the holder's own history, may be used at *now*."""
    if valid_until is not None and now >= valid_until:
        return False
    if label >= known.position.number:
        return True
    if label < known.begins:
        return False
    changed = known.tags
    for name in tags:
        if changed.get(name, 0) > label:
            return False
    floors = known.floors
    return not floors or all(floors.get(kind_of(name), 0) <= label for name in tags)
