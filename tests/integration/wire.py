"""HTTP written by hand: what a client library would never send, and what comes back byte for byte."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.integration.conftest import TOKEN

BEARER = f"Authorization: Bearer {TOKEN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response as it stood on the wire."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *lines: str | bytes, body: bytes = b"") -> None:
        """Write a request's head from its lines, and a body as it is."""
        head = b"\r\n".join(line.encode() if isinstance(line, str) else line for line in lines)
        self.writer.write(head + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def reply(self, *, bodiless: bool = False) -> Reply:
        """The next response; *bodiless* for an answer to HEAD."""
        async with asyncio.timeout(15):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status_line, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = 0 if bodiless else int(headers.get("content-length", 0))
            version, status, *_ = status_line.split()
            return Reply(
                version=version,
                status=int(status),
                headers=headers,
                body=await self.reader.readexactly(length),
            )

    async def ask(self, *lines: str | bytes, body: bytes = b"", bodiless: bool = False) -> Reply:
        """One request and its response."""
        await self.send(*lines, body=body)
        return await self.reply(bodiless=bodiless)

    async def get(self, target: str, *lines: str) -> Reply:
        """A GET of the raw *target* with a good token."""
        return await self.ask(f"GET {target} HTTP/1.1", "Host: policyd", BEARER, *lines)

    async def is_closed(self) -> bool:
        """Whether the other side has ended the connection, with nothing more to read."""
        async with asyncio.timeout(15):
            return await self.reader.read(1) == b""


@contextlib.asynccontextmanager
async def wire(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """A connection to where *url* points."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


def assert_problem(reply: Reply, status: int, slug: str) -> None:
    """The reply is an RFC 9457 problem of that status and type, and says nothing that it should not."""
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json"), reply
    assert reply.json["type"] == f"urn:policyd:problem:{slug}", reply
    assert reply.json["status"] == status
    assert reply.json["title"]
    assert_discreet(reply.body.decode())


def assert_discreet(text: str) -> None:
    """No secret, no SQL and no stack trace stand in *text*."""
    secret = TOKEN.partition(".")[2]
    for word in (
        secret,
        "select ",
        "insert ",
        "Traceback",
        "asyncpg",
        'File "',
        "policy.node",
        "site-packages",
    ):
        assert word not in text
