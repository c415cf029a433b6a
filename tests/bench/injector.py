"""
The mail generator, in a process of its own: SMTP over kept connections, one message after another on each.

It pipelines MAIL, RCPT and DATA, and writes bytes that are made beforehand, because it must cost less than what it measures. The
k-th message is from, to and of the tenant number `k % keys`.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from itertools import count

import uvloop

from tests.bench.machine import allow_many_files, pin, processor_time

GREETING, HELLO, ENVELOPE, CONTENT = range(4)
_ENVELOPE = b"MAIL FROM:<x@d%05d.example>\r\nRCPT TO:<y@d%05d.example>\r\nDATA\r\n"
_CONTENT = b"From: <x@d%05d.example>\r\nTo: <y@d%05d.example>\r\nX-Tenant: t%05d\r\nSubject: bench\r\n\r\n%b\r\n.\r\n"
_BODY = b"All work and no play.\r\n" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """What to send: to which port, of how many tenants and domains; until there are *most*, or for so many seconds."""

    port: int
    keys: int
    first: int = 0
    most: int = 0
    seconds: float = 60.0
    connections: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What was accepted."""

    messages: int
    seconds: float
    share: float
    """How much of its core the generator took; near 1 it was the generator that was measured."""

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds


class _Connection(asyncio.Protocol):
    def __init__(self, sending: "_Sending") -> None:
        self._sending = sending
        self._buffer = b""
        self._state = GREETING
        self._expected = 1
        self._key = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert hasattr(transport, "write")
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            if line[3:4] == b"-":
                continue
            if line[:1] not in {b"2", b"3"}:
                self._sending.fail(f"{line!r} in state {self._state}")
                return
            self._expected -= 1
            if not self._expected:
                self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self._sending.lost(error)

    def close(self) -> None:
        self._transport.close()

    def _go_on(self) -> None:
        match self._state:
            case 0:
                self._send(HELLO, 1, b"EHLO bench.example\r\n")
            case 2:
                content = _CONTENT % (self._key, self._key, self._key, _BODY)
                self._send(CONTENT, 1, content)
            case _:
                if self._state == CONTENT:
                    self._sending.accepted += 1
                number = self._sending.next()
                if number is None:
                    self.close()
                    return
                self._key = number
                self._send(ENVELOPE, 3, _ENVELOPE % (number, number))

    def _send(self, state: int, expected: int, data: bytes) -> None:
        self._state, self._expected = state, expected
        self._transport.write(data)


class _Sending:
    """One load."""

    def __init__(self, mails: Mails) -> None:
        self._mails = mails
        self._numbers = count(mails.first)
        self._end = time.monotonic() + mails.seconds
        self._open = mails.connections
        self.accepted = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> int | None:
        """The key of the next message; None if there is to be no more."""
        number = next(self._numbers)
        is_over = self._mails.most and number - self._mails.first >= self._mails.most
        return None if is_over or time.monotonic() >= self._end else number % self._mails.keys

    def fail(self, problem: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(problem))

    def lost(self, error: Exception | None) -> None:
        self._open -= 1
        if error is not None:
            self.fail(str(error))
        elif not self._open and not self.done.done():
            self.done.set_result(None)


async def send(mails: Mails) -> Received:
    """Send the messages, and say what became of them."""
    loop = asyncio.get_running_loop()
    sending = _Sending(mails)
    began, used = time.monotonic(), processor_time()
    for _ in range(mails.connections):
        await loop.create_connection(lambda: _Connection(sending), "127.0.0.1", mails.port)
    await sending.done
    passed = time.monotonic() - began
    return Received(messages=sending.accepted, seconds=passed, share=(processor_time() - used) / passed)


def main() -> None:
    """Answer lines of JSON until standard input ends."""
    pin(int(sys.argv[1]))
    allow_many_files()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        received = uvloop.run(send(Mails(**json.loads(line))))
        print(json.dumps(asdict(received)), flush=True)


if __name__ == "__main__":
    main()
