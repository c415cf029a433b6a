"""
Other people's positions: whether they are of this history, and what happened since.

A node presents the position that it has applied. It must never be answered with something older, and a node whose
position is not in this database's log has another history (a restore, a failover that lost commits): everything
that it holds is suspect.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from policyd.config import FeedConfig
from policyd.errors import DatabaseUnavailable, NotCaughtUp, OtherHistory
from policyd.live.feed import Feed
from policyd.policy.position import Position
from policyd.policy.tags import kind_of
from policyd.policy.validity import KnownChanges, News
from policyd.store.changes import Reading

_MOST_CONFIRMED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """The log itself, asked only for what this replica's own window does not say."""

    holds: Callable[[Position], Awaitable[bool]]
    read: Callable[[Position], Awaitable[Reading]]


@dataclass(slots=True)
class _Confirmed:
    """Old positions that the database has confirmed, for as long as its history is the same."""

    history: int
    positions: set[Position] = field(default_factory=set)


class History:
    """Judges positions and tells what happened since."""

    def __init__(self, feed: Feed, archive: Archive, config: FeedConfig, *, most_tags: int) -> None:
        self._feed = feed
        self._archive = archive
        self._config = config
        self._most_tags = most_tags
        self._confirmed = _Confirmed(feed.history)

    def position(self) -> Position:
        """The head of the log as it is known here; DatabaseUnavailable before the first reading."""
        return self._known().position

    async def reach(self, position: Position) -> None:
        """
        Make sure that nothing older than *position* is answered from here.

        Raises OtherHistory when the log does not hold it, NotCaughtUp when the log could not be read to see.
        """
        known = self._known()
        if position == known.position or self._feed.is_ours(position):
            return
        if not await self._is_ours(position):
            raise OtherHistory(presented=str(position), head=str(known.position))

    async def follow(self, position: Position) -> None:
        """
        Make sure that what was read from the database at *position* is of the history that is followed here.

        Raises DatabaseUnavailable when it is not, or when the log could not be read that far.
        """
        if not await self._is_ours(position):
            raise DatabaseUnavailable("the database has another history than the one that is followed here")

    async def since(self, position: Position | None, wait: float) -> News:
        """
        What happened after *position*, waiting up to *wait* seconds for something to.

        Raises DatabaseUnavailable while this replica is not current: it could not know.
        """
        known = self._current()
        if position is None or not await self._is_ours(position):
            return News(head=known.position, reset=True)
        if position == known.position and wait > 0:
            await self._feed.moved_from(position, wait)
            known = self._current()
            if not await self._is_ours(position):
                return News(head=known.position, reset=True)
        if position.number < known.begins:
            return (await self._archive.read(position)).news
        return news_since(position.number, known, most_tags=self._most_tags)

    async def _is_ours(self, position: Position) -> bool:
        known = self._known()
        if position.number > known.position.number:
            if not self._feed.current:
                raise NotCaughtUp(seconds=0)
            await self._feed.read_on(self._config.read_on_deadline)
        ours = self._feed.is_ours(position)
        if ours is not None:
            return ours
        if position.number > known.position.number:
            return False
        if self._confirmed.history != self._feed.history or len(self._confirmed.positions) > _MOST_CONFIRMED:
            self._confirmed = _Confirmed(self._feed.history)
        confirmed = self._confirmed
        if position not in confirmed.positions and await self._archive.holds(position):
            confirmed.positions.add(position)
        # What an old history confirmed while it was being replaced is worth nothing.
        return position in confirmed.positions and confirmed.history == self._feed.history

    def _known(self) -> KnownChanges:
        if self._feed.known is None:
            raise DatabaseUnavailable("PostgreSQL has not been reached since this replica started")
        return self._feed.known

    def _current(self) -> KnownChanges:
        if not self._feed.current:
            raise DatabaseUnavailable("this replica is not current: it cannot know what changed")
        return self._known()


def news_since(number: int, known: KnownChanges, *, most_tags: int) -> News:
    """What *known* says of the time after revision *number*, which its window reaches back to."""
    tags = {tag: (revision, exists) for tag, revision, exists in known.since(number)}
    floors = {kind: revision for kind, revision in known.floors.items() if revision > number}
    if len(tags) > most_tags:
        for tag, (revision, _) in tags.items():
            floors[kind_of(tag)] = max(revision, floors.get(kind_of(tag), 0))
        tags = {}
    return News(head=known.position, tags=tags, floors=floors)
