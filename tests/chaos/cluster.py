"""
PostgreSQL: two places for one, of which one runs; and a copy of what it once was.

Everybody reaches it through proxies, which lead to the one that runs: a failover is another address behind them.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from policyd.config import EmbeddedConfig
from policyd.store import embedded
from policyd.store.embedded import Server, leftovers
from policyd.store.migrate import migrate
from policyd.store.pool import Connection
from tests.integration.proxy import Proxy

SETTINGS = {
    "max_connections": "40",
    "max_wal_size": "256MB",
    "min_wal_size": "80MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Else what a killed one leaves outside its directory stays there when the directory is replaced.
    "dynamic_shared_memory_type": "mmap",
}


class Cluster:
    """The server that runs, and how it fares."""

    def __init__(self, servers: tuple[Server, Server]) -> None:
        self._servers = servers
        self._at = 0
        self.proxies: list[Proxy] = []
        self.copied_at: str | None = None
        """The position of the copy."""

    @property
    def server(self) -> Server:
        return self._servers[self._at]

    @property
    def dsn(self) -> str:
        return self.server.dsn()

    @contextlib.asynccontextmanager
    async def administrator(self) -> AsyncIterator[Connection]:
        # Not as the service connects: it may be read-only.
        connection: Connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=30)
        try:
            await connection.execute("set default_transaction_read_only = off")
            yield connection
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    async def head(self) -> str:
        """The newest revision's position."""
        async with self.administrator() as connection:
            return str(
                await connection.fetchval(
                    "select number || '-' || stamp from policy.revision order by number desc limit 1"
                )
            )

    async def log(self) -> set[str]:
        """Every position that there is."""
        async with self.administrator() as connection:
            return {
                row[0] for row in await connection.fetch("select number || '-' || stamp from policy.revision")
            }

    async def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        server = self.server
        if not server.is_ready():
            await asyncio.to_thread(server.clear)
            server.spawn()
        async with asyncio.timeout(60):
            while not server.is_ready():  # noqa: ASYNC110 - it is a file that says so
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stop it as an operator does: sessions are ended, a checkpoint is written."""
        await self._end(signal.SIGINT)

    async def kill(self) -> None:
        """Kill -9, the postmaster first."""
        await self._end(signal.SIGKILL)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def copy(self) -> None:
        """Keep what it is now: it must not run."""
        await asyncio.to_thread(_copy, self._data(self._at), self._copy)
        await self.start()
        self.copied_at = await self.head()

    async def restore(self, *, elsewhere: bool) -> str:
        """Start what was kept, at the other place or at the same; its position. It must not run."""
        if elsewhere:
            self._at = 1 - self._at
        await asyncio.to_thread(_copy, self._copy, self._data(self._at))
        await self.start()
        return await self.head()

    def lead(self) -> None:
        """Have the proxies lead to the one that runs."""
        for proxy in self.proxies:
            proxy.lead_to_server(self.dsn)

    @property
    def _copy(self) -> Path:
        return self._servers[0].layout.state / "copy"

    def _data(self, place: int) -> Path:
        return self._servers[place].layout.data

    def _signal(self, number: signal.Signals, *, postmaster: bool = False) -> None:
        """Signal every process of it, or the postmaster alone: whoever works in its directory, and nobody who has a number."""
        for found in sorted(leftovers.processes(self._data(self._at)), key=lambda each: not each.is_marked):
            if found.is_marked or not postmaster:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found.pid, number)

    async def _end(self, number: signal.Signals) -> None:
        self.resume()
        self._signal(number, postmaster=number is not signal.SIGKILL)
        await self.server.ended()
        await asyncio.to_thread(self.server.clear)


@contextlib.asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[Cluster]:
    """A server with the schema in it, and the place of another one."""
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(embedded.running(EmbeddedConfig(state=directory / name), settings=SETTINGS))
            for name in ("a", "b")
        )
        second.stop()
        made = Cluster((first, second))
        async with made.administrator() as connection:
            await migrate(connection)
        yield made
        made.resume()


def _copy(source: Path, target: Path) -> None:
    """All of it, with its owners: the server may be another user's."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(source, target, symlinks=True)
    for path in (source, *source.rglob("*")):
        status = path.lstat()
        os.chown(target / path.relative_to(source), status.st_uid, status.st_gid, follow_symlinks=False)
