"""Many who wait for the same thing, let through a few at a time."""

import asyncio
from typing import Final

_AT_A_TIME: Final = 100
"""Two thousand long-polls that are answered in one go keep everybody else waiting for a tenth of a second."""


class Turnstile:
    """Lets through all who wait, each time that it turns; whoever comes later waits for the next time."""

    def __init__(self) -> None:
        # A dictionary, because who gives up leaves from the middle, and an hour may pass between two turns.
        self._waiting: dict[asyncio.Future[None], None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self) -> None:
        """Wait until it turns."""
        waiting, future = self._waiting, asyncio.get_running_loop().create_future()
        waiting[future] = None
        try:
            await future
        finally:
            waiting.pop(future, None)

    def turn(self) -> None:
        """Let through all who wait now."""
        waiting, self._waiting = self._waiting, {}
        self._let_through(list(waiting))

    def _let_through(self, waiting: list[asyncio.Future[None]]) -> None:
        for future in waiting[:_AT_A_TIME]:
            if not future.done():
                future.set_result(None)
        if len(waiting) > _AT_A_TIME:
            asyncio.get_running_loop().call_soon(self._let_through, waiting[_AT_A_TIME:])
