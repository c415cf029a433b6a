"""
The load generator, in a process of its own: GET requests over kept connections, one after another on each.

Raw non-blocking sockets and epoll, because the client must cost less than what it measures; it says how much of its
core it took, so that a row measured against a busy client can be doubted. It is closed-loop: a stall hides the
requests that would have come meanwhile.
"""

import gc
import json
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import count

from tests.bench.machine import allow_many_files, pin, processor_time

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
# Primes that divide no power of ten: k times a stride, modulo the rows, meets each row once.
_STRIDE, _SHUFFLE = 7_919, 104_729
LISTENER_DOMAIN = "/listener-domain/d%08d.example.com?listener=mx%06d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    What to ask whom.

    The k-th path names row `k * 7919 % rows` and, where *path* has room for it, listener `k // rows`. A *cycle* asks for the first so many paths
    again and again (hits, once warm); without one, paths from *first* on are asked once each (misses). Each is asked
    *times* times in a row. With *pause*, 503 is an answer, too, after which a connection waits so many seconds.
    """

    port: int
    rows: int
    first: int = 0
    cycle: int = 0
    most: int = 0
    seconds: float = 60.0
    connections: int = 32
    path: str = LISTENER_DOMAIN
    times: int = 1
    pause: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a load was answered with."""

    requests: int
    found: int
    seconds: float
    p50: float
    p99: float
    longest: float
    client_share: float
    """How much of its core the client took; near 1 it was the client that was measured."""
    body_bytes: float
    shed: int = 0
    """Requests that were told to come again."""
    shed_p99: float = 0.0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds


def path_of(path: str, rows: int, k: int) -> str:
    """The k-th path."""
    return path % (k * _STRIDE % rows, k // rows)[: path.count("%")]


def _requests(load: Load) -> Iterator[bytes]:
    headers = "".join(f"{name}: {value}\r\n" for name, value in load.headers.items())
    tail = f" HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\n{headers}\r\n".encode()
    if load.cycle:
        # Made beforehand: the client shall do less than what it measures.
        ready = [
            b"GET %b%b" % (path_of(load.path, load.rows, k * _SHUFFLE % load.cycle).encode(), tail)
            for k in range(load.cycle)
        ]
        while True:
            yield from ready
    rows = load.rows
    template = f"GET {load.path}".encode() + tail.replace(b"%", b"%%")
    names = template.count(b"%0")
    for k in count(load.first):
        request = template % (k * _STRIDE % rows, k // rows)[:names]
        for _ in range(load.times):
            yield request


def run(load: Load) -> Answered:
    """Ask until the time is over or *most* requests were answered."""
    sockets = {connection.fileno(): connection for connection in _connect(load)}
    poll = select.epoll()
    for number in sockets:
        poll.register(number, select.EPOLLIN)
    asked = _ask(load, _requests(load), sockets, poll)
    for connection in sockets.values():
        connection.close()
    poll.close()
    if not asked.times:
        raise RuntimeError(f"nothing was answered; {len(asked.shed)} were told to come again")
    times, shed = sorted(asked.times), sorted(asked.shed)
    return Answered(
        requests=len(times),
        found=asked.found,
        seconds=asked.seconds,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        longest=times[-1],
        client_share=asked.share,
        body_bytes=asked.body_bytes / len(times),
        shed=len(shed),
        shed_p99=shed[len(shed) * 99 // 100] if shed else 0.0,
    )


@dataclass(slots=True)
class _Asked:
    """What came back, as it came."""

    times: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    found: int = 0
    body_bytes: int = 0
    seconds: float = 0.0
    share: float = 0.0


def _connect(load: Load) -> Iterator[socket.socket]:
    for _ in range(load.connections):
        connection = socket.create_connection(("127.0.0.1", load.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        yield connection


def _ask(
    load: Load, requests: Iterator[bytes], sockets: dict[int, socket.socket], poll: select.epoll
) -> _Asked:
    clock = time.perf_counter
    lengths: dict[bytes, tuple[int, int]] = {}
    sent: dict[int, float] = {}
    partial: dict[int, bytes] = {}
    resting: deque[tuple[float, int]] = deque()
    asked = _Asked()
    times = asked.times
    most = load.most or sys.maxsize
    used, began = processor_time(), clock()
    for number, connection in sockets.items():
        connection.send(next(requests))
        sent[number] = clock()
    deadline = began + load.seconds
    while (now := clock()) < deadline and len(times) < most:
        while resting and resting[0][0] <= now:
            number = resting.popleft()[1]
            sockets[number].send(next(requests))
            sent[number] = now
        for number, _ in poll.poll(max(0.0, resting[0][0] - now) if resting else 1.0):
            connection = sockets[number]
            data = connection.recv(65_536)
            if not data:
                raise ConnectionError("the service closed a connection")
            if partial:
                data = partial.pop(number, b"") + data
            end = data.find(b"\r\n\r\n")
            head = data[:end]
            known = lengths.get(head)
            if known is None:
                if end < 0:
                    partial[number] = data
                    continue
                known = lengths[head] = _read_head(head, may_be_shed=load.pause > 0)
            if len(data) < end + 4 + known[0]:
                partial[number] = data
                continue
            if known[1] == 503:
                now = clock()
                asked.shed.append(now - sent[number])
                resting.append((now + load.pause, number))
                continue
            connection.send(next(requests))
            now = clock()
            times.append(now - sent[number])
            sent[number] = now
            asked.found += known[1] == 200
            asked.body_bytes += known[0]
    asked.seconds = now - began
    asked.share = (processor_time() - used) / asked.seconds
    return asked


def _read_head(head: bytes, *, may_be_shed: bool) -> tuple[int, int]:
    status = int(head[9:12])
    length = _LENGTH.search(head)
    if length is None or not (status in (200, 404) or (status == 503 and may_be_shed)):
        raise ConnectionError(f"not an answer: {head[:200]!r}")
    return int(length[1]), status


def main() -> None:
    """Answer each line of JSON, a `Load`, with a line of JSON, an `Answered`."""
    pin(int(sys.argv[1]))
    allow_many_files()
    gc.disable()
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(run(Load(**json.loads(line))))), flush=True)
        gc.collect()


if __name__ == "__main__":
    main()
