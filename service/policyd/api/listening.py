"""
Listeners, from their opening to an end that nobody feels.

A kept connection that is closed in the moment in which its client sends is a failed request. So a listener that ends
first takes no new connections, then says goodbye with its answers, and only at last closes what stayed idle.
"""

import asyncio
import contextlib
import os
import resource
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from policyd.api.server import SURPLUS, Server
from policyd.errors import ConfigError
from policyd.units import Address

ANSWERED_WITHIN: Final = 5.0
"""Seconds that requests under way get at the end."""
_GOODBYE: Final = 1.0
"""Seconds in which a busy client uses each of its connections, and is told that it is the last time."""
_BACKLOG: Final = 4_096
"""Connections that wait to be accepted: after a restart all nodes come at once, and one turned away waits a second."""
_NOW: Final = 0.01
_OTHER_FILES: Final = 128
"""What else is open: connections to PostgreSQL and Vault, threads' files, logs."""


def room_for(connections: int) -> int:
    """How many of so many *connections* this process may have open, with what it needs beside them."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return min(connections, max(soft - SURPLUS - _OTHER_FILES, soft // 2))


async def open_listener(
    stack: AsyncExitStack,
    runner: web.BaseRunner,
    address: Address,
    *,
    setting: str,
    tls: ssl.SSLContext | None = None,
    reuse_port: bool = False,
) -> Address:
    """Listen at *address*, which *setting* named, until *stack* is left; where that is, if the system chose the port."""
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(
        runner, address.host, address.port, ssl_context=tls, reuse_port=reuse_port, backlog=_BACKLOG
    )
    try:
        await site.start()
    except OSError as error:
        raise ConfigError(
            # uvloop's own text says the address again, as a tuple.
            f"cannot listen on {address}: {os.strerror(error.errno) if error.errno else error.strerror}",
            hint=f"is policyd running already? else choose another address: --set {setting}=IP:PORT",
        ) from error
    host, port = runner.addresses[0][:2]
    return Address(host, port)


async def drain(
    runner: web.BaseRunner, server: Server, say_goodbye: Callable[[], None], *, accept_for: float
) -> None:
    """
    End a listener: go on accepting for *accept_for* seconds, then take no more, and wait until clients have left.

    Whoever cancels this is in a hurry: connections are closed at once then.
    """
    say_goodbye()
    try:
        if accept_for:
            await asyncio.sleep(accept_for)
        for site in runner.sites:
            await site.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                await server.deserted()
    except asyncio.CancelledError:
        await server.shutdown(_NOW)
        raise
