"""
What the log must see: whatever way a row changes, every document that it touches is in the log of one revision.
"""

import json
import re

import asyncpg
import pytest

from tests.integration.sql_log import changes, head, ops


async def test_one_transaction_is_one_revision(db):
    before = await head(db)
    async with db.transaction():
        await db.execute("insert into policy.tenant (name) values ('a')")
        await db.execute("insert into policy.tenant (name) values ('b')")
    assert await head(db) == before + 1
    assert await ops(db, before) == [("insert", ("tenant/a",)), ("insert", ("tenant/b",))]


async def test_a_change_is_logged_with_the_row_before_and_after(db):
    await db.execute("insert into policy.queue (domain, options) values ('example.com', '{\"max_age\": 60}')")
    before = await head(db)
    await db.execute("update policy.queue set options = '{\"max_age\": 90}' where domain = 'example.com'")
    (change,) = await changes(db, before)
    assert change.table == "queue"
    assert change.key == {"domain": "example.com"}
    assert change.old == {
        "domain": "example.com",
        "egress_pool": None,
        "routing_domain": None,
        "options": {"max_age": 60},
    }
    assert change.new == {**change.old, "options": {"max_age": 90}}
    assert change.tags == ["queue/example.com"]


async def test_actor_reason_and_the_claimed_actor_are_kept(db):
    async with db.transaction():
        await db.execute("set local policy.actor = 'alice'; set local policy.reason = 'ticket 7'")
        await db.execute("insert into policy.tenant (name) values ('a')")
    row = await db.fetchrow(
        "select actor, claimed_actor, reason, stamp from policy.revision order by number desc limit 1"
    )
    assert (row["actor"], row["claimed_actor"], row["reason"]) == ("postgres", "alice", "ticket 7")
    assert re.fullmatch("[0-9a-f]{8}", row["stamp"])


async def test_a_rolled_back_savepoint_leaves_no_change(db):
    before = await head(db)
    async with db.transaction():
        await db.execute("insert into policy.tenant (name) values ('kept')")
        await db.execute("savepoint s; insert into policy.tenant (name) values ('lost'); rollback to s")
        await db.execute("insert into policy.tenant (name) values ('kept too')")
    assert await head(db) == before + 1
    assert await ops(db, before) == [("insert", ("tenant/kept",)), ("insert", ("tenant/kept too",))]


async def test_a_revision_first_taken_in_a_rolled_back_savepoint_is_taken_again(db):
    before = await head(db)
    async with db.transaction():
        await db.execute("savepoint s; insert into policy.tenant (name) values ('lost'); rollback to s")
        await db.execute("insert into policy.tenant (name) values ('kept')")
    assert await ops(db, before) == [("insert", ("tenant/kept",))]
    assert await db.fetchval("select count(*) from policy.revision where number > $1", before) == 1


async def test_a_rolled_back_transaction_takes_no_number(db):
    before = await head(db)
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute(
            "insert into policy.tenant (name) values ('a'); insert into policy.tenant (name) values ('a:b')"
        )
    assert await head(db) == before


async def test_an_update_that_changes_nothing_is_no_change(db):
    await db.execute("insert into policy.tenant (name) values ('a'), ('b')")
    before = await head(db)
    await db.execute("update policy.tenant set options = options")
    await db.execute("update policy.tenant set options = '{}' where name = 'nobody'")
    await db.execute("delete from policy.tenant where name = 'nobody'")
    assert await head(db) == before


async def test_only_the_rows_that_differ_are_logged(db):
    await db.execute("insert into policy.tenant (name, require_authz) values ('a', '{x}'), ('b', '{y}')")
    before = await head(db)
    await db.execute("update policy.tenant set require_authz = '{x}'")
    assert await ops(db, before) == [("update", ("tenant/b",))]


async def test_a_number_spelled_differently_is_a_change(db):
    await db.execute("insert into policy.queue (domain, options) values ('example.com', '{\"max_age\": 60}')")
    before = await head(db)
    await db.execute("update policy.queue set options = '{\"max_age\": 60.0}' where domain = 'example.com'")
    assert await ops(db, before) == [("update", ("queue/example.com",))]


async def test_a_moved_key_is_a_document_gone_and_one_come(db):
    await db.execute("insert into policy.listener_domain (domain, relay_to) values ('example.com', true)")
    before = await head(db)
    await db.execute("update policy.listener_domain set domain = '*.example.com'")
    assert await ops(db, before) == [
        ("delete", ("listener_domain/*/example.com",)),
        ("insert", ("listener_domain/*/*.example.com",)),
    ]


async def test_keys_moved_round_are_updates_of_each(db):
    await db.execute(
        "insert into policy.queue_tenant (domain, tenant, options) values ('default', 'a', '{\"max_age\": 1}')"
    )
    await db.execute(
        "insert into policy.queue_tenant (domain, tenant, options) values ('default', 'b', '{\"max_age\": 2}')"
    )
    before = await head(db)
    # The primary key is checked row by row, so a swap of two needs a third name.
    async with db.transaction():
        await db.execute("update policy.queue_tenant set tenant = 'c' where tenant = 'a'")
        await db.execute("update policy.queue_tenant set tenant = 'a' where tenant = 'b'")
        await db.execute("update policy.queue_tenant set tenant = 'b' where tenant = 'c'")
    tags = {tag for change in await changes(db, before) for tag in change.tags}
    assert tags == {"queue/default/a", "queue/default/b", "queue/default/c"}
    assert await head(db) == before + 1


async def test_an_entry_moved_between_pools_touches_both(db):
    await db.execute(
        """
        insert into policy.egress_source (name) values ('s');
        insert into policy.egress_pool (name) values ('a'), ('b');
        insert into policy.egress_pool_entry (pool, source) values ('a', 's');
        """
    )
    before = await head(db)
    await db.execute("update policy.egress_pool_entry set pool = 'b'")
    assert await ops(db, before) == [("delete", ("egress_pool/*/a",)), ("insert", ("egress_pool/*/b",))]


async def test_changed_parts_of_one_document_are_told_apart_by_their_keys(db):
    await db.execute(
        """
        insert into policy.tenant (name) values ('t');
        insert into policy.tenant_campaign (tenant, campaign) values ('t', 'a'), ('t', 'b'), ('t', 'c');
        """
    )
    before = await head(db)
    await db.execute(
        "update policy.tenant_campaign set overall_max_message_rate = '1/s' where campaign <> 'b'"
    )
    assert [(change.op, change.key, change.tags) for change in await changes(db, before)] == [
        ("update", {"tenant": "t", "campaign": campaign}, ["tenant/t"]) for campaign in ("a", "c")
    ]


async def test_cascades_are_logged_at_every_level(db):
    await db.execute(
        """
        insert into policy.queue (domain) values ('example.com');
        insert into policy.queue_tenant (domain, tenant) values ('example.com', 't');
        insert into policy.queue_campaign (domain, tenant, campaign) values ('example.com', 't', 'c');
        """
    )
    before = await head(db)
    await db.execute("delete from policy.queue where domain = 'example.com'")
    assert await ops(db, before) == [
        ("delete", ("queue/example.com",)),
        ("delete", ("queue/example.com/t",)),
        ("delete", ("queue/example.com/t/c",)),
    ]
    assert await head(db) == before + 1


async def test_a_renamed_pool_touches_all_that_name_it(db):
    await db.execute(
        """
        insert into policy.egress_pool (name) values ('old');
        insert into policy.tenant (name, egress_pool) values ('t', 'old');
        update policy.queue set egress_pool = 'old' where domain = 'default';
        """
    )
    before = await head(db)
    await db.execute("update policy.egress_pool set name = 'new' where name = 'old'")
    assert await ops(db, before) == [
        ("delete", ("egress_pool/*/old",)),
        ("insert", ("egress_pool/*/new",)),
        ("update", ("queue/default",)),
        ("update", ("tenant/t",)),
    ]


async def test_insert_on_conflict_logs_what_it_did(db):
    await db.execute("insert into policy.tenant (name) values ('old'), ('same')")
    before = await head(db)
    await db.execute(
        """
        insert into policy.tenant (name, options) values ('old', '{"max_age": 60}'), ('new', '{}'), ('same', '{}')
        on conflict (name) do update set options = excluded.options
        """
    )
    assert await ops(db, before) == [("insert", ("tenant/new",)), ("update", ("tenant/old",))]
    await db.execute("insert into policy.tenant (name) values ('old') on conflict do nothing")
    assert await head(db) == before + 1


async def test_merge_logs_what_it_did(db):
    await db.execute("insert into policy.tenant (name) values ('changes'), ('goes')")
    before = await head(db)
    await db.execute(
        """
        merge into policy.tenant as t
        using (values ('changes', '1/s'), ('goes', null), ('comes', '2/s')) as v (name, rate) on v.name = t.name
        when matched and v.rate is null then delete
        when matched then update set overall_max_message_rate = v.rate
        when not matched then insert (name, overall_max_message_rate) values (v.name, v.rate)
        """
    )
    assert await ops(db, before) == [
        ("delete", ("tenant/goes",)),
        ("insert", ("tenant/comes",)),
        ("update", ("tenant/changes",)),
    ]
    assert await head(db) == before + 1


async def test_copy_is_logged(db):
    before = await head(db)
    await db.copy_records_to_table(
        "listener_domain",
        schema_name="policy",
        columns=["domain", "relay_to"],
        records=[("a.example", True), ("b.example", False)],
    )
    assert await ops(db, before) == [
        ("insert", ("listener_domain/*/a.example",)),
        ("insert", ("listener_domain/*/b.example",)),
    ]


async def test_changes_in_common_table_expressions_are_logged(db):
    await db.execute("insert into policy.tenant (name) values ('old')")
    before = await head(db)
    await db.execute(
        """
        with gone as (delete from policy.tenant where name = 'old' returning name),
             come as (insert into policy.queue (domain) select 'new.example' from gone returning domain)
        insert into policy.listener_domain (domain, relay_to) select domain, true from come
        """
    )
    assert await ops(db, before) == [
        ("delete", ("tenant/old",)),
        ("insert", ("listener_domain/*/new.example",)),
        ("insert", ("queue/new.example",)),
    ]
    assert await head(db) == before + 1


async def test_truncate_is_refused(db):
    for table in ("tenant", "queue", "egress_source", "egress_pool_entry", "queue_settings", "api_token"):
        with pytest.raises(
            asyncpg.FeatureNotSupportedError, match=rf"truncate of policy\.{table}|truncate of policy"
        ) as caught:
            await db.execute(f"truncate policy.{table} cascade")
        assert caught.value.constraint_name == "truncate_is_refused"


async def test_the_hash_of_a_token_is_never_logged(db):
    canary = "c0ffee" + "0" * 58
    before = await head(db)
    await db.execute(
        "insert into policy.api_token (name, sha256, scopes) values ('node', $1, '{lookup}')", canary
    )
    await db.execute("update policy.api_token set scopes = '{lookup,dkim}'")
    await db.execute("update policy.api_token set sha256 = $1", "f" * 64)
    await db.execute("delete from policy.api_token")
    log = await changes(db, before)
    assert [change.op for change in log] == ["insert", "update", "update", "delete"]
    assert log[2].new is not None
    assert log[2].new["sha256"] == "changed"
    assert [
        change
        for change in log
        if canary in json.dumps(change.new) + json.dumps(change.old) or "f" * 64 in json.dumps(change.new)
    ] == []
