"""
The paced re-check: every key that has been seen is looked at again, so that one replaced outside policyd is noticed.

Each key root has a round of its own: a root that does not answer keeps nobody else's keys waiting, and is asked with
growing pauses, never in a tight loop.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from policyd.config import DkimConfig
from policyd.errors import BackendUnavailable
from policyd.live.keyring import Keyring
from policyd.observe.events import BackendFailed, Observer
from policyd.pauses import jittered
from policyd.policy.dkim import Place

Count: TypeAlias = Callable[[str], Awaitable[int]]
"""How many keys of a root have been seen. Raises DatabaseUnavailable."""
Page: TypeAlias = Callable[[str, str, int], Awaitable[list[tuple[str, str]]]]
"""Names and key_ids of a root's keys, after a name, at most so many. Raises DatabaseUnavailable."""

_PAGE: Final = 500
_AT_ONCE: Final = 4
"""Keys of one root that are looked at at the same time."""
_SHARE: Final = 0.9
"""Part of the interval in which a round is to be done."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_MOST_DOUBTED: Final = 1_000
_PAUSE_AFTER_DOUBTS: Final = 1.0


class Recheck:
    """Looks at known keys: all of them in turn, and those that an answer could not use before their turn."""

    def __init__(
        self, keyring: Keyring, *, count: Count, page: Page, config: DkimConfig, observe: Observer
    ) -> None:
        self._keyring = keyring
        self._count = count
        self._page = page
        self._config = config
        self._observe = observe
        self._doubted: dict[Place, None] = {}
        self._doubt_arrived = asyncio.Event()

    def doubt(self, tags: Iterable[str]) -> None:
        """Look at these keys soon."""
        for tag in tags:
            if len(self._doubted) < _MOST_DOUBTED:
                self._doubted[Place.of(tag)] = None
        self._doubt_arrived.set()

    async def run(self, roots: Iterable[str]) -> None:
        """Look at the keys of *roots* until cancelled."""
        async with asyncio.TaskGroup() as group:
            for root in roots:
                group.create_task(self._go_round(root))
            group.create_task(self._settle_doubts())

    async def _go_round(self, root: str) -> None:
        loop = asyncio.get_running_loop()
        slots = asyncio.Semaphore(_AT_ONCE)
        while True:
            began = loop.time()
            async with asyncio.TaskGroup() as looking:
                async for place, known, due in self._places(root):
                    # Spread over the interval; jitter, so that replicas do not ask at the same moments for ever.
                    await asyncio.sleep(max(0.0, began + jittered(due, least=0.95) - loop.time()))
                    await slots.acquire()
                    looking.create_task(self._insist(place, known, slots))
            await asyncio.sleep(max(_FIRST_PAUSE, began + self._config.recheck - loop.time()))

    async def _places(self, root: str) -> AsyncIterator[tuple[Place, str, float]]:
        """Every key of a root that is known, and when in the round it is due; a round that PostgreSQL ends is over."""
        try:
            gap = _SHARE * self._config.recheck / max(await self._count(root), 1)
            after, due = "", 0.0
            while page := await self._page(root, after, _PAGE):
                for name, known in page:
                    yield Place(root=root, name=name), known, due
                    due += gap
                after = page[-1][0]
        except BackendUnavailable:
            return

    async def _insist(self, place: Place, known: str, slots: asyncio.Semaphore) -> None:
        """Look at a key until it can be said what is there; a backend that does not answer is asked ever less often."""
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    return await self._keyring.look_at(place, known)
                except BackendUnavailable as error:
                    if error.trouble is not None:
                        self._observe(
                            BackendFailed(backend=error.backend, trouble=error.trouble, reason=str(error))
                        )
                    await asyncio.sleep(jittered(pause))
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            slots.release()

    async def _settle_doubts(self) -> None:
        while True:
            await self._doubt_arrived.wait()
            self._doubt_arrived.clear()
            doubted, self._doubted = self._doubted, {}
            for place in doubted:
                with contextlib.suppress(BackendUnavailable):  # its turn comes
                    await self._keyring.look_again_at(place)
            await asyncio.sleep(_PAUSE_AFTER_DOUBTS)
