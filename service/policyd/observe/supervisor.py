"""
What a service manager is told, in the protocol of sd_notify(3): ready, stopping, alive, and in a line how it is.

Ready means that the listeners are open. PostgreSQL may be missing then: mail does not wait for it, and neither does
whoever is started after policyd.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from policyd.observe.events import (
    CurrencyLost,
    CurrencyRegained,
    Observation,
    ServiceStarted,
    ServiceStopping,
)

_BEATS = 3
"""How often the watchdog hears of us in the time that it allows: one that is lost is no reason to be restarted."""


class Supervisor:
    """The sink that tells a service manager; `supervised` opens and closes one."""

    def __init__(self, connection: socket.socket, *, watchdog: float | None) -> None:
        self._connection = connection
        self._watchdog = watchdog

    def __call__(self, observation: Observation) -> None:
        """Tell of *observation*, if it is one that changes what the service manager shows."""
        match observation:
            case ServiceStarted(lookup=lookup, current=current):
                self._tell("READY=1", *(() if current else (f"STATUS=answers on {lookup}, not current yet",)))
            case CurrencyRegained(position=position):
                self._tell(f"STATUS=current at {position}")
            case CurrencyLost(position=position):
                self._tell(f"STATUS=not current: answers are of {position} and marked stale")
            case ServiceStopping():
                self._tell("STOPPING=1", "STATUS=stopping")
            case _:
                pass

    async def run(self) -> None:
        """Tell the watchdog, for as long as it is wanted, that this event loop turns. Ends only if cancelled."""
        if self._watchdog is None:
            await asyncio.Event().wait()
        while self._watchdog is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / _BEATS)

    def _tell(self, *assignments: str) -> None:
        # A service manager that does not read, or is gone, is no reason to stop answering.
        with contextlib.suppress(OSError):
            self._connection.send("\n".join(assignments).encode())


@contextmanager
def supervised(environ: Mapping[str, str]) -> Iterator[Supervisor | None]:
    """The service manager that *environ* names with NOTIFY_SOCKET; None where there is none."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as connection:
        connection.setblocking(False)
        try:
            connection.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        except OSError:
            yield None
            return
        yield Supervisor(connection, watchdog=_watchdog(environ))


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Seconds within which the watchdog wants to hear of this process, if it does."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not is_ours or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000
