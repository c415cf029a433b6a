"""
A response that is ready bytes already.

aiohttp's own response objects cost more than everything else that a cached answer needs together; this one uses
only aiohttp's public names, and only where nothing but writing is left to do (a GET that keeps its connection).
"""

from functools import lru_cache

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from policyd.policy.position import Position

_DRAIN_ABOVE = 65_536


def takes_ready_bytes(request: web.BaseRequest) -> bool:
    """Whether nothing is left to do for *request* but to write: a GET without a body that keeps its connection."""
    return (
        request.method == "GET"
        and request.version is HttpVersion11
        and request.keep_alive
        and not request.can_read_body
    )


class Ready(web.StreamResponse):
    """Status line, headers and body in one piece."""

    def __init__(self, wire: bytes, status: int, request: web.BaseRequest) -> None:
        # The base class would build headers that are in the wire already.
        self._wire = wire
        self._ready_status = status
        self._request = request
        self._keeps = True

    @property
    def status(self) -> int:
        """The status in the wire."""
        return self._ready_status

    @property
    def prepared(self) -> bool:
        """Nothing is left to prepare."""
        return True

    @property
    def keep_alive(self) -> bool | None:
        """As the request has it, unless `force_close` was called."""
        return self._keeps and self._request.keep_alive

    def force_close(self) -> None:
        """Say in the head that this is the connection's last response."""
        self._keeps = False
        self._wire = self._wire.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything, and wait for a slow reader before its next request is read."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        transport.write(self._wire)
        if transport.get_write_buffer_size() > _DRAIN_ABOVE:
            await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Heads:
    """Status line and headers of answers that are vouched for at one position."""

    __slots__ = ("_found", "_none", "position", "written")

    def __init__(self, position: Position) -> None:
        self.position = position
        self.written = str(position)
        """What stands in `Policy-Position`, and what most nodes send back with their next request."""
        fixed = f"Content-Type: application/json\r\nPolicy-Position: {position}\r\nContent-Length: "
        self._found = f"HTTP/1.1 200 OK\r\n{fixed}".encode()
        self._none = f"HTTP/1.1 404 Not Found\r\n{fixed}".encode()

    def wire(self, body: bytes, *, found: bool) -> bytes:
        """The whole response."""
        return b"%b%d\r\n\r\n%b" % (self._found if found else self._none, len(body), body)


@lru_cache(maxsize=8)
def heads(position: Position) -> Heads:
    """The heads for *position*; the latest few are ready."""
    return Heads(position)
