"""aiohttp's HTTP server, with limits, and discreet to those who do not speak HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp import web

from policyd.api.problems import BAD_REQUEST, RequestRefused, problem_document, problem_response
from policyd.api.refusals import refusal
from policyd.errors import Overloaded
from policyd.observe.events import Observer, RequestShed

Answer: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

SURPLUS: Final = 128
"""Connections beyond the limit that are taken to be told that they are one too many; more are dropped."""


@dataclass(slots=True)
class Room:
    """How many connections may be open, and how many are."""

    most: int
    open: int = 0


class Server(web.Server):
    """
    `web.Server` with connections of ours: only so many, and none that says nothing.

    Who is one too many is told so with the answer to its first request. A connection that has not brought a whole request
    within *head_deadline* seconds is closed; later ones are bounded by *keepalive_timeout*.
    """

    def __init__(
        self, answer: Answer, observe: Observer, room: Room, *, keepalive_timeout: float, head_deadline: float
    ) -> None:
        super().__init__(self._begin)
        self._answer = answer
        self._observe = observe
        self._room = room
        self._keepalive_timeout = keepalive_timeout
        self._head_deadline = head_deadline
        self._deserted = asyncio.Event()
        self._deserted.set()
        self._surplus: set[web.RequestHandler] = set()
        self._silent: dict[web.RequestHandler, float] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def deserted(self) -> None:
        """Wait until no connection is open."""
        await self._deserted.wait()

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take in a connection."""
        super().connection_made(handler, transport)
        room, loop = self._room, asyncio.get_running_loop()
        room.open += 1
        self._deserted.clear()
        if room.open > room.most:
            self._surplus.add(handler)
        if room.open > room.most + SURPLUS:
            overloaded = Overloaded(bottleneck="connections", limit=room.most)
            self._observe(RequestShed(bottleneck="connections", reason=str(overloaded)))
            transport.abort()
        self._silent[handler] = loop.time() + self._head_deadline
        if self._sweep is None:
            self._sweep = loop.call_later(self._head_deadline, self._hang_up_on_the_silent)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Make room for the next one."""
        self._room.open -= 1
        if not self._room.open:
            self._deserted.set()
        self._surplus.discard(handler)
        self._silent.pop(handler, None)
        super().connection_lost(handler, exc)

    def _begin(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        # Every hit passes here. Who is one too many is among the silent until its first request, which is its last.
        if self._silent:
            self._silent.pop(request.protocol, None)
            if self._surplus and request.protocol in self._surplus:
                return self._turn_away(request)
        return self._answer(request)

    async def _turn_away(self, request: web.BaseRequest) -> web.StreamResponse:
        response = refusal(
            Overloaded(bottleneck="connections", limit=self._room.most), self._observe, request
        )
        response.force_close()
        return response

    def _hang_up_on_the_silent(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._sweep = loop.time(), None
        for handler, until in list(self._silent.items()):  # in the order in which they came
            if until > now:
                self._sweep = loop.call_at(until, self._hang_up_on_the_silent)
                return
            del self._silent[handler]
            handler.force_close()

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
