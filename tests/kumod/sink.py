"""Where the mail goes: an SMTP server that keeps what it is sent, and answers as a test likes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.kumod.process import PATIENCE


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came: from which address, with which greeting, and when by the loop's clock."""

    peer: str
    greeting: str
    sender: str
    recipients: tuple[str, ...]
    data: bytes
    at: float

    def header(self, name: str) -> str | None:
        for line in self.data.split(b"\r\n\r\n", 1)[0].replace(b"\r\n\t", b" ").split(b"\r\n"):
            found, _, value = line.partition(b":")
            if found.lower() == name.lower().encode():
                return value.strip().decode()
        return None


@dataclass(slots=True)
class Sink:
    """`await sink.receive(n)` waits for n messages; *verdict* is what is said to the next ones, and nothing while it is not open."""

    port: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    refused: list[Delivery] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    verdict: Callable[[Delivery], str] = lambda _: "250 2.0.0 kept"
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, count: int = 1, *, after: int = 0) -> list[Delivery]:
        """The first *count* messages, those before number *after* left out; waits for them."""
        await self.until(lambda: len(self.deliveries) >= after + count)
        return self.deliveries[after : after + count]

    async def find(self, matches: Callable[[Delivery], bool]) -> Delivery:
        """The first message that matches; waits for it."""
        await self.until(lambda: any(map(matches, self.deliveries)))
        return next(filter(matches, self.deliveries))

    async def until(self, holds: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(2 * PATIENCE):
                while not holds():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise AssertionError(f"the sink has only got {self.subjects()}") from None

    def subjects(self) -> list[str | None]:
        return [delivery.header("Subject") for delivery in self.deliveries]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._session(reader, writer)
        writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer, greeting, sender = writer.get_extra_info("peername")[0], "", ""
        recipients: list[str] = []
        writer.write(b"220 sink.example\r\n")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    greeting = rest
                    writer.write(
                        b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
                    )
                case "MAIL":
                    sender, recipients = _address(rest), []
                    writer.write(b"250 2.1.0 ok\r\n")
                case "RCPT":
                    recipients.append(_address(rest))
                    writer.write(b"250 2.1.5 ok\r\n")
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    data = await _read_data(reader)
                    await self.is_open.wait()
                    if reader.at_eof():  # who sent it is gone, and knows of no answer
                        return
                    said = self._take(Delivery(peer, greeting, sender, tuple(recipients), data, _now()))
                    writer.write(said.encode() + b"\r\n")
                case "QUIT":
                    writer.write(b"221 2.0.0 bye\r\n")
                    await writer.drain()
                    return
                case _:
                    writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()

    def _take(self, delivery: Delivery) -> str:
        said = self.verdict(delivery)
        (self.deliveries if said.startswith("2") else self.refused).append(delivery)
        self._came.set()
        return said


def _now() -> float:
    return asyncio.get_running_loop().time()


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


async def _read_data(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise ConnectionResetError
        lines.append(line[1:] if line.startswith(b".") else line)
    return b"".join(lines)


@contextlib.asynccontextmanager
async def sinking() -> AsyncIterator[Sink]:
    sink = Sink()
    sink.is_open.set()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    yield sink
    server.close()
