"""Two PostgreSQLs in one DSN, a primary and its standby by streaming: the one that takes writes is followed."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from policyd.config import EmbeddedConfig
from policyd.observe.events import HistoryReplaced
from policyd.store import embedded
from policyd.store.embedded import account as accounts
from policyd.store.embedded.leftovers import processes
from policyd.store.embedded.server import Server
from policyd.store.migrate import migrate
from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import head, make_token
from tests.integration.outage import KNOWN, ROWS, UNKNOWN, Watched, until_ready, watching

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are recognised in /proc")


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and its standby."""

    primary: Server
    standby: Server

    @property
    def dsn(self) -> str:
        """Both, the primary first."""
        parts = urlsplit(self.primary.dsn())
        directories = ",".join(str(each.layout.run) for each in (self.primary, self.standby))
        return urlunsplit(parts._replace(query=f"host={directories}&port=5432,5432&sslmode=disable"))

    def send(self, number: signal.Signals) -> None:
        for found in processes(self.primary.layout.data):
            os.kill(found.pid, number)

    async def ask_standby(self, question: str) -> Any:
        # Not by policyd's own way, which refuses a standby.
        connection = await asyncpg.connect(self.standby.dsn(), timeout=10)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()

    async def promote(self) -> None:
        assert await self.ask_standby("select pg_promote()")


@pytest.fixture
def pair(fresh_state: Path) -> Iterator[Pair]:
    states = [Path(f"{fresh_state}-{name}") for name in ("a", "b")]
    with (
        embedded.running(EmbeddedConfig(state=states[0]), durable=False) as server,
        asyncio.Runner() as runner,
    ):
        runner.run(_prepare(server.dsn()))
    subprocess.run(["cp", "-a", *map(str, states)], check=True)
    settings = _replication(states[0])
    with embedded.running(EmbeddedConfig(state=states[0]), durable=False, settings=settings) as primary:
        (states[1] / "data" / "standby.signal").touch()
        settings |= {"primary_conninfo": f"host={primary.layout.run} user=postgres sslmode=disable"}
        with embedded.running(EmbeddedConfig(state=states[1]), durable=False, settings=settings) as standby:
            yield Pair(primary, standby)
            for each in (primary, standby):
                for found in processes(each.layout.data):
                    os.kill(found.pid, signal.SIGCONT)


async def _prepare(dsn: str) -> None:
    async with connection_to(dsn) as db:
        await migrate(db)
        await make_token(db)
        await db.execute(ROWS)


def _replication(state: Path) -> dict[str, str]:
    """Settings that let the standby in, which runs as another user than these tests where those are root's."""
    account = accounts.choose(state / "data", wanted="")
    runs_as = account.name if account else pwd.getpwuid(os.geteuid()).pw_name
    ident, hba = state / "replication_ident.conf", state / "replication_hba.conf"
    ident.write_text(f'policyd "{accounts.starter()}" all\npolicyd "{runs_as}" all\n')
    hba.write_text("local all all peer map=policyd\nlocal replication all peer map=policyd\n")
    for path in (ident, hba):
        path.chmod(0o644)
    return {"hba_file": str(hba), "ident_file": str(ident)}


@pytest.fixture
async def watched(pair: Pair) -> AsyncIterator[Watched]:
    """A service that follows the pair, and knows an answer."""
    async with watching(pair.dsn) as service:
        await service.current()
        assert (await service.service.get(KNOWN))[0] == 200
        yield service


async def allow(db: Connection, domain: str) -> str:
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ($1, true)", domain)
    return await head(db)


async def replicated(pair: Pair, position: str) -> None:
    newest = "select number || '-' || stamp from policy.revision order by number desc limit 1"
    async with asyncio.timeout(20):
        while await pair.ask_standby(newest) != position:  # noqa: ASYNC110  (a server has no event to wait for)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("trouble", ["killed", "silent"])
async def test_the_successor_of_a_primary_is_followed_and_what_is_known_goes_on(pair, watched, trouble):
    async with connection_to(pair.primary.dsn()) as db:
        position = await allow(db, "later.example")
    await replicated(pair, position)
    said = watched.said
    # What has lost its power says nothing, not even that nobody is there.
    pair.send(signal.SIGKILL if trouble == "killed" else signal.SIGSTOP)
    await watched.not_current(after=said)
    assert (await watched.service.get(KNOWN))[2]["Policy-Stale"] == "true"
    await pair.promote()
    await watched.current(after=said)
    async with connection_to(pair.standby.dsn()) as db:
        position = await allow(db, "unknown.example")
    assert (await watched.service.get(UNKNOWN, Policy_Position=position))[0] == 200
    assert (await watched.service.get(KNOWN, Policy_Position=position))[0] == 200
    assert (await watched.service.get("/listener-domain/later.example"))[0] == 200
    assert await watched.metric("policyd_history_resets_total") == 0


async def test_commits_that_a_failover_lost_are_answered_to_nobody(pair, watched):
    async with connection_to(pair.primary.dsn()) as db:
        await replicated(pair, await head(db))
        await asyncio.to_thread(pair.standby.stop)
        lost = await allow(db, "unknown.example")
    assert (await watched.service.get(UNKNOWN, Policy_Position=lost))[0] == 200
    said = watched.said
    pair.send(signal.SIGKILL)
    pair.standby.spawn()
    await watched.not_current(after=said)
    await until_ready(pair.standby)
    await pair.promote()
    await watched.service.observations.wait_for(lambda seen: isinstance(seen, HistoryReplaced), after=said)
    assert (await watched.service.get(UNKNOWN))[0] == 404
    assert (await watched.service.get(KNOWN, Policy_Position=lost))[0] == 409
    assert await watched.metric("policyd_history_resets_total") == 1
    assert watched.lines("the database has another history; everything cached was dropped")
