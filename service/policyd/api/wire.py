"""
A response that is ready bytes already.

aiohttp's own response objects cost more than everything else that a cached answer needs together; this one uses
only aiohttp's public names, and only where nothing but writing is left to do (a GET that keeps its connection).
"""

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

_DRAIN_ABOVE = 65_536


class Ready(web.StreamResponse):
    """Status line, headers and body in one piece."""

    def __init__(self, wire: bytes, status: int, request: web.BaseRequest) -> None:
        # The base class would build headers that are in the wire already.
        self._wire = wire
        self._ready_status = status
        self._request = request

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
        """As the request has it."""
        return self._request.keep_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write everything."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        transport.write(self._wire)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Wait for a slow reader before its next request is read."""
        del data
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size() > _DRAIN_ABOVE:
            await self._request.writer.drain()


class Heads:
    """Status line and headers of answers, made anew only when the position moves."""

    __slots__ = ("_found", "_none", "_position")

    def __init__(self) -> None:
        self._position: object = None
        self._found = self._none = b""

    def wire(self, position: object, body: bytes, *, found: bool) -> bytes:
        """The whole response for an answer that is vouched for at *position*."""
        if position is not self._position:
            fixed = f"Content-Type: application/json\r\nPolicy-Position: {position}\r\nContent-Length: "
            self._found = f"HTTP/1.1 200 OK\r\n{fixed}".encode()
            self._none = f"HTTP/1.1 404 Not Found\r\n{fixed}".encode()
            self._position = position
        return b"%b%d\r\n\r\n%b" % (self._found if found else self._none, len(body), body)
