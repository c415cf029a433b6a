"""The change log loses what is older than it is to be kept: a little at a time, by one replica at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from policyd.errors import BackendUnavailable
from policyd.observe.events import HistoryPruned, Observer
from policyd.pauses import jittered
from policyd.store.retention import Pruned

_EVERY: Final = 3600.0
_BATCH: Final = 2_000
"""Rows that go in one statement: nobody notices so few."""
_PAUSE: Final = 0.1


async def prune_history(
    prune_some: Callable[[float, int], Awaitable[Pruned | None]], keep: float | None, observe: Observer
) -> None:
    """Prune what is older than *keep* seconds, every hour until cancelled; nothing at all where that is None."""
    if keep is None:
        return
    while True:
        rows, revision = 0, 0
        try:
            while some := await prune_some(keep, _BATCH):
                rows, revision = rows + some.rows, some.revision
                if some.rows < _BATCH:
                    break
                await asyncio.sleep(_PAUSE)
        except BackendUnavailable:
            pass  # the feed says so; what is left goes in an hour
        if rows:
            observe(HistoryPruned(rows=rows, revision=revision))
        await asyncio.sleep(jittered(_EVERY, 0.8, 1.2))
