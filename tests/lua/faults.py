"""An endpoint in front of the service that can be anything that a network, a proxy or a bad day makes of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from tests.lua.kumo_sim import http
from tests.lua.kumo_sim.clock import Clock

Mode: TypeAlias = Literal[
    "through",
    "refused",
    "silent",
    "slow",
    "late",
    "error",
    "html",
    "truncated",
    "unauthorized",
    "nonsense",
    "cut",
    "plaintext",
]
TROUBLES: tuple[Mode, ...] = tuple(mode for mode in get_args(Mode) if mode not in {"through", "plaintext"})
"""What may become of any endpoint at any moment."""
_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
_PROBLEM = b'{"type":"urn:policyd:problem:%s","title":"%s","status":%d}'
_CANNED = {
    "error": (500, "application/problem+json", _PROBLEM % (b"internal", b"Internal error", 500)),
    "html": (200, "text/html", _HTML),
    "plaintext": (403, "application/problem+json", _PROBLEM % (b"plaintext", b"Not over plain HTTP", 403)),
    "truncated": (200, "application/json", b'{"answer":{"relay_'),
    "unauthorized": (401, "application/problem+json", _PROBLEM % (b"unauthorized", b"Unauthorized", 401)),
    "nonsense": (200, "application/json", b'{"answer":[1,2],"tags":7,"revision":null}'),
}


class Endpoint:
    """
    A listening port with a mode that a test changes: `await endpoint.be("silent")`.

    through: to the service. late: so too, but answers to lookups arrive *slow_for* seconds after the service gave them. refused: nobody listens. silent: accepts and never answers. slow: the first byte after *slow_for* seconds
    of the node's clock. error: 500. html: 200 from a proxy with HTML. truncated: a body that ends too early. unauthorized: 401.
    plaintext: 403, as for what is only answered over TLS. nonsense: valid JSON that means nothing. cut: the connection ends without an answer.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.mode: Mode = "through"
        self.slow_for = 3.0
        self.clock: Clock | None = None
        self.requests: list[str] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def be(self, mode: Mode, *, target: str | None = None) -> None:
        """Behave so from now on; connections that there are end."""
        await self._hang_up()
        self.mode = mode
        self.target = target or self.target
        if mode != "refused":
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        await self._hang_up()

    async def _hang_up(self) -> None:
        if self._server is not None:
            # Connections that were accepted begin, so that they can end: asyncio loses those of a server that is closed.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            for _ in range(5):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if self.mode == "through":
                    await self._pass_on(reader, writer)
                else:
                    await self._misbehave(reader, writer)
        except asyncio.CancelledError:
            pass  # asyncio's own server would log it, and nobody waits for this
        finally:
            self._connections.discard(task)
            writer.close()

    async def _misbehave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode()
        self.requests.append(line)
        if self.mode == "silent":
            with self._holding(line):
                await asyncio.get_running_loop().create_future()
        elif self.mode == "slow":
            assert self.clock is not None, "slow needs the node's clock: endpoint.clock = node.clock"
            with self._holding(line):
                await self.clock.timer(self.slow_for)
            await self._pass_on(reader, writer, first=head)
        elif self.mode == "late":
            await self._pass_on(reader, writer, first=head, late="" if "/changes" in line else line)
        elif self.mode in _CANNED:
            status, kind, body = _CANNED[self.mode]
            length = len(body) + (100 if self.mode == "truncated" else 0)
            answer = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            writer.write(answer.encode() + body)
            await writer.drain()

    @contextlib.contextmanager
    def _holding(self, line: str) -> Iterator[None]:
        url = self.url + line.split(" ")[1]
        http.HOLDING[url] += 1
        try:
            yield
        finally:
            http.HOLDING[url] -= 1

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes = b"", late: str = ""
    ) -> None:
        parts = urlsplit(self.target)
        there, back = await asyncio.open_connection(parts.hostname, parts.port)
        back.write(first)
        pipes = [
            asyncio.ensure_future(_pipe(reader, back, self._note)),
            asyncio.ensure_future(self._delay(there, writer, late) if late else _pipe(there, writer, None)),
        ]
        try:
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        finally:
            back.close()
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)

    async def _delay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> None:
        data = await reader.read(65536)
        assert self.clock is not None, "late needs the node's clock: endpoint.clock = node.clock"
        with self._holding(line):
            await self.clock.timer(self.slow_for)
        writer.write(data)
        await _pipe(reader, writer, None)

    def _note(self, sent: bytes) -> None:
        line = sent.split(b"\r\n", 1)[0]
        if line.endswith(b" HTTP/1.1"):
            self.requests.append(line.decode())


async def _pipe(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None] | None
) -> None:
    while data := await reader.read(65536):
        if note is not None:
            note(data)
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def endpoint_before(target: str, mode: Mode = "through") -> AsyncIterator[Endpoint]:
    """An endpoint in front of the service at *target*."""
    endpoint = Endpoint(target)
    await endpoint.be(mode)
    try:
        yield endpoint
    finally:
        await endpoint.close()
