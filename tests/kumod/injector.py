"""
A child process that sends mail as fast as it is taken: `python injector.py PORT SECONDS CONNECTIONS NAMES` prints messages, and per second.

Each message has one of NAMES sender domains and tenants, drawn at random; for 0 SECONDS, each of them once.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterator

import uvloop

BODY = "From: x@%s\r\nTo: y@dest.example\r\nX-Tenant: %s\r\nSubject: s\r\n\r\n" + "x" * 500 + "\r\n.\r\n"


def domain(number: int) -> str:
    return f"d{number}.example"


def tenant(number: int) -> str:
    return f"t{number}"


async def connection(port: int, names: Iterator[int]) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()
    writer.write(b"EHLO client.example\r\n")
    while (await reader.readline())[3:4] == b"-":
        pass
    sent = 0
    for name in names:
        head = f"MAIL FROM:<x@{domain(name)}>\r\nRCPT TO:<y@dest.example>\r\nDATA\r\n"
        writer.write(head.encode())
        replies = [await reader.readline() for _ in range(3)]
        if not replies[2].startswith(b"354"):
            raise SystemExit(b"".join(replies).decode())
        writer.write((BODY % (domain(name), tenant(name))).encode())
        reply = await reader.readline()
        if not reply.startswith(b"250"):
            raise SystemExit(reply.decode())
        sent += 1
    writer.close()
    return sent


def drawn(until: float, names: int) -> Iterator[int]:
    while time.monotonic() < until:
        yield random.randrange(names)


async def main(port: int, seconds: float, connections: int, names: int) -> None:
    began = time.monotonic()
    each = iter(range(names))  # shared by all
    sent = await asyncio.gather(
        *(connection(port, drawn(began + seconds, names) if seconds else each) for _ in range(connections))
    )
    print(sum(sent), sum(sent) / (time.monotonic() - began))  # noqa: T201


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
