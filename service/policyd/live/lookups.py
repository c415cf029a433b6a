"""
How a lookup is answered: from the cache while the rule allows it, else once for all who ask.

An answer that was read ahead of the change feed is neither kept nor sent before the feed has reached its position
and matched it; so nobody is ever told something from a history that this replica does not follow.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from policyd.config import Config
from policyd.errors import DatabaseUnavailable, Overloaded, PolicydError
from policyd.live.answers import Answer, AnswerCache, Kept, beginning, render
from policyd.live.batch import Fetches
from policyd.live.feed import Feed
from policyd.live.tally import Tally
from policyd.policy.asking import Resolver
from policyd.policy.explaining import explaining
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.position import Position
from policyd.policy.resolving import Resolved, Resolving
from policyd.policy.validity import KnownChanges, is_valid

_T = TypeVar("_T")

_ROUNDS = 5
"""How often a lookup is begun again because its documents keep changing under it."""
_SHARE = 0.75
"""Part of all places that one kind may take: plans that wait for a Vault that hangs leave room for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An answer as it is sent: its label, how it was come by, and its age when nobody can vouch for it."""

    answer: Answer
    position: Position
    outcome: str
    stale_for: float | None = None


class Lookups:
    """Answers lookups of all kinds from what this replica knows."""

    def __init__(
        self,
        kinds: tuple[Kind, ...],
        *,
        tallies: Mapping[str, Tally],
        cache: AnswerCache,
        batch: Fetches,
        feed: Feed,
        config: Config,
        doubt: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        self._doubt = doubt
        self._kinds = {kind.name: kind for kind in kinds}
        self._cache = cache
        self._batch = batch
        self._feed = feed
        self._config = config
        self._position: Position | None = None
        self._vouched = b""
        self._flights: dict[str, asyncio.Future[Served]] = {}
        self._flights_of: Counter[str] = Counter()
        self._most_of_a_kind = math.ceil(config.lookup.max_pending * _SHARE)
        self.tallies = tallies
        feed.on_replaced = cache.clear

    @property
    def history(self) -> int:
        """Another number whenever the database turned out to have another history."""
        return self._feed.history

    @property
    def pending(self) -> int:
        """How many lookups are being read for."""
        return len(self._flights)

    def vouched_for(self, path: str) -> Kept | None:
        """The answer to the canonical *path*, if it is kept and valid: the whole of a hit, while current."""
        kept, known = self._cache.kept(path), self._feed.known
        if kept is None or known is None:
            return None
        if known.position is not self._position:
            self._position, self._vouched = known.position, beginning(known.position.number)
        if kept.startswith(self._vouched):
            return kept
        answer = self._judge(path, Answer.unpack(kept), known)
        return None if answer is None else answer.pack()

    def ready(self, path: str) -> Served | None:
        """The answer to the canonical *path* if it can be given without waiting."""
        answer, known = self._cache.get(path), self._feed.known
        if answer is None or known is None or self._judge(path, answer, known) is None:
            return None
        if self._feed.current:
            return Served(answer=answer, position=known.position, outcome="hit" if answer.found else "none")
        age = self._feed.age
        if age > self._config.cache.max_stale:
            return None
        return Served(answer=answer, position=known.position, outcome="stale", stale_for=age)

    def _judge(self, path: str, answer: Answer, known: KnownChanges) -> Answer | None:
        """The kept *answer*, with a new label, if the rule allows it."""
        number = known.position.number
        if answer.label == number and answer.valid_until is None:
            return answer
        if not is_valid(answer.label, answer.tags, known, valid_until=answer.valid_until, now=time.time()):
            return None
        if answer.label != number:
            answer.label = number
            self._cache.put(path, answer)
        return answer

    async def answer(self, lookup: Lookup) -> Served:
        """
        The answer to *lookup*, read from PostgreSQL if need be.

        Raises DatabaseUnavailable when it is not known here and cannot be read, and Overloaded.
        """
        began = time.perf_counter()
        outcome = "error"
        try:
            served = self.ready(lookup.path) or await self._fetch(lookup)
            outcome = served.outcome
            return served
        finally:
            self.tallies[lookup.kind].count(outcome, time.perf_counter() - began)

    async def _fetch(self, lookup: Lookup) -> Served:
        if not self._feed.current:
            raise DatabaseUnavailable("this is not known here, and PostgreSQL cannot be asked at the moment")
        flight = self._flights.get(lookup.path)
        if flight is not None:
            return await asyncio.shield(flight)
        full = self.full(lookup.kind, lookup.path)
        if full is not None:
            raise full
        return await self._lead(lookup)

    def full(self, kind: str, path: str) -> Overloaded | None:
        """Why the answer to the canonical *path* of a kind would not be read now, if it is not read already."""
        most = self._config.lookup.max_pending
        if self._flights_of[kind] < self._most_of_a_kind and len(self._flights) < most:
            return None
        if path in self._flights:
            return None
        if len(self._flights) >= most:
            return Overloaded(bottleneck="lookups", limit=most)
        return Overloaded(bottleneck="kind", limit=self._most_of_a_kind)

    async def _lead(self, lookup: Lookup) -> Served:
        """Read the answer for this request and for all that ask the same meanwhile."""
        flight: asyncio.Future[Served] = asyncio.get_running_loop().create_future()
        self._flights[lookup.path] = flight
        self._flights_of[lookup.kind] += 1
        try:
            served = await self._in_time(self._read(lookup))
        except BaseException as error:
            told = (
                error if isinstance(error, PolicydError) else DatabaseUnavailable("reading it was given up")
            )
            flight.set_exception(told)
            flight.exception()  # nobody else may be waiting for it
            raise
        else:
            flight.set_result(served)
            return served
        finally:
            del self._flights[lookup.path]
            self._flights_of[lookup.kind] -= 1

    async def resolve(self, start: Callable[[], Resolver]) -> Resolved:
        """
        One resolution that holds now, labelled with what this replica knows; for what is not cached as bytes.

        Raises DatabaseUnavailable when its documents change faster than they can be read, or are read from a history
        that is not followed here.
        """
        for _ in range(_ROUNDS):
            history = self._feed.history
            resolved = await self._resolve_once(start)
            await self._feed.reach(resolved.position.number, self._config.feed.read_on_deadline)
            known = self._feed.known
            if known is None or history != self._feed.history or not self._feed.is_ours(resolved.position):
                continue
            valid_until = resolved.resolution.valid_until
            label = resolved.position.number
            if is_valid(label, resolved.tags, known, valid_until=valid_until, now=time.time()):
                return (
                    resolved if label == known.position.number else replace(resolved, position=known.position)
                )
        raise DatabaseUnavailable("the documents of this lookup change faster than they can be read")

    async def _resolve_once(self, start: Callable[[], Resolver]) -> Resolved:
        resolving = Resolving(start)
        resolved = None
        while resolved is None:
            resolved = resolving.show(*await self._batch.fetch(resolving.wanted))
        return resolved

    async def explain(self, lookup: Lookup) -> Resolved:
        """How *lookup* is resolved at this moment, read anew; for people, not for kumod."""
        if not self._feed.current:
            raise DatabaseUnavailable(
                "PostgreSQL cannot be asked at the moment, and an old explanation would mislead"
            )
        kind = self._kinds[lookup.kind]
        return await self.resolve_in_time(lambda: explaining(kind, lookup, time.time()))

    async def resolve_in_time(self, start: Callable[[], Resolver]) -> Resolved:
        """`resolve` within the configured deadline; DatabaseUnavailable after it."""
        return await self._in_time(self.resolve(start))

    async def _in_time(self, answer: Awaitable[_T]) -> _T:
        seconds = self._config.lookup.deadline
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise DatabaseUnavailable(
                f"PostgreSQL did not answer within {seconds:g} s", trouble="timeout"
            ) from None

    async def _read(self, lookup: Lookup) -> Served:
        kind = self._kinds[lookup.kind]
        resolved = await self.resolve(lambda: kind.resolve(lookup, time.time()))
        if resolved.resolution.doubted:
            self._doubt(resolved.resolution.doubted)
        answer = render(resolved, kind.file)
        self._cache.put(lookup.path, answer)
        return Served(
            answer=answer,
            position=resolved.position,
            outcome="miss" if answer.found else "none",
            # The feed may have been lost since the reading began.
            stale_for=None if self._feed.current else self._feed.age,
        )
