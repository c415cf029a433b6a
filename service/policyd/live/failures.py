"""
Failed logins, counted so that guessing is slow and costs us nothing.

Every attempt is counted as failed before it is looked at, and taken off again if it was not, so that a thousand that
arrive together are limited like a thousand that arrive one by one. What is counted is forgiven evenly as time passes.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from policyd.errors import TooManyFailures
from policyd.policy.credential import Attempt

_MOST_COUNTED = 100_000
_WIDER = 10
"""A network, or a username from everywhere, may fail so many times as often as a username from one network."""


@dataclass(slots=True)
class _Count:
    failures: float
    at: float


class FailureLimits:
    """
    How often logins failed lately: for a username from a network, for a network, and for a username from everywhere.

    Names are not kept: people type passwords where their username belongs.
    """

    def __init__(self, *, most: int, within: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._within = within
        self._clock = clock
        self._counts: OrderedDict[bytes, _Count] = OrderedDict()

    def charge(self, attempt: Attempt) -> tuple[bytes, ...]:
        """Count *attempt* as failed; TooManyFailures, and nothing counted, when it is one too many."""
        network = str(attempt.network)
        limits = {
            _key("both", network, attempt.username): self._most,
            _key("network", network): self._most * _WIDER,
            _key("username", attempt.username): self._most * _WIDER,
        }
        now = self._clock()
        counts = [self._count(key, most, now) for key, most in limits.items()]
        if any(count.failures + 1 > most for count, most in zip(counts, limits.values(), strict=True)):
            raise TooManyFailures
        for count in counts:
            count.failures += 1
        while len(self._counts) > _MOST_COUNTED:
            self._counts.popitem(last=False)
        return tuple(limits)

    def refund(self, charged: tuple[bytes, ...]) -> None:
        """Take off what `charge` counted: that attempt was not a wrong one."""
        for key in charged:
            count = self._counts.get(key)
            if count is not None:
                count.failures = max(0.0, count.failures - 1)

    def _count(self, key: bytes, most: int, now: float) -> _Count:
        count = self._counts.setdefault(key, _Count(0.0, now))
        self._counts.move_to_end(key)
        count.failures = max(0.0, count.failures - (now - count.at) * most / self._within)
        count.at = now
        return count


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).digest()
