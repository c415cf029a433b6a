"""Rows about more than can be done: what is still answered, and what the others feel of it."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from itertools import count
from statistics import median
from typing import Any

import aiohttp

from tests.bench.bench import FEW_ROWS, HEADERS, Bench, Loaded, details
from tests.bench.children import Server
from tests.bench.client import Load
from tests.bench.databases import connection_to
from tests.bench.lookup_rows import KEYS
from tests.bench.table import Row, spread

_FEW, _MANY = 64, 4_000
_NODES, _EACH = 10, 64
_COLD = 20_000
_POLLS = 2_000
_numbers = count()


async def overload(bench: Bench) -> Row:
    """Misses over as many connections as are good, and over far too many."""
    rows = bench.sizes.rows
    service = await bench.service(rows)
    good: list[Loaded] = []
    over: list[Loaded] = []
    first = count(10**7, 10**6)
    for _ in range(bench.sizes.rounds):
        for loads, connections in ((good, _FEW), (over, _MANY)):
            load = Load(
                port=0, rows=rows, first=next(first), seconds=5 * bench.sizes.seconds,
                connections=connections, pause=1.0,
            )  # fmt: skip
            loads.append(await bench.load(service, load))
        await bench.note_stall(service, "overload")
    ratios = [b.rate / a.rate for a, b in zip(good, over, strict=True)]
    p99 = median(load.answered.p99 for load in over)
    shed = median(load.answered.shed / (load.answered.shed + load.answered.requests) for load in over)
    shed_p99 = median(load.answered.shed_p99 for load in over)
    return Row(
        what=f"misses answered over {_MANY:,} connections / over {_FEW}",
        goal="",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=(
            f"{shed:.0%} told to come again, p99 {shed_p99 * 1e3:.0f} ms; the others' p99 {p99 * 1e3:.0f} ms; "
            f"{details(over, 'misses')}"
        ),
        values={"ratio": median(ratios), "p99": p99, "shed": shed},
    )


async def stampede(bench: Bench) -> Row:
    """A replica that has just started, and ten nodes that want the same keys of it at once."""
    rows = bench.sizes.rows
    dsn = await bench.databases.with_rows(rows)
    keys = min(_COLD, rows)
    load = Load(port=0, rows=rows, most=keys * _NODES, times=_NODES, connections=_NODES * _EACH)
    cold, warm = [], []
    for _ in range(bench.sizes.rounds):
        replica = await bench.another(dsn)
        cold.append(await bench.load(replica, load))
        warm.append(await bench.load(replica, load))
        await bench.note_stall(replica, "stampede")
    ratios = [a.answered.seconds / b.answered.seconds for a, b in zip(cold, warm, strict=True)]
    p99 = median(load.answered.p99 for load in cold)
    return Row(
        what=f"{_NODES} nodes ask for {keys:,} keys each at once, cold / warm, time",
        goal="",
        measured=f"{median(ratios):.1f}",
        spread=spread(ratios),
        notes=(
            f"cold {median(load.answered.seconds for load in cold):.1f} s, p99 {p99 * 1e3:.0f} ms, "
            f"{_NODES * _EACH} connections; {details(cold, 'cold')}"
        ),
        values={"ratio": median(ratios), "p99": p99},
    )


async def slow_kinds(bench: Bench) -> Row:
    """Hits and misses while logins are guessed by the hundred and every plan waits for a Vault that hangs."""
    rows = min(bench.sizes.rows, 100_000)
    dsn = await bench.databases.with_rows(rows, "_slow")
    async with connection_to(dsn) as connection:
        await connection.execute("update policy.api_token set scopes = array['lookup', 'auth']")
        await connection.execute("update policy.dkim_settings set selector = 's1'")
        await connection.execute("insert into policy.dkim_domain (domain) values ('*.slow.example')")
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as silent:
        replica = await bench.another(dsn, f"http://127.0.0.1:{silent.getsockname()[1]}")
        await bench.warm(replica, rows, KEYS)
        alone, beside = [], []
        for _ in range(bench.sizes.rounds):
            alone.append((await bench.hits(replica, rows, KEYS), await bench.misses(replica, rows)))
            async with _flood(replica):
                beside.append((await bench.hits(replica, rows, KEYS), await bench.misses(replica, rows)))
            await bench.note_stall(replica, "slow kinds")
    hits = [b[0].rate / a[0].rate for a, b in zip(alone, beside, strict=True)]
    misses = [b[1].rate / a[1].rate for a, b in zip(alone, beside, strict=True)]
    return Row(
        what="hits and misses while logins are guessed and plans wait for a Vault that hangs / alone",
        goal="",
        measured=f"{median(hits):.2f}, {median(misses):.2f}",
        spread=spread(misses),
        notes=f"p99 of hits {_p99(beside, 0)}, of misses {_p99(beside, 1)}; alone {_p99(alone, 0)}, {_p99(alone, 1)}",
        values={"hits": median(hits), "misses": median(misses)},
    )


def _p99(loads: list[tuple[Loaded, Loaded]], which: int) -> str:
    return f"{median(each[which].answered.p99 for each in loads) * 1e3:.1f} ms"


@contextlib.asynccontextmanager
async def _flood(server: Server) -> AsyncIterator[None]:
    """A hundred logins and a hundred plans under way all the time."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{server.port}", headers=HEADERS, connector=connector
    ) as session:

        async def guess() -> None:
            while True:
                number = next(_numbers)
                peer = f"10.{number >> 8 & 255}.{number & 255}.1"
                body = {"username": f"u{number}", "password": "wrong", "peer": peer}
                async with session.post("/smtp-auth", json=body) as response:
                    await _rest(response)

        async def plan() -> None:
            while True:
                async with session.get(f"/dkim/d{next(_numbers)}.slow.example") as response:
                    await _rest(response)

        tasks = [asyncio.create_task(each()) for _ in range(100) for each in (guess, plan)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _rest(response: aiohttp.ClientResponse) -> None:
    await response.read()
    if response.status == 503:
        await asyncio.sleep(float(response.headers["Retry-After"]))


async def long_polls(bench: Bench) -> Row:
    """What two thousand nodes that wait for changes cost: memory, hits meanwhile, and a commit."""
    rows = FEW_ROWS
    dsn = await bench.databases.with_rows(rows, "_polls")
    replica = await bench.another(dsn)
    await bench.warm(replica, rows, rows)
    alone = [await bench.hits(replica, rows, rows) for _ in range(bench.sizes.rounds)]
    before = await replica.resident()
    async with connection_to(dsn) as connection, _polling(replica) as polls:
        each = (await replica.resident() - before) / _POLLS
        beside = [await bench.hits(replica, rows, rows) for _ in range(bench.sizes.rounds)]
        costs, passed = [], []
        for number in range(bench.sizes.rounds):
            await replica.stall()  # two thousand requests in the same moment are the bench's doing
            used, began = await replica.cpu(), time.perf_counter()
            await connection.execute(
                "update policy.listener_domain set relay_to = not relay_to where domain = $1",
                f"d{number:08d}.example.com",
            )
            await polls.answered()
            passed.append(time.perf_counter() - began)
            costs.append((await replica.cpu() - used) / _POLLS)
            await bench.note_stall(replica, "long-polls")
            await polls.ask()
    ratios = [b.rate / a.rate for a, b in zip(alone, beside, strict=True)]
    return Row(
        what=f"hits while {_POLLS:,} long-polls are open / alone",
        goal="",
        measured=f"{median(ratios):.2f}",
        spread=spread(ratios),
        notes=(
            f"{each / 1024:.1f} KiB each; a commit costs {median(costs) * 1e6:.0f} µs of the core for each, "
            f"all are answered after {median(passed) * 1e3:.0f} ms"
        ),
        values={"ratio": median(ratios), "bytes": each, "cpu": median(costs)},
    )


class _Polls:
    """Two thousand long-polls on raw sockets, which cost the bench little."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sockets: list[socket.socket] = []
        self._position = server.position

    async def open(self) -> None:
        for _ in range(_POLLS):
            connection = socket.create_connection(("127.0.0.1", self._server.port))
            connection.setblocking(False)
            self._sockets.append(connection)
        await self.ask()

    async def ask(self) -> None:
        """Ask all of them, and wait until the service has read it."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        request = (
            f"GET /changes?wait=60&position={self._position} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()
        )
        for connection in self._sockets:
            connection.send(request)
        used = -1.0
        while (now := await self._server.cpu()) - used > 0.005:
            used = now
            await asyncio.sleep(0.1)

    async def answered(self) -> None:
        """Wait until all are answered; they know the new position then."""
        loop = asyncio.get_running_loop()
        replies: list[Any] = await asyncio.gather(
            *(loop.sock_recv(connection, 65_536) for connection in self._sockets)
        )
        self._position = str(replies[0].partition(b"Policy-Position: ")[2].partition(b"\r\n")[0].decode())

    def close(self) -> None:
        for connection in self._sockets:
            connection.close()


@contextlib.asynccontextmanager
async def _polling(server: Server) -> AsyncIterator[_Polls]:
    polls = _Polls(server)
    try:
        await polls.open()
        yield polls
    finally:
        polls.close()
