"""
Rows of tokens, read once for all who bring one, and remembered also where there is none.

After a restart every node brings its token on hundreds of connections at once, and a stranger may bring another name with
every request. Neither may keep PostgreSQL, or the nodes, from their work.
"""

import asyncio
from collections import Counter, OrderedDict
from typing import Final

from policyd.errors import DatabaseUnavailable, Overloaded, PolicydError
from policyd.live.feed import Feed
from policyd.live.lookups import Lookups
from policyd.policy import token
from policyd.policy.resolving import Resolved
from policyd.policy.validity import is_valid

_MOST_ROWS: Final = 10_000
_MOST_MISSING: Final = 1_000
"""Names that are no token's: strangers choose those, so they have room of their own."""
_MOST_READ: Final = 256
"""Names that are read at the same time."""
_MOST_READ_FOR_ONE: Final = 32
"""Of these for one peer: whoever guesses names keeps nobody else's token waiting."""


class TokenRows:
    """The tokens, and what is no token, that somebody brought lately."""

    def __init__(self, lookups: Lookups, feed: Feed) -> None:
        self._lookups = lookups
        self._feed = feed
        self._history = feed.history
        self._found: OrderedDict[str, Resolved] = OrderedDict()
        self._missing: OrderedDict[str, Resolved] = OrderedDict()
        self._flights: dict[str, asyncio.Future[Resolved]] = {}
        self._reading_for: Counter[str] = Counter()

    async def row(self, name: str, peer: str) -> Resolved:
        """
        The row of the token *name*, or that there is none, as of now; *peer* is who asks.

        Raises DatabaseUnavailable, and Overloaded when too many names are being read.
        """
        known = self._remembered(name)
        if known is not None:
            return known
        flight = self._flights.get(name)
        if flight is not None:
            return await asyncio.shield(flight)
        if self._reading_for[peer] >= _MOST_READ_FOR_ONE:
            raise Overloaded(bottleneck="tokens", limit=_MOST_READ_FOR_ONE)
        if len(self._flights) >= _MOST_READ:
            raise Overloaded(bottleneck="tokens", limit=_MOST_READ)
        self._reading_for[peer] += 1
        try:
            return await self._read(name)
        finally:
            self._reading_for[peer] -= 1
            if not self._reading_for[peer]:
                del self._reading_for[peer]

    def _remembered(self, name: str) -> Resolved | None:
        if self._history != self._feed.history:
            self._found.clear()
            self._missing.clear()
            self._history = self._feed.history
        known = self._feed.known
        for rows in (self._found, self._missing):
            row = rows.get(name)
            if row is not None and known is not None and is_valid(row.position.number, row.tags, known):
                rows.move_to_end(name)
                return row
        return None

    async def _read(self, name: str) -> Resolved:
        flight: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
        self._flights[name] = flight
        history = self._feed.history
        try:
            row = await self._lookups.resolve_in_time(lambda: token.resolve(name))
        except BaseException as error:
            told = error if isinstance(error, PolicydError) else DatabaseUnavailable("it was given up")
            flight.set_exception(told)
            flight.exception()  # nobody else may be waiting for it
            raise
        finally:
            del self._flights[name]
        flight.set_result(row)
        if history == self._feed.history:
            self._remember(name, row)
        return row

    def _remember(self, name: str, row: Resolved) -> None:
        self._found.pop(name, None)
        self._missing.pop(name, None)
        rows, most = (self._found, _MOST_ROWS) if row.resolution.layers else (self._missing, _MOST_MISSING)
        rows[name] = row
        while len(rows) > most:
            rows.popitem(last=False)
