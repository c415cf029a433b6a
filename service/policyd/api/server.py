"""aiohttp's HTTP server, save for what it says to those who do not speak HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from policyd.api.problems import BAD_REQUEST, RequestRefused, problem_document, problem_response

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Server(web.Server):
    """`web.Server` with connections of ours."""

    def __init__(self, answer: Answer, *, keepalive_timeout: float) -> None:
        super().__init__(answer)
        self._keepalive_timeout = keepalive_timeout
        self._open = 0
        self._deserted = asyncio.Event()
        self._deserted.set()

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return self._open

    async def deserted(self) -> None:
        """Wait until no connection is open."""
        await self._deserted.wait()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection."""
        self._open += 1
        self._deserted.clear()
        super().connection_made(handler, transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Count it no more."""
        self._open -= 1
        if not self._open:
            self._deserted.set()
        super().connection_lost(handler, exc)

    def __call__(self) -> web.RequestHandler:
        """A connection."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp's own runners say it
            keepalive_timeout=self._keepalive_timeout,
        )


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Not aiohttp's text: it quotes the line that it could not read, and a token may stand in that."""
        if status != BAD_REQUEST.status:
            return super().handle_error(request, status, exc, message)
        refused = RequestRefused(
            BAD_REQUEST, "this is no HTTP request, or its head is too long", is_last=True
        )
        return problem_response(refused, problem_document(refused, detail=str(refused)))
