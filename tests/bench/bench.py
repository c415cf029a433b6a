"""What every row is measured with."""

import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from statistics import median

from policyd.config import CacheConfig
from tests.bench import children
from tests.bench.children import Client, Server
from tests.bench.client import LISTENER_DOMAIN, Answered, Load
from tests.bench.databases import TOKEN, Databases, connection_to
from tests.bench.machine import Cores

FEW_ROWS = 1_000
CONNECTIONS = 64
# What kumod sends; nodes that have heard of no change lately send the head of the log with it.
HEAD = "select number || '-' || stamp from policy.revision order by number desc limit 1"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json", "User-Agent": "kumod bench"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    rows: int
    seconds: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A load's answers, and what they cost the server."""

    answered: Answered
    server_cpu: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answered.rate

    @property
    def cost(self) -> float:
        """Seconds of the server's processor per answer: what remains the same when others use the core, too."""
        return self.server_cpu / self.answered.requests


@dataclass(slots=True, kw_only=True)
class Bench:
    """Databases, processes, and the longest stall so far."""

    sizes: Sizes
    where: Cores
    databases: Databases
    client: Client
    stack: AsyncExitStack
    stalls: dict[str, tuple[float, float]] = field(default_factory=dict)
    _services: dict[int, Server] = field(default_factory=dict)
    _asked: dict[int, int] = field(default_factory=dict)

    async def service(self, rows: int) -> Server:
        """The replica on the database with *rows* domains; one for all rows of the table that need it."""
        if rows not in self._services:
            dsn = await self.databases.with_rows(rows)
            self._services[rows] = await self.another(dsn)
        return self._services[rows]

    async def another(self, dsn: str, *more: str) -> Server:
        """A new replica."""
        started = await self.stack.enter_async_context(
            children.server(self.where, "service", dsn, str(CacheConfig().bytes), *more)
        )
        async with connection_to(dsn) as connection:
            started.position = await connection.fetchval(HEAD)
        # Connections, prepared statements and the token are a first request's, and nobody measures them.
        await self.client.load(
            Load(port=started.port, rows=FEW_ROWS, cycle=10, most=500, connections=8, headers=HEADERS)
        )
        await started.stall()
        return started

    async def hits(
        self,
        server: Server,
        rows: int,
        keys: int,
        connections: int = CONNECTIONS,
        path: str = LISTENER_DOMAIN,
    ) -> Loaded:
        """Answers from the cache; the first *keys* paths must have been asked for (`warm`)."""
        return await self._load(
            server,
            Load(
                port=server.port,
                rows=rows,
                cycle=keys,
                seconds=self.sizes.seconds,
                connections=connections,
                path=path,
                headers=_headers(server),
            ),
        )

    async def warm(self, server: Server, rows: int, keys: int, path: str = LISTENER_DOMAIN) -> Loaded:
        """Ask once for each of the first *keys* paths."""
        self._asked[server.port] = max(keys, self._asked.get(server.port, 0))
        return await self._load(
            server, Load(port=server.port, rows=rows, most=keys, connections=32, path=path, headers=HEADERS)
        )

    async def misses(
        self,
        server: Server,
        rows: int,
        connections: int = CONNECTIONS,
        most: int = 0,
        path: str = LISTENER_DOMAIN,
    ) -> Loaded:
        """Answers that nobody asked for before, for the usual time or until there are *most*."""
        first = self._asked.get(server.port, 0)
        loaded = await self._load(
            server,
            Load(
                port=server.port,
                rows=rows,
                first=first,
                most=most,
                seconds=600.0 if most else self.sizes.seconds,
                connections=connections,
                path=path,
                headers=_headers(server),
            ),
        )
        self._asked[server.port] = first + loaded.answered.requests + connections
        return loaded

    async def load(self, server: Server, load: Load) -> Loaded:
        """Any other load."""
        return await self._load(server, replace(load, port=server.port, headers=_headers(server)))

    async def note_stall(self, server: Server, what: str) -> None:
        """Remember how long the server's loop stood still during *what*."""
        worked, passed = await server.stall()
        before = self.stalls.get(what, (0.0, 0.0))
        self.stalls[what] = max(worked, before[0]), max(passed, before[1])

    async def _load(self, server: Server, load: Load) -> Loaded:
        used = await server.cpu()
        answered = await self.client.load(load)
        return Loaded(answered=answered, server_cpu=await server.cpu() - used)


def _headers(server: Server) -> dict[str, str]:
    return {**HEADERS, "Policy-Position": server.position}


def progress(text: str) -> None:
    """Say what is measured now."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def details(loads: list[Loaded], what: str) -> str:
    """Absolute numbers, for whoever doubts a ratio."""
    rate = median(load.rate for load in loads)
    cost = median(load.cost for load in loads) * 1e6
    share = max(load.answered.client_share for load in loads)
    busy = "" if share < 0.9 else f", CLIENT {share:.0%} BUSY"
    return f"{what} {rate:,.0f}/s, {cost:.0f} µs of its core{busy}"
