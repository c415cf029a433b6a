"""A request as handlers see it: taken apart once, at the edge."""

import asyncio
import ipaddress
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from aiohttp import ClientError, web

from policyd.api.bearers import Bearer
from policyd.api.problems import BAD_REQUEST, TOO_LARGE, TOO_SLOW, RequestRefused
from policyd.errors import LookupInvalid
from policyd.policy.position import Position

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
POSITION_HEADER = "Policy-Position"
NODE_HEADER = "Policy-Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A request target: the path's segments and the query's pairs, unescaped."""

    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, raw: str) -> "Target":
        """The target that *raw* writes. A `+` is a plus sign: names may hold one, and this is no form."""
        if not raw.startswith("/"):
            raise RequestRefused(BAD_REQUEST, "a path begins with a slash")
        path, _, query = raw.partition("?")
        return cls(
            segments=tuple(_unescape(segment) for segment in path.removeprefix("/").split("/")),
            query=tuple(_pair(pair) for pair in query.split("&") if pair),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a handler is given: the request, its target, and who asks from where."""

    request: web.BaseRequest
    target: Target
    bearer: Bearer
    peer: str

    @property
    def node(self) -> str | None:
        """The node that asks, as it says itself; one that says nothing is called as its token is."""
        return self.request.headers.get(NODE_HEADER) or self.bearer.token

    @property
    def key(self) -> str:
        """The segment after the route's name."""
        return self.target.segments[1]


def target_of(request: web.BaseRequest) -> Target:
    """The target of *request*, which a proxy may have written with scheme and host (RFC 9112, 3.2.2)."""
    raw = request.raw_path
    if raw.startswith(("http://", "https://")):
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    return Target.parse(raw)


def position_of(request: web.BaseRequest) -> Position | None:
    """The position that the request's sender has reached, if it says so."""
    written = request.headers.get(POSITION_HEADER)
    if written is None:
        return None
    try:
        return Position.parse(written)
    except ValueError as error:
        raise LookupInvalid(parameter=POSITION_HEADER, problem="cannot be read", allowed=str(error)) from None


def peer_of(request: web.BaseRequest) -> str:
    """The address that the request came from; loopback for a Unix socket."""
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("peername")
    return name[0] if isinstance(name, tuple) else "127.0.0.1"


def is_private(request: web.BaseRequest) -> bool:
    """Whether nobody between the two ends can read along: over TLS, or on this machine."""
    peer = ipaddress.ip_address(peer_of(request))
    mapped = peer.ipv4_mapped if isinstance(peer, ipaddress.IPv6Address) else None
    return request.secure or (mapped or peer).is_loopback


async def read_json(request: web.BaseRequest, *, most_bytes: int, deadline: float) -> Any:
    """The JSON body of the request; RequestRefused when it is too large, comes too slowly, or is none."""
    try:
        async with asyncio.timeout(deadline):
            body = await _read(request, most_bytes)
    except TimeoutError:
        raise RequestRefused(TOO_SLOW, f"a body has to arrive within {deadline:g} s", is_last=True) from None
    except (web.RequestPayloadError, ClientError, ConnectionError):
        raise RequestRefused(BAD_REQUEST, "the body is not what its headers say", is_last=True) from None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestRefused(BAD_REQUEST, "the body is not JSON") from None


async def _read(request: web.BaseRequest, most_bytes: int) -> bytearray:
    too_large = RequestRefused(TOO_LARGE, f"a body may have {most_bytes} bytes", is_last=True)
    if (request.content_length or 0) > most_bytes:
        raise too_large
    transport = request.transport
    if transport is not None and request.headers.get("Expect", "").lower() == "100-continue":
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    async for chunk in request.content.iter_chunked(65_536):
        body += chunk
        if len(body) > most_bytes:
            raise too_large
    return body


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return _unescape(name), _unescape(value)


def _unescape(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    if _BROKEN_ESCAPE.search(text):
        raise RequestRefused(BAD_REQUEST, "the request's path holds a broken %-escape")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeError:
        raise RequestRefused(BAD_REQUEST, "the request's path is not UTF-8") from None
