"""What is known of nodes, brought to the metrics of every replica: a node reports to whichever it reaches."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from policyd.config import NodesConfig
from policyd.errors import BackendUnavailable
from policyd.observe.events import NodesForgotten, NodesRead, Observer
from policyd.pauses import jittered
from policyd.policy.node import NodeState

_FORGET_EVERY = 3600.0


async def watch_nodes(
    read: Callable[[], Awaitable[Sequence[NodeState]]],
    forget_silent: Callable[[float], Awaitable[Sequence[str]]],
    config: NodesConfig,
    observe: Observer,
) -> None:
    """Observe what nodes said last, until cancelled, and forget those that have been silent for long."""
    forgotten_at = float("-inf")
    while True:
        try:
            observe(NodesRead(nodes=await read()))
            if time.monotonic() - forgotten_at >= _FORGET_EVERY:
                forgotten = await forget_silent(config.forget_after)
                forgotten_at = time.monotonic()
                if forgotten:
                    observe(NodesForgotten(nodes=", ".join(forgotten)))
        except BackendUnavailable:
            pass  # the feed says so, and what was known of nodes is what is known
        await asyncio.sleep(jittered(config.refresh, 0.8, 1.2))
