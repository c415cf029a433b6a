"""Processes that a bench starts: asked with a line of JSON on standard input, they answer with one."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from tests.bench.client import Answered, Load
from tests.bench.injector import Mails, Received
from tests.bench.machine import Cores


class Child:
    """A process that answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, **question: Any) -> Any:
        """What it answers to *question*."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        return await self.listen()

    async def listen(self) -> Any:
        """The next line that it says by itself."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the bench ended with status {await self._process.wait()}")
        return json.loads(line)


class Client(Child):
    """The load generator."""

    async def load(self, load: Load) -> Answered:
        """What *load* was answered with."""
        return Answered(**await self.ask(**asdict(load)))


class Injector(Child):
    """The mail generator."""

    async def send(self, mails: Mails) -> Received:
        """What became of *mails*."""
        return Received(**await self.ask(**asdict(mails)))


class Server(Child):
    """A server under test: listens on `port`; its database was at `position` when it was started."""

    port = 0
    position = "0-00000000"

    async def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        return float((await self.ask(tell="cpu"))["cpu"])

    async def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int((await self.ask(tell="memory"))["bytes"])

    async def known(self) -> dict[int, float]:
        """When it learned of each revision, by the clock that all processes share; forgets them."""
        return {int(number): at for number, at in (await self.ask(tell="known"))["revisions"].items()}

    async def stall(self) -> "tuple[float, float]":
        """The longest that its loop did not turn since the last call: seconds of work, seconds of time."""
        longest = await self.ask(tell="stall")
        return longest["worked"], longest["passed"]


_C = TypeVar("_C", bound=Child)


@asynccontextmanager
async def _running(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.{module}", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def _generating(module: str, kind: type[_C], where: Cores) -> AsyncIterator[_C]:
    async with _running(module, str(where.client)) as process:
        child = kind(process)
        await child.listen()
        yield child


@asynccontextmanager
async def client(where: Cores) -> AsyncIterator[Client]:
    """A load generator."""
    async with _generating("client", Client, where) as child:
        yield child


@asynccontextmanager
async def injector(where: Cores) -> AsyncIterator[Injector]:
    """A mail generator."""
    async with _generating("injector", Injector, where) as child:
        yield child


@asynccontextmanager
async def server(where: Cores, module: str, *arguments: str) -> AsyncIterator[Server]:
    """A server under test, listening."""
    async with _running(module, str(where.service), *arguments) as process:
        child = Server(process)
        said = await child.listen()
        child.port = said["port"]
        yield child
