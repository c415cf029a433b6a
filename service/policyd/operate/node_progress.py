"""How far nodes are: read again and again, through outages too, and held against a revision that somebody waits for."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from policyd.errors import DatabaseUnavailable, PolicydError
from policyd.policy.node import NodeState
from policyd.policy.position import Position
from policyd.store.changes import read_revision
from policyd.store.pool import Connection

T = TypeVar("T")
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]
NEWEST: Final = "last"
_LONGEST = 18


class RevisionUnreadable(PolicydError):
    """What is written is neither a number nor a position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Who has applied a revision, and who has not."""

    there: tuple[NodeState, ...]
    missing: tuple[NodeState, ...]
    unheard: tuple[str, ...]
    """Names that were given, and never reported."""
    left_out: tuple[NodeState, ...]
    """Nodes that nobody waits for, because they have been silent for long, and that do not have it."""

    @property
    def is_complete(self) -> bool:
        """Whether everybody who is waited for has it."""
        return not self.missing and not self.unheard

    @property
    def is_nobody(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.is_complete and not self.there


async def readings(
    connect: Connect, read: Callable[[Connection], Awaitable[T]], *, every: float
) -> AsyncGenerator[T | DatabaseUnavailable, None]:
    """What *read* gives, again and again until the iterator is closed; an outage is told, and ridden out."""
    while True:
        try:
            async with connect() as connection:
                while True:
                    yield await read(connection)
                    await asyncio.sleep(every)
        except DatabaseUnavailable as error:
            yield error
            await asyncio.sleep(every)


async def find_revision(connection: Connection, written: str | None) -> Position:
    """The position of the revision that is written as number or position, or of the newest; PolicydError if there is none."""
    number, stamp = _parse(written)
    found = await read_revision(connection, number)
    if found is None or (stamp is not None and found.stamp != stamp):
        newest = await read_revision(connection, None)
        what = f"the log's newest one is {newest}"
        if found is None:
            raise PolicydError(
                f"there is no revision {written}: {what}",
                hint="policyd history shows those that there are; was it rolled back?",
            )
        raise PolicydError(
            f"revision {written} is of another history: here {number} is {found}, and {what}",
            hint="was the database restored, or failed over, since?",
        )
    return found


def progress(states: Sequence[NodeState], revision: Position, names: Collection[str]) -> Progress:
    """Who has applied *revision*: of the nodes called *names*, or without any, of those that are live."""
    wanted = [state for state in states if (state.node_id in names if names else state.live)]
    return Progress(
        there=tuple(state for state in wanted if state.has(revision.number)),
        missing=tuple(state for state in wanted if not state.has(revision.number)),
        unheard=tuple(sorted(set(names) - {state.node_id for state in states})),
        left_out=()
        if names
        else tuple(state for state in states if not state.live and not state.has(revision.number)),
    )


def _parse(written: str | None) -> tuple[int | None, str | None]:
    if written is None or written == NEWEST:
        return None, None
    if written.isascii() and written.isdecimal() and len(written) <= _LONGEST:
        return int(written), None
    try:
        position = Position.parse(written)
    except ValueError:
        raise RevisionUnreadable(
            f"{written[:40]!r} is no revision",
            hint="write its number, its position, or last: 105, 105-3f9a12bc",
        ) from None
    return position.number, position.stamp
