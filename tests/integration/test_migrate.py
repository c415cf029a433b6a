"""Migrations: once each, whoever starts them, and never against a database from the future."""

import asyncio
import re

import pytest

from policyd.config import DatabaseConfig
from policyd.errors import MigrationFailed, SchemaIncompatible
from policyd.store.migrate import Migration, check_schema, migrate, shipped_migrations
from policyd.store.pool import close, connect


def migration(number: int, sql: str, name: str | None = None) -> Migration:
    return Migration(number=number, name=name or f"{number:04}_test.sql", sql=sql)


FIRST = migration(1, "create table policy.counted (n int); insert into policy.counted values (1)")
SECOND = migration(2, "insert into policy.counted values (2)")


@pytest.fixture
async def empty(empty_dsn):
    connection = await connect(DatabaseConfig(dsn=empty_dsn), purpose="test", statement_timeout=0)
    yield connection
    await close(connection)


async def counted(connection) -> list[int]:
    return [row["n"] for row in await connection.fetch("select n from policy.counted order by n")]


def test_shipped_files_are_in_the_order_of_their_numbers():
    numbers = [each.number for each in shipped_migrations()]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1


def test_every_file_says_at_once_what_it_is_for():
    for each in shipped_migrations():
        assert re.match(r"(--! breaking-change\n)?-- \S", each.sql), each.name


async def test_an_empty_database_gets_everything_once(empty):
    shipped = list(shipped_migrations())
    reported: list[Migration] = []
    assert await migrate(empty, report=reported.append) == shipped
    assert reported == shipped
    assert await migrate(empty) == []
    await check_schema(empty)


async def test_two_that_start_together_apply_each_file_once(empty, empty_dsn):
    other = await connect(DatabaseConfig(dsn=empty_dsn), purpose="test", statement_timeout=0)
    try:
        done = await asyncio.gather(migrate(empty, [FIRST, SECOND]), migrate(other, [FIRST, SECOND]))
    finally:
        await close(other)
    assert sorted(each.number for each in [*done[0], *done[1]]) == [1, 2]
    assert await counted(empty) == [1, 2]


async def test_a_failed_file_leaves_nothing_and_names_the_line(empty):
    broken = migration(2, "insert into policy.counted values (2);\n\ninsert into policy.nowhere values (3)")
    with pytest.raises(MigrationFailed, match=r"0002_test\.sql, line 3,.*nowhere"):
        await migrate(empty, [FIRST, broken])
    assert await counted(empty) == [1]
    assert await migrate(empty, [FIRST, SECOND]) == [SECOND]


async def test_a_syntax_error_is_placed(empty):
    with pytest.raises(MigrationFailed, match=r"0001_test\.sql, line 2,"):
        await migrate(empty, [migration(1, "select 1;\nselct 2;")])


async def test_a_newer_breaking_schema_is_refused(empty):
    await migrate(empty, [FIRST, migration(2, "--! breaking-change\nselect 1")])
    for refused in (migrate(empty, [FIRST]), check_schema(empty, [FIRST])):
        with pytest.raises(SchemaIncompatible) as caught:
            await refused
        assert (caught.value.found, caught.value.supported) == (2, 1)


async def test_a_newer_schema_that_breaks_nothing_is_used(empty):
    await migrate(empty, [FIRST, SECOND])
    assert await migrate(empty, [FIRST]) == []
    await check_schema(empty, [FIRST])


async def test_another_file_of_the_same_number_is_refused(empty):
    await migrate(empty, [FIRST])
    with pytest.raises(MigrationFailed, match=r"another file of that number, 0001_test\.sql") as caught:
        await migrate(empty, [migration(1, "select 1", name="0001_other.sql")])
    assert "another build" in (caught.value.hint or "")


async def test_a_schema_that_lacks_a_file_is_too_old(empty):
    with pytest.raises(SchemaIncompatible) as caught:
        await check_schema(empty, [FIRST])
    assert caught.value.found == 0
    await migrate(empty, [FIRST])
    with pytest.raises(SchemaIncompatible) as caught:
        await check_schema(empty, [FIRST, SECOND])
    assert (caught.value.found, caught.value.supported) == (1, 2)
    assert caught.value.hint == "run policyd migrate"
