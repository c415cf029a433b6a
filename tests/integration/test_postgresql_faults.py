"""Whatever happens to PostgreSQL itself: what is known is served and marked, and all is well again by itself."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from policyd.config import EmbeddedConfig
from policyd.errors import DatabaseUnavailable
from policyd.observe.events import BackendReached
from policyd.store import embedded
from policyd.store.embedded.leftovers import processes
from policyd.store.embedded.server import Server
from policyd.store.migrate import migrate
from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import make_token
from tests.integration.outage import KNOWN, ROWS, survives, until_ready, watching

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are recognised in /proc")

PLACES = 12
"""Connections that the server has room for, three of them for superusers."""


@pytest.fixture(scope="module")
def server(state_directory: Path) -> Iterator[Server]:
    """A PostgreSQL that these tests may maltreat, with a role that is no superuser."""
    settings = {"max_connections": str(PLACES), "superuser_reserved_connections": "3"}
    config = EmbeddedConfig(state=state_directory / "maltreated")
    with embedded.running(config, durable=False, settings=settings) as running:
        with asyncio.Runner() as runner:
            runner.run(_prepare(running.dsn()))
        yield running


async def _prepare(dsn: str) -> None:
    async with connection_to(dsn) as db:
        await migrate(db)
        await make_token(db)
        await db.execute(ROWS)
        await db.execute("create role modest login in role policyd_service")


@pytest.fixture
def modest(server: Server) -> str:
    """DSN of the role that policyd logs in as."""
    parts = urlsplit(server.dsn())
    return urlunsplit(parts._replace(netloc="modest@"))


async def start(server: Server) -> None:
    server.spawn()
    await until_ready(server)


async def end_sessions(db: Connection, *, but: str = "") -> None:
    await db.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where usename = 'modest' and application_name <> $1",
        but,
    )


async def test_an_outage_while_postgresql_is_stopped_serves_what_is_known(server, modest):
    async def stop() -> None:
        await asyncio.to_thread(server.stop)

    reasons = await survives(modest, stop, lambda: start(server), "unreachable")
    assert "PostgreSQL cannot be reached: its socket is not there" in reasons


async def test_an_outage_while_postgresql_is_killed_serves_what_is_known(server, modest):
    async def kill() -> None:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        await server.ended()

    async def recover() -> None:
        await asyncio.to_thread(server.clear)
        await start(server)

    await survives(modest, kill, recover, "unreachable")


async def test_a_quick_restart_of_postgresql_is_not_felt_by_who_asks_for_what_is_known(server, modest):
    async with watching(modest) as watched:
        await watched.current()
        assert (await watched.service.get(KNOWN))[0] == 200
        said = watched.said
        await asyncio.to_thread(server.stop)
        restarted = asyncio.create_task(start(server))
        while not restarted.done():
            assert (await watched.service.get(KNOWN))[0] == 200
            await asyncio.sleep(0.01)
        await watched.service.observations.wait_for(lambda seen: isinstance(seen, BackendReached), after=said)
        assert (await watched.service.get("/queue/new.example"))[0] == 200


async def test_an_outage_while_postgresql_is_paused_serves_what_is_known(server, modest):
    async def pause() -> None:
        for found in processes(server.layout.data):
            os.kill(found.pid, signal.SIGSTOP)

    async def resume() -> None:
        for found in processes(server.layout.data):
            os.kill(found.pid, signal.SIGCONT)

    assert await survives(modest, pause, resume, "timeout") == {"PostgreSQL did not answer in time"}


async def test_an_outage_while_postgresql_is_slow_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db:

        async def slow_down() -> None:
            async with db.transaction():
                await db.execute("alter table policy.revision rename to quick")
                await db.execute(
                    "create view policy.revision as"
                    " select * from policy.quick where (select pg_sleep(0.5)::text) is not null"
                )
                await db.execute("grant select on policy.revision to policyd_service")

        async def speed_up() -> None:
            async with db.transaction():
                await db.execute("drop view policy.revision")
                await db.execute("alter table policy.quick rename to revision")

        await survives(modest, slow_down, speed_up, "timeout")


async def test_an_outage_while_somebody_locks_a_table_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db:
        transaction = db.transaction()

        async def lock() -> None:
            await transaction.start()
            await db.execute("lock table policy.revision in access exclusive mode")

        await survives(modest, lock, transaction.rollback, "timeout")


async def test_an_outage_while_all_connections_are_taken_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db, contextlib.AsyncExitStack() as taken:

        async def take() -> None:
            left = PLACES - 3 - 1  # ours is one of them
            while left:
                await end_sessions(db, but="policyd test")
                with contextlib.suppress(DatabaseUnavailable):  # the service was quicker
                    await taken.enter_async_context(connection_to(modest))
                    left -= 1

        async with asyncio.timeout(60):
            (reason,) = await survives(modest, take, taken.aclose, "full")
    assert "remaining connection slots are reserved" in reason


async def test_an_outage_while_postgresql_is_read_only_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db:
        await db.execute("set default_transaction_read_only = off")

        async def forbid() -> None:
            await db.execute("alter system set default_transaction_read_only = on")
            await db.execute("select pg_reload_conf()")

        async def allow() -> None:
            await db.execute("alter system reset default_transaction_read_only")
            await db.execute("select pg_reload_conf()")

        reasons = await survives(modest, forbid, allow, "read-only")
    assert reasons == {
        "PostgreSQL takes no more writes: it has become read-only",
        "no PostgreSQL there takes writes: it is a standby, or read-only",
    }


async def test_an_outage_while_policyd_is_not_let_in_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db:

        async def shut_out() -> None:
            await db.execute("alter role modest nologin")
            await end_sessions(db)

        async def let_in() -> None:
            await db.execute("alter role modest login")

        reasons = await survives(modest, shut_out, let_in, "login")
    assert reasons == {'role "modest" is not permitted to log in'}


async def test_an_outage_while_the_schema_is_newer_than_the_code_serves_what_is_known(server, modest):
    async with connection_to(server.dsn()) as db:

        async def migrate_further() -> None:
            await db.execute(
                "insert into policy.migration (number, name, breaking) values (9001, '9001_new.sql', true)"
            )

        async def restore() -> None:
            await db.execute("delete from policy.migration where number = 9001")

        reasons = await survives(modest, migrate_further, restore, "schema")
    for reason in reasons:
        assert "newer than this policyd: it was migrated to number 9001" in reason
        assert "run the policyd that migrated it" in reason
