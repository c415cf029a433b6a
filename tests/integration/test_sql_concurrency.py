"""
What several writers at once see, and what they do not have to wait for.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.sql_log import head


@contextlib.asynccontextmanager
async def sessions(dsn: str, number: int) -> AsyncIterator[list[asyncpg.Connection]]:
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(number):
            connection = await asyncpg.connect(dsn)
            stack.push_async_callback(connection.close, timeout=5)
            opened.append(connection)
        yield opened


async def waits(db: asyncpg.Connection, other: asyncpg.Connection) -> None:
    """Return once the other session waits for a lock."""
    async with asyncio.timeout(10):
        blocked = "select cardinality(pg_blocking_pids($1)) > 0 from pg_sleep(0.01)"
        while not await db.fetchval(blocked, other.get_server_pid()):
            pass


async def test_two_transactions_on_the_same_rows_do_not_deadlock(db, dsn):
    await db.execute("insert into policy.tenant (name) values ('a'), ('b')")
    before = await head(db)

    async def change(session: asyncpg.Connection, names: str) -> None:
        for turn in range(10):
            async with session.transaction():
                for name in names:
                    await session.execute(
                        "update policy.tenant set options = jsonb_build_object('max_age', $2::integer) where name = $1",
                        name, 1000 * (ord(names[0]) - 96) + turn,
                    )  # fmt: skip

    async with sessions(dsn, 2) as (first, second):
        await asyncio.gather(change(first, "ab"), change(second, "ba"))
    assert await head(db) == before + 20


async def test_numbers_are_in_commit_order_with_many_writers(db, dsn):
    before = await head(db)
    committed: list[int] = []

    async def write(session: asyncpg.Connection, who: int) -> None:
        for turn in range(10):
            async with session.transaction():
                await session.execute("insert into policy.tenant (name) values ($1)", f"t{who}-{turn}")
                number = await session.fetchval("select number from policy.counter")
                # Still inside: nobody else can have committed a later number.
                assert await db_head(session) == number
            committed.append(number)

    async def db_head(session: asyncpg.Connection) -> int:
        number = await session.fetchval("select max(number) from policy.revision")
        assert isinstance(number, int)
        return number

    async with sessions(dsn, 6) as opened:
        await asyncio.gather(*(write(session, who) for who, session in enumerate(opened)))
    assert sorted(committed) == list(range(before + 1, before + 61))
    rows = await db.fetch(
        "select number, stamp, at from policy.revision where number > $1 order by number", before
    )
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert len({row["stamp"] for row in rows}) > 50


async def test_a_reader_never_sees_a_number_before_its_changes(db, dsn):
    done = asyncio.Event()

    async def read(session: asyncpg.Connection) -> None:
        seen = 0
        while not done.is_set():
            row = await session.fetchrow(
                "select (select number from policy.counter), (select max(number) from policy.revision), (select max(revision) from policy.change)"
            )
            assert row is not None
            assert row[0] == row[1] == row[2] >= seen
            seen = row[0]

    async with sessions(dsn, 2) as (reader, writer):
        reading = asyncio.create_task(read(reader))
        for number in range(50):
            await writer.execute("insert into policy.tenant (name) values ($1)", f"t{number}")
        done.set()
        await reading


async def test_a_writer_waits_its_turn_and_then_sees_what_the_other_wrote(db, dsn):
    await db.execute("insert into policy.tenant (name) values ('a')")
    async with sessions(dsn, 2) as (first, second):
        async with first.transaction():
            await first.execute("update policy.tenant set require_authz = '{first}'")
            later = asyncio.create_task(
                second.execute("update policy.tenant set require_authz = require_authz || 'second'::text")
            )
            await waits(db, second)
        await later
    assert await db.fetchval("select require_authz from policy.tenant") == ["first", "second"]


async def test_who_waits_too_long_gets_a_retryable_error_that_says_why(db, dsn):
    async with sessions(dsn, 2) as (first, second):
        await second.execute("set lock_timeout = '200ms'")
        async with first.transaction():
            await first.execute("insert into policy.tenant (name) values ('a')")
            with pytest.raises(
                asyncpg.LockNotAvailableError,
                match="another transaction is changing policy and did not end within 200ms",
            ) as error:
                await second.execute("insert into policy.tenant (name) values ('b')")
            assert error.value.hint is not None
            assert "Try again" in error.value.hint
        await second.execute("insert into policy.tenant (name) values ('b')")


async def test_an_idle_open_transaction_does_not_block_for_ever(db, dsn):
    async with sessions(dsn, 2) as (first, second):
        await first.execute("set idle_in_transaction_session_timeout = '500ms'")
        await first.execute("begin")
        await first.execute("insert into policy.tenant (name) values ('a')")
        await second.execute(
            "insert into policy.tenant (name) values ('b')"
        )  # waits until the first is thrown out
    assert [row["name"] for row in await db.fetch("select name from policy.tenant")] == ["b"]


async def test_deadlines_are_set_for_the_transaction_where_nobody_set_any(db, dsn):
    async def deadlines(session: asyncpg.Connection) -> tuple[str, str]:
        return (
            await session.fetchval("show lock_timeout"),
            await session.fetchval("show idle_in_transaction_session_timeout"),
        )

    async with sessions(dsn, 1) as (session,):
        await session.execute("set lock_timeout = 0; set idle_in_transaction_session_timeout = 0")
        async with session.transaction():
            await session.execute("insert into policy.tenant (name) values ('a')")
            assert await deadlines(session) == ("10s", "1min")
        assert await deadlines(session) == ("0", "0")
        await session.execute("set lock_timeout = '3s'; set idle_in_transaction_session_timeout = '5min'")
        async with session.transaction():
            await session.execute("insert into policy.tenant (name) values ('b')")
            assert await deadlines(session) == ("3s", "5min")


async def test_locks_taken_in_another_order_end_in_a_retryable_error(db, dsn):
    await db.execute("insert into policy.tenant (name) values ('a')")
    async with sessions(dsn, 2) as (first, second):
        await first.execute("begin; select from policy.tenant where name = 'a' for update")
        await second.execute("begin; insert into policy.tenant (name) values ('b')")
        blocked = asyncio.create_task(
            second.execute("update policy.tenant set require_authz = '{x}' where name = 'a'")
        )
        await waits(db, second)
        results = await asyncio.gather(
            first.execute("update policy.tenant set require_authz = '{y}' where name = 'a'"),
            blocked,
            return_exceptions=True,
        )
    (error,) = [result for result in results if isinstance(result, Exception)]
    assert isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.LockNotAvailableError)


async def test_a_snapshot_that_is_too_old_is_a_retryable_error(db, dsn):
    async with sessions(dsn, 1) as (session,):
        await session.execute("begin isolation level repeatable read; select from policy.tenant")
        await db.execute("insert into policy.tenant (name) values ('a')")
        with pytest.raises(asyncpg.SerializationError):
            await session.execute("insert into policy.tenant (name) values ('b')")


async def test_readers_never_wait_for_writers(db, dsn):
    async with sessions(dsn, 2) as (writer, reader), writer.transaction():
        await writer.execute("insert into policy.tenant (name) values ('a')")
        await reader.execute("set statement_timeout = '2s'")
        assert await reader.fetch("select tag, body from policy.tenant_document") == []
        assert await reader.fetchval("select number from policy.counter") == await reader.fetchval(
            "select max(number) from policy.revision"
        )


async def test_what_nodes_report_waits_for_nobody(db, dsn):
    async with sessions(dsn, 2) as (writer, service), writer.transaction():
        await writer.execute("insert into policy.tenant (name) values ('a')")
        await service.execute("set lock_timeout = '1s'")
        await service.execute("insert into policy.node (node_id) values ('mx1')")
