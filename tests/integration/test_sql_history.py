"""
The log as a whole: that it cannot lie, what is said by hand, and that it stays cheap.
"""

import asyncpg
import pytest

from tests.integration.sql_log import changes, head


async def test_a_false_record_cannot_be_written(db):
    for values in (
        "'tenant', 'insert', '{}', '{}', null, '{tenant/a}', null",
        "'tenant', 'update', '{}', null, '{}', '{tenant/a}', null",
        "'tenant', 'delete', null, '{}', null, '{tenant/a}', null",
        "'tenant', 'insert', '{}', null, '{}', '{}', null",
        "null, 'floor', null, null, null, '{}', null",
        "'api_token', 'insert', '{}', null, '{\"sha256\": \"0abc\"}', '{api_token/a}', null",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await db.execute(
                f'insert into policy.change (revision, "table", op, key, old, new, tags, kind) values (0, {values})'
            )


async def test_invalidate_logs_a_floor_with_its_reason(db):
    before = await head(db)
    assert (
        await db.fetchval("select policy.invalidate('queue', 'rows repaired with triggers off')")
        == before + 1
    )
    row = await db.fetchrow("select op, kind, tags from policy.change where revision = $1", before + 1)
    assert tuple(row) == ("floor", "queue", [])
    assert (
        await db.fetchval("select reason from policy.revision where number = $1", before + 1)
        == "rows repaired with triggers off"
    )
    with pytest.raises(
        asyncpg.InvalidParameterValueError,
        match=r"there is no kind 'queues': allowed are .*listener_domain, ",
    ):
        await db.execute("select policy.invalidate('queues', 'x')")
    with pytest.raises(asyncpg.InvalidParameterValueError, match="a reason is needed"):
        await db.execute("select policy.invalidate('queue', '')")


async def test_a_commit_notifies_once_with_the_number(db, dsn):
    heard: list[str] = []
    listener = await asyncpg.connect(dsn)
    await listener.add_listener("policy", lambda *arguments: heard.append(arguments[-1]))
    async with db.transaction():
        for name in "abc":
            await db.execute("insert into policy.tenant (name) values ($1)", name)
    await listener.execute("select 1")  # whatever was sent before is heard with its answer
    assert heard == [str(await head(db))]
    await listener.close()


async def test_many_statements_update_the_counter_once(db):
    before = await head(db)
    async with db.transaction():
        await db.execute("insert into policy.tenant (name) values ('first')")
        place = await db.fetchval("select ctid from policy.counter")
        for number in range(1999):
            await db.execute("insert into policy.tenant (name) values ($1)", f"t{number}")
        assert await db.fetchval("select ctid from policy.counter") == place
    assert await head(db) == before + 1
    assert len(await changes(db, before)) == 2000


async def test_a_restored_xid_is_not_mistaken_for_this_transaction(db):
    before = await head(db)
    async with db.transaction():
        await db.execute(
            "update policy.counter set xid = pg_current_xact_id(), begun = now() - interval '1 day'"
        )
        await db.execute("insert into policy.tenant (name) values ('a')")
    assert await head(db) == before + 1


async def test_pruning_keeps_revisions_and_says_how_far_it_went(db):
    await db.execute("insert into policy.tenant (name) values ('a')")
    await db.execute("insert into policy.tenant (name) values ('b')")
    last = await head(db)
    await db.execute("select policy.prune($1)", last - 1)
    assert await db.fetchval("select pruned_to from policy.log_window") == last - 1
    assert await db.fetchval("select min(revision) from policy.change") == last
    assert await db.fetchval("select count(*) from policy.revision") == last + 1
    assert await db.fetchval("select policy.prune($1)", last - 2) == 0
    assert await db.fetchval("select pruned_to from policy.log_window") == last - 1


async def test_an_import_after_statements_were_prepared_on_empty_tables_is_not_quadratic(db):
    update = await db.prepare("update policy.listener_domain set relay_to = $1")
    insert = await db.prepare(
        "insert into policy.listener_domain (domain, relay_to) select d, true from unnest($1::text[]) as d"
    )
    for _ in range(8):  # past the point at which a plan becomes generic
        await update.fetch(False)
        await insert.fetch([])
    before = await head(db)
    await db.execute("set statement_timeout = '30s'")  # a nested loop over 30,000 rows takes minutes
    async with db.transaction():
        await insert.fetch([f"d{number}.example" for number in range(30000)])
        await db.execute("set local policy.allow_mass_change = 'test'")
        await update.fetch(False)
    assert await db.fetchval("select count(*) from policy.change where revision > $1", before) == 60000
