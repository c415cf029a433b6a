"""A few threads for what blocks, with a bounded queue before them."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from policyd.errors import SecretsUnavailable

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """At most *most* things at once, and at most *most_pending* with those that wait."""

    def __init__(self, name: str, *, most: int, most_pending: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=f"policyd-{name}")
        self._places = threading.BoundedSemaphore(most_pending)

    def begin(self, do: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> "Future[R]":
        """The result of *do*, when it comes; SecretsUnavailable when too much waits already."""
        if not self._places.acquire(blocking=False):
            raise SecretsUnavailable(
                "more private keys are asked for than can be read in time", trouble="full"
            )
        work = self._pool.submit(do, *args, **kwargs)
        # When the thread is done, not when its caller gave up: a hung one still has its place.
        work.add_done_callback(lambda _: self._places.release())
        return work

    def close(self) -> None:
        """Begin nothing any more; what runs is left to its own end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
