"""
Who may do what.
"""

import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.integration.sql_log import head


@contextlib.asynccontextmanager
async def acting_as(db: asyncpg.Connection, role: str) -> AsyncIterator[None]:
    await db.execute(f"set role {role}")
    try:
        yield
    finally:
        await db.execute("reset role")


async def denied(db: asyncpg.Connection, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)


async def test_an_editor_changes_rows_and_the_log_sees_it(db):
    before = await head(db)
    async with acting_as(db, "policyd_editor"):
        await db.execute(
            """
            insert into policy.egress_source (name) values ('s');
            insert into policy.egress_pool (name) values ('p');
            insert into policy.egress_pool_entry (pool, source) values ('p', 's');
            insert into policy.tenant (name, egress_pool) values ('t', 'p');
            insert into policy.queue (domain, options) values ('a.example', '{"protocol": {"smtp": {"mx_list": ["mx.example"]}}}');
            update policy.egress_pool set name = 'q' where name = 'p';
            delete from policy.tenant;
            delete from policy.egress_pool where name = 'q';
            select policy.invalidate('queue', 'test');
            """
        )
    assert await head(db) > before


async def test_an_editor_may_not_write_the_log_or_tokens_or_see_hashes(db):
    async with acting_as(db, "policyd_editor"):
        await denied(
            db,
            "insert into policy.revision (number) values (99)",
            "delete from policy.change",
            "update policy.counter set number = 99",
            "select policy.take_revision()",
            "select policy.prune(1)",
            "insert into policy.api_token (name, sha256, scopes) values ('a', repeat('0', 64), '{admin}')",
            "select sha256 from policy.api_token",
            "select body from policy.api_token_document",
            "update policy.option set restricted = false",
            "truncate policy.tenant",
            "update policy.node set node_group = 'x'",
        )
        await db.execute("select name, scopes from policy.api_token; select node_id from policy.node")


@pytest.mark.parametrize(
    ("table", "columns", "values", "name"),
    [
        ("queue", "domain, options", "'a.example', '{\"protocol\": {\"maildir_path\": \"/etc\"}}'", "protocol.maildir_path"),
        ("queue", "domain, options", "'a.example', '{\"protocol\": {\"custom_lua\": {\"constructor\": \"x\"}}}'", "protocol.custom_lua"),
        ("tenant", "name, options", "'a', '{\"protocol\": {\"xfer\": {\"target\": \"http://a\"}}}'", "protocol.xfer"),
        ("egress_source", "name, ha_proxy_server, ha_proxy_source_address", "'a', '/run/x.sock', '10.0.0.1'", "ha_proxy_server.unix"),
    ],
)  # fmt: skip
async def test_an_editor_may_not_use_what_reaches_outside_mail(db, table, columns, values, name):
    statement = f"insert into policy.{table} ({columns}) values ({values})"
    async with acting_as(db, "policyd_editor"):
        with pytest.raises(
            asyncpg.CheckViolationError,
            match=f"{name} is restricted .*: only members of policyd_owner may set it",
        ):
            await db.execute(statement)
    async with acting_as(db, "policyd_owner"):
        await db.execute(statement)


async def test_an_editor_may_change_other_columns_of_a_restricted_row_but_not_copy_it(db):
    await db.execute(
        """
        insert into policy.queue (domain, options) values ('files.example', '{"protocol": {"maildir_path": "/var/mail/x"}}');
        insert into policy.queue (domain) values ('b.example');
        """
    )
    async with acting_as(db, "policyd_editor"):
        await db.execute(
            "update policy.queue set routing_domain = 'c.example' where domain = 'files.example'"
        )
        with pytest.raises(
            asyncpg.CheckViolationError, match=r"domain 'b\.example': protocol\.maildir_path is restricted"
        ):
            await db.execute(
                """
                update policy.queue set options = (select q.options from policy.queue as q where q.domain = 'files.example')
                where domain like '%.example'
                """
            )


async def test_the_service_reads_all_and_writes_only_nodes(db):
    async with acting_as(db, "policyd_service"):
        for view in (
            "listener_domain",
            "egress_source",
            "egress_pool",
            "tenant",
            "queue",
            "queue_settings",
            "api_token",
        ):
            await db.execute(f"select tag, body from policy.{view}_document")
        await db.execute(
            "select number, stamp from policy.revision; select tags from policy.change; select pruned_to from policy.log_window"
        )
        await db.execute(
            "insert into policy.node (node_id) values ('mx1') on conflict (node_id) do update set last_seen = now()"
        )
        await denied(
            db,
            "insert into policy.tenant (name) values ('a')",
            "delete from policy.change",
            "delete from policy.api_token",
        )


async def test_a_reader_reads_all_but_hashes(db):
    async with acting_as(db, "policyd_reader"):
        await db.execute(
            "select body from policy.queue_document; select new from policy.change; select name from policy.api_token"
        )
        await denied(
            db,
            "select sha256 from policy.api_token",
            "select body from policy.api_token_document",
            "insert into policy.tenant (name) values ('a')",
            "select policy.invalidate('queue', 'x')",
        )


async def test_an_owner_manages_tokens_and_rows(db):
    async with acting_as(db, "policyd_owner"):
        await db.execute(
            "insert into policy.api_token (name, sha256, scopes) values ('a', repeat('0', 64), '{lookup}')"
        )
        await db.execute("insert into policy.tenant (name) values ('a')")
        await db.execute("delete from policy.api_token; select policy.prune(1)")
        await denied(
            db,
            "delete from policy.revision",
            "update policy.counter set number = 0",
            "insert into policy.change (revision) values (1)",
        )


async def test_strangers_get_nothing(db):
    await db.execute("create role stranger_" + (name := await db.fetchval("select md5(current_database())")))
    try:
        async with acting_as(db, f"stranger_{name}"):
            await denied(db, "select tag from policy.queue_document", "select policy.take_revision()")
    finally:
        await db.execute(f"drop role stranger_{name}")
