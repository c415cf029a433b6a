"""
Passwords that wait to be checked: a few threads, a short queue, and every network its turn.

A check takes tens of milliseconds of a core. In one line for all, whoever sends a thousand wrong passwords would be
served a thousand times before the next customer; so networks take turns, and where there is no more room the network
with the most in line loses its last.
"""

import asyncio
import contextlib
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from policyd.errors import Overloaded

_NICENESS: Final = 10

IsPassword: TypeAlias = Callable[[str, str], bool]
"""Whether a hash is that of a password. Blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class _Check:
    password_hash: str = field(repr=False)
    password: str = field(repr=False)
    result: asyncio.Future[bool]


def _step_back() -> None:
    """Let the calling thread have what the rest of the process leaves: lookups do not wait for passwords."""
    # On Linux the process that 0 names is the thread; and a unit may forbid this.
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


class PasswordChecks:
    """Checks passwords in *threads* threads; at most *most_waiting* wait for one."""

    def __init__(self, is_password: IsPassword, *, threads: int, most_waiting: int) -> None:
        self._is_password = is_password
        self._threads = threads
        self._most_waiting = most_waiting
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=_step_back)
        self._lines: OrderedDict[Hashable, deque[_Check]] = OrderedDict()
        self._running = 0

    async def check(self, line: Hashable, password_hash: str, password: str) -> bool:
        """Whether *password* is that of the hash; Overloaded when too many wait, and of *line* not fewer than of others."""
        waiting = _Check(password_hash, password, asyncio.get_running_loop().create_future())
        self._make_room(line)
        self._lines.setdefault(line, deque()).append(waiting)
        self._start()
        return await waiting.result

    def close(self) -> None:
        """Begin nothing more; what is being checked ends within milliseconds."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _make_room(self, line: Hashable) -> None:
        if self._running < self._threads or sum(map(len, self._lines.values())) < self._most_waiting:
            return
        longest = max(self._lines.values(), key=len)
        if len(longest) <= len(self._lines.get(line, ())) + 1:
            raise self._overloaded()
        last = longest.pop()
        if not last.result.done():
            last.result.set_exception(self._overloaded())

    def _start(self) -> None:
        while self._running < self._threads and self._lines:
            line, checks = self._lines.popitem(last=False)
            next_one = checks.popleft()
            if checks:
                self._lines[line] = checks
            if next_one.result.done():  # nobody waits for it any more
                continue
            self._running += 1
            done = self._executor.submit(self._is_password, next_one.password_hash, next_one.password)
            asyncio.wrap_future(done).add_done_callback(partial(self._end, next_one))

    def _end(self, ended: _Check, done: asyncio.Future[bool]) -> None:
        self._running -= 1
        if not ended.result.done():
            if done.cancelled():
                ended.result.cancel()
            elif (error := done.exception()) is not None:
                ended.result.set_exception(error)
            else:
                ended.result.set_result(done.result())
        if not done.cancelled():
            self._start()

    def _overloaded(self) -> Overloaded:
        return Overloaded(bottleneck="passwords", limit=self._most_waiting)
