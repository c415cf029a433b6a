"""A network between a service and PostgreSQL that can be cut, fall silent, or be slow; for all, or for one purpose."""

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

_PURPOSE = re.compile(rb"application_name\0policyd ([^\0]*)\0")
SOCKET = ".s.PGSQL.5432"


@dataclass(slots=True, eq=False)
class _Link:
    """One connection, and for what the service opened it."""

    purpose: str
    writers: tuple[asyncio.StreamWriter, ...]


@dataclass(slots=True)
class Proxy:
    """Troubles begin with a call and last until `heal`; *purpose* limits them to connections opened for it."""

    dsn: str
    _upstream: str
    refusals: int = 0
    _links: set[_Link] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _refused: str | None = None
    _silent: str | None = None
    _delay: float = 0.0
    _names: tuple[bytes, bytes] = (b"", b"")
    _healed: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self, purpose: str = "") -> None:
        """End connections, and refuse new ones."""
        self._refused = purpose
        for link in [link for link in self._links if purpose in link.purpose]:
            for writer in link.writers:
                writer.transport.abort()

    def fall_silent(self, purpose: str = "") -> None:
        """Pass nothing on, and say nothing of it."""
        self._silent = purpose

    def slow_down(self, seconds: float) -> None:
        """Pass everything on, but only after a while."""
        self._delay = seconds

    def lead_to(self, database: str) -> None:
        """Have new connections use another *database*, whose name must be as long, as if they met another server."""
        name = urlsplit(self._upstream).path.removeprefix("/")
        assert len(name) == len(database)
        self._names = name.encode(), database.encode()

    def lead_to_server(self, dsn: str) -> None:
        """Lead to another server from now on; connections to the one before end."""
        self._upstream = dsn
        for link in list(self._links):
            for writer in link.writers:
                writer.transport.abort()

    def let_in(self) -> None:
        """Refuse nobody any more."""
        self._refused = None

    def heal(self) -> None:
        """Be a good network again; what was held back arrives."""
        self._refused = self._silent = None
        self._delay = 0.0
        healed, self._healed = self._healed, asyncio.Event()
        healed.set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything; nothing may be left of it when the loop closes."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._pass_on(reader, writer)
        finally:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            hello = (await reader.read(65_536)).replace(*self._names)
            found = _PURPOSE.search(hello)
            purpose = found[1].decode() if found else ""
            if self._refused is not None and self._refused in purpose:
                self.refusals += 1
                return
            up_reader, up_writer = await _open(self._upstream)
            link = _Link(purpose, (writer, up_writer))
            self._links.add(link)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(link, reader, up_writer, hello))
                    pumps.create_task(self._pump(link, up_reader, writer))
            except* OSError:
                pass
            finally:
                self._links.discard(link)
                for each in link.writers:
                    each.transport.abort()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b""
    ) -> None:
        data = first or await reader.read(65_536)
        while data:
            while self._silent is not None and self._silent in link.purpose:
                await self._healed.wait()
            await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
            data = await reader.read(65_536)
        for each in link.writers:
            each.close()


@contextlib.asynccontextmanager
async def proxying(dsn: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server that *dsn* names; its own DSN is the way through it."""
    directory = Path(tempfile.mkdtemp(prefix="policyd-proxy-"))
    parts = urlsplit(dsn)
    options = {**parse_qs(parts.query), "host": [str(directory)], "port": ["5432"], "sslmode": ["disable"]}
    user = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
    query = urlencode(options, doseq=True)
    proxy = Proxy(urlunsplit(parts._replace(netloc=user, query=query)), dsn)
    try:
        server = await asyncio.start_unix_server(proxy.accept, directory / SOCKET)
        try:
            yield proxy
        finally:
            server.close()
            await proxy.close()
    finally:
        shutil.rmtree(directory)


async def _open(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(dsn)
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/{SOCKET}")
    return await asyncio.open_connection(host, parts.port or 5432)
