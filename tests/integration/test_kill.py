"""kill -9 of anybody at any moment: what was committed is there, and nobody has to repair anything."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from policyd.config import EmbeddedConfig
from policyd.errors import PolicydError
from policyd.shipped import example_root
from policyd.store import embedded
from policyd.store.embedded.leftovers import processes
from policyd.store.embedded.server import DATABASE, SUPERUSER, Server
from policyd.store.migrate import migrate
from policyd.store.pool import translated
from tests.conftest import connection_to
from tests.integration.conftest import TOKEN, head, make_token
from tests.integration.outage import until_ready
from tests.integration.processes import Process, process

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are recognised in /proc")


@pytest.fixture(scope="module")
def server(state_directory: Path) -> Iterator[Server]:
    """A PostgreSQL as it is for people: what it has acknowledged is on the disk."""
    with embedded.running(EmbeddedConfig(state=state_directory / "killed")) as running:
        with asyncio.Runner() as runner:
            runner.run(_prepare(running.dsn()))
        yield running


async def _prepare(dsn: str) -> None:
    async with connection_to(dsn) as db:
        await migrate(db)
        await make_token(db)


@dataclass(slots=True)
class Writer:
    """Commits row after row, and knows which were acknowledged."""

    dsn: str
    acknowledged: list[str] = field(default_factory=list)
    tried: int = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(PolicydError):
                async with connection_to(self.dsn) as db:
                    while True:
                        self.tried += 1
                        domain = f"d{self.tried}.example"
                        with translated():
                            await db.execute(
                                "insert into policy.listener_domain (domain) values ($1)", domain
                            )
                        self.acknowledged.append(domain)
                        await asyncio.sleep(0.002)
            await asyncio.sleep(0.01)

    async def more(self, count: int) -> None:
        wanted = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110  (a count has no event)
                await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def writing(dsn: str) -> AsyncIterator[Writer]:
    writer = Writer(dsn)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def restart(server: Server) -> None:
    await server.ended()
    await asyncio.to_thread(server.clear)
    server.spawn()
    await until_ready(server)


VICTIMS = [["backend"], ["postmaster"], ["service", "postmaster"]]


@pytest.mark.parametrize("victims", VICTIMS, ids=" and ".join)
async def test_whoever_is_killed_no_committed_row_is_lost_and_nothing_needs_repair(server, victims):
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(process(server.dsn()))
        writer = await stack.enter_async_context(writing(server.dsn()))
        await service.says("current")
        await writer.more(20)
        await asyncio.sleep(random.uniform(0, 0.02))
        _kill(server, service, victims)
        if "postmaster" in victims:
            await restart(server)
        if "service" in victims:
            assert await service.ended() == -signal.SIGKILL
            service = await stack.enter_async_context(process(server.dsn()))
        await writer.more(20)
        await _holds(server.dsn(), await service.url(), list(writer.acknowledged))
        async with connection_to(server.dsn()) as db:
            await db.execute(
                "set policy.allow_mass_change = 'the next test'; delete from policy.listener_domain"
            )


def _kill(server: Server, service: Process, victims: list[str]) -> None:
    found = list(processes(server.layout.data))
    doomed: dict[str, Sequence[int | None]] = {
        "service": [service.pid],
        "postmaster": [server.pid],
        "backend": [
            each.pid for each in found if f"{SUPERUSER} {DATABASE} [local] " in " ".join(each.command)
        ],
    }
    for victim in victims:
        pid = doomed[victim][0]
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


async def _holds(dsn: str, url: str, domains: list[str]) -> None:
    """Every one of *domains* is a row, stands in the log with an unbroken row of revisions, and is answered."""
    async with connection_to(dsn) as db:
        rows = {row["domain"] for row in await db.fetch("select domain from policy.listener_domain")}
        assert set(domains) <= rows
        logged = await db.fetch("select new ->> 'domain' as domain from policy.change where op = 'insert'")
        assert set(domains) <= {row["domain"] for row in logged}
        gap = "select count(*) = max(number) - min(number) + 1 from policy.revision"
        assert await db.fetchval(gap)
        position = await head(db)
    headers = {"Authorization": f"Bearer {TOKEN}", "Policy-Position": position}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(60):
        status, answers = 503, []
        while status == 503:
            async with session.post(
                f"{url}/batch", json=[f"/listener-domain/{domain}" for domain in domains[-1000:]]
            ) as reply:
                status, answers = reply.status, await reply.json()
    assert {answer["status"] for answer in answers} == {200}


async def test_an_import_that_is_killed_leaves_all_or_nothing(server):
    environ = {**os.environ, "POLICYD_DATABASE_DSN": server.dsn()}
    command = [sys.executable, "-m", "policyd", "import", str(example_root())]
    count = "select count(*) from policy.tenant"
    async with connection_to(server.dsn()) as db:
        before = await db.fetchval(count)
        importing = subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        at_work = "select count(*) from pg_locks where relation = 'policy.tenant'::regclass and mode = 'RowExclusiveLock'"
        async with asyncio.timeout(60):
            while not await db.fetchval(at_work) and importing.poll() is None:
                pass
        importing.kill()
        importing.wait()
        assert await db.fetchval(count) == before
        assert subprocess.run(command, env=environ, check=False, capture_output=True).returncode == 0
        assert await db.fetchval(count) > before
