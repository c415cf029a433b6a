"""
The driver of one generator, as a state machine without I/O.

Whoever has documents (a batch of many, or one connection) reads `wanted`, fetches it in one statement, and calls
`show` with the position of that statement's snapshot, until it returns the answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from policyd.policy.asking import Ask, Json, Resolution, Resolver, Seen
from policyd.policy.position import Position

Documents: TypeAlias = Mapping[str, Mapping[str, Json]]
"""The documents that exist among those asked for, by tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A finished resolution, the tags that it was made from, and the position of the one snapshot that it saw."""

    resolution: Resolution
    tags: tuple[str, ...]
    present: frozenset[str]
    """Those of the tags whose documents exist."""
    position: Position


class Resolving:
    """
    One generator on its way to an answer that was read from a single position.

    When a later round of documents comes from another position than an earlier one, the generator starts again, and
    everything that any attempt asked for is wanted at once: each further change can only cost one more statement.
    """

    __slots__ = ("_asked", "_documents", "_position", "_resolver", "_seen", "_start", "_waiting", "wanted")

    def __init__(self, start: Callable[[], Resolver]) -> None:
        self._start = start
        self._position: Position | None = None
        self._documents: dict[str, Mapping[str, Json] | None] = {}
        self._resolver, self._waiting = self._begin()
        self.wanted: tuple[str, ...] = self._waiting.tags
        self._asked = dict.fromkeys(self.wanted)

    def show(self, position: Position, documents: Documents) -> Resolved | None:
        """Take the documents of `wanted` as of *position*; the answer, or None when more is `wanted`."""
        restarted = self._position is not None and position != self._position
        if restarted:
            self._documents = {}
            self._resolver, self._waiting = self._begin()
        self._position = position
        self._documents |= {tag: documents.get(tag) for tag in self.wanted}
        while not (missing := [tag for tag in self._waiting.tags if tag not in self._documents]):
            try:
                self._waiting = self._resolver.send(self._see(self._waiting))
            except StopIteration as finished:
                return Resolved(
                    resolution=finished.value,
                    tags=tuple(self._seen),
                    present=frozenset([tag for tag, document in self._seen.items() if document is not None]),
                    position=position,
                )
        self._asked.update(dict.fromkeys(self._waiting.tags))
        self.wanted = tuple(self._asked if restarted else missing)
        return None

    def _begin(self) -> tuple[Resolver, Ask]:
        self._seen: dict[str, Mapping[str, Json] | None] = {}
        resolver = self._start()
        try:
            return resolver, next(resolver)
        except StopIteration:
            raise RuntimeError("a resolver asks for at least one document") from None

    def _see(self, asked: Ask) -> Seen:
        documents = {tag: self._documents[tag] for tag in asked.all_of}
        hit = None
        for tag in asked.first_of:
            documents[tag] = self._documents[tag]
            if documents[tag] is not None:
                hit = tag
                break
        self._seen |= documents
        return Seen(documents, hit)


async def resolve_with(
    start: Callable[[], Resolver], fetch: Callable[[Iterable[str]], Awaitable[tuple[Position, Documents]]]
) -> Resolved:
    """Drive one generator to its answer with a *fetch* that reads position and documents in one snapshot."""
    resolving = Resolving(start)
    while True:
        resolved = resolving.show(*await fetch(resolving.wanted))
        if resolved is not None:
            return resolved
