"""What policyd promises of every outage of PostgreSQL, as one story that a fault is put into."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from io import StringIO
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from policyd.config import Config
from policyd.errors import Trouble
from policyd.observe.events import BackendLost, CurrencyLost, CurrencyRegained
from policyd.store.embedded import Server
from policyd.units import Seconds
from tests.integration.conftest import Service, make_config, serving
from tests.logged import logged

LEASE = 0.5
KNOWN, UNKNOWN = "/listener-domain/known.example", "/listener-domain/unknown.example"
ROWS = "insert into policy.listener_domain (domain, relay_to) values ('known.example', true)"

Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Watched:
    """A service, what it logs, and what it shows to Prometheus."""

    service: Service
    log: StringIO

    @property
    def said(self) -> int:
        return len(self.service.observations.seen)

    def lines(self, message: str) -> list[dict[str, Any]]:
        written = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in written if line["message"] == message]

    async def metric(self, name: str, *labels: str) -> float:
        async with self.service.session.get(self.service.admin_url + "/metrics") as response:
            text = await response.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if (sample.name, *sample.labels.values()) == (name, *labels)
        )

    async def readiness(self) -> int:
        async with self.service.session.get(self.service.admin_url + "/readyz") as response:
            return response.status

    async def current(self, *, after: int = 0) -> None:
        await self.service.observations.wait_for(lambda seen: isinstance(seen, CurrencyRegained), after=after)

    async def lost(self, trouble: Trouble, *, after: int) -> BackendLost:
        found = await self.service.observations.wait_for(
            lambda seen: isinstance(seen, BackendLost) and seen.trouble == trouble, after=after
        )
        assert isinstance(found, BackendLost)
        return found

    async def not_current(self, *, after: int) -> None:
        await self.service.observations.wait_for(lambda seen: isinstance(seen, CurrencyLost), after=after)


def impatient(config: Config) -> Config:
    """*config* with deadlines that a test can wait for."""
    database = replace(config.database, connect_timeout=Seconds(1.0), statement_timeout=Seconds(0.3))
    return replace(config, database=database, lookup=replace(config.lookup, deadline=Seconds(0.6)))


@asynccontextmanager
async def watching(dsn: str) -> AsyncIterator[Watched]:
    """A service that soon notices whatever happens to the database at *dsn*."""
    with logged("info", "json") as log:
        async with serving(impatient(make_config(dsn, lease=LEASE, poll=0.05))) as service:
            yield Watched(service, log)


@asynccontextmanager
async def changed(
    dsn: str, change: Callable[[Config], Config] = lambda config: config
) -> AsyncIterator[Watched]:
    """A current service with *change* in its configuration."""
    with logged("info", "json") as log:
        async with serving(change(make_config(dsn))) as service:
            watched = Watched(service, log)
            await watched.current()
            yield watched


def lookup(config: Config, **settings: Any) -> Config:
    """*config* with other settings of the lookup listener."""
    return replace(config, lookup=replace(config.lookup, **settings))


async def survives(dsn: str, begin: Step, end: Step, trouble: Trouble) -> set[str]:
    """
    Let a service live through an outage that *begin* makes and *end* mends; what the log said was the matter.

    It serves what it has and marks it, says 503 to what it cannot know, does not ask without pauses, is current again
    by itself, and shows all that. One that is started meanwhile starts, and is as good afterwards.
    """
    async with watching(dsn) as watched:
        await watched.current()
        assert await _answers(watched, KNOWN) == (200, False)
        said = watched.said
        await begin()
        await watched.lost(trouble, after=said)
        await watched.not_current(after=said)
        assert await _answers(watched, KNOWN) == (200, True)
        assert await _answers(watched, UNKNOWN) == (503, False)
        assert (await watched.service.get("/changes?wait=0"))[0] == 503
        assert await watched.readiness() == 200
        assert await watched.metric("policyd_current") == 0
        assert await watched.metric("policyd_backend_up", "postgresql") == 0
        assert await watched.metric("policyd_backend_troubles_total", "postgresql", trouble) >= 1
        async with watching(dsn) as late:
            await late.lost(trouble, after=0)
            assert await late.readiness() == 503
            assert (await late.service.get("/openapi.json"))[0] == 200
            assert await _answers(late, KNOWN) == (503, False)
            await end()
            for each in (watched, late):
                await each.current(after=said if each is watched else 0)
                assert await _answers(each, KNOWN) == (200, False)
                assert await _answers(each, UNKNOWN) == (404, False)
                assert await each.readiness() == 200
                assert await each.metric("policyd_current") == 1
                assert await each.metric("policyd_backend_up", "postgresql") == 1
                assert each.lines("current")
        assert_paced([seen for seen in watched.service.observations.seen if isinstance(seen, BackendLost)])
        lines = watched.lines("backend lost") + late.lines("backend lost")
        return {line["reason"] for line in lines if line["trouble"] == trouble}


def assert_paced(lost: list[BackendLost]) -> None:
    """Pauses grow, are never the same twice, and end at five seconds."""
    pauses = [seen.retry_in for seen in lost]
    assert all(0.05 <= pause <= 5 for pause in pauses)
    assert len(set(pauses)) == len(pauses)
    assert all(later > earlier / 2 for earlier, later in pairwise(pauses[1:])), pauses


async def until_ready(server: Server) -> None:
    """Wait until a server that was spawned accepts connections."""
    async with asyncio.timeout(60):
        while not server.is_ready():  # noqa: ASYNC110  (a server has no event to wait for)
            await asyncio.sleep(0.01)


async def _answers(watched: Watched, path: str) -> tuple[int, bool]:
    async with asyncio.timeout(10):
        status, _, headers = await watched.service.get(path)
    assert status != 503 or headers["Retry-After"] == "1"
    return status, "Policy-Stale" in headers
