"""
policy.revert: what it takes back, and what stands in its way.
"""

import asyncio

import asyncpg
import pytest

from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.sql_log import changes, head, ops
from tests.integration.sql_reverting import SITE, done, forced, refused, rows


@pytest.fixture
async def site(db: Connection) -> Connection:
    await db.execute(SITE)
    return db


@pytest.mark.parametrize(
    "statements",
    [
        ["update policy.tenant set egress_pool = 'vip'"],
        ["insert into policy.tenant (name, egress_pool) values ('zoo', 'vip')"],
        ["delete from policy.queue where domain = 'gmail.com'", "delete from policy.tenant"],
        ["update policy.egress_pool set name = 'mass' where name = 'bulk'"],
        ["update policy.tenant set name = 'acme-2'", "insert into policy.tenant_campaign (tenant, campaign) values ('acme-2', 'c')"],
        ["update policy.egress_pool_entry set source = 'ip-2' where pool = 'bulk'", "delete from policy.egress_source where name = 'ip-1'"],
        ["update policy.queue set options = '{\"max_age\": 3600}'", "update policy.queue set options = '{\"max_age\": 3600.5}'"],
        ["delete from policy.tenant_campaign", "insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('acme', 'spring', '1/s')"],
        ["delete from policy.dkim_domain", "update policy.dkim_settings set selector = null"],
        ["insert into policy.dkim_signature (name, domain, selector) values ('us', 'us.example', 's')", "insert into policy.dkim_additional_signature values (0, 'us')"],
    ],
)  # fmt: skip
async def test_whatever_a_revision_did_is_taken_back_in_one_and_that_one_too(site, statements):
    await site.execute("update policy.dkim_settings set selector = 's1'; insert into policy.dkim_domain (domain) values ('a.example')")  # fmt: skip
    tables = [row[0] for row in await site.fetch("select relname from pg_class where relkind = 'r' and oid in (select tgrelid from pg_trigger where tgname = 't000_claim') order by 1")]  # fmt: skip
    before = await rows(site, *tables)
    revision = await done(site, *statements)
    after = await rows(site, *tables)
    assert before != after
    assert await site.fetchval("select policy.revert($1)", revision) == revision + 1
    assert await rows(site, *tables) == before
    assert await site.fetchval("select policy.revert($1)", revision + 1) == revision + 2
    assert await rows(site, *tables) == after


async def test_the_log_says_what_was_taken_back_by_whom_and_why(site):
    revision = await done(site, "update policy.tenant set egress_pool = 'vip'")
    async with site.transaction():
        await site.execute("set local policy.actor = 'olga'")
        await site.fetchval("select policy.revert($1, reason => 'wrong pool')", revision)
    said = await site.fetchrow(
        "select claimed_actor, reason from policy.revision order by number desc limit 1"
    )
    assert tuple(said) == ("olga", f"revert of {revision}: wrong pool")
    [change] = await changes(site, revision)
    assert (change.table, change.op, (change.new or {})["egress_pool"]) == ("tenant", "update", "bulk")


async def test_a_range_is_taken_back_at_once_and_what_it_undid_itself_is_no_change(site):
    before = await rows(site)
    first = await done(site, "update policy.tenant set egress_pool = 'vip'")
    await done(site, "insert into policy.tenant (name) values ('fleeting')")
    await done(site, "delete from policy.tenant where name = 'fleeting'")
    last = await done(site, "update policy.tenant set egress_pool = null")
    assert await site.fetchval("select policy.revert($1, $2)", first, last) == last + 1
    assert await rows(site) == before
    assert await ops(site, last) == [("update", ("tenant/acme",))]
    assert (
        await site.fetchval("select reason from policy.revision where number = $1", last + 1)
        == f"revert of {first}..{last}"
    )


async def test_what_is_as_before_already_makes_no_revision(site):
    revision = await done(site, "update policy.tenant set egress_pool = 'vip'")
    assert await site.fetchval("select policy.revert($1)", revision) == revision + 1
    assert await site.fetchval("select policy.revert($1)", revision) is None
    assert await head(site) == revision + 1


async def test_rows_that_changed_since_are_named_with_who_changed_them(site):
    revision = await done(
        site,
        "update policy.tenant set egress_pool = 'vip'",
        "insert into policy.queue (domain) values ('a.example'), ('b.example')",
        "delete from policy.egress_pool_entry where pool = 'vip'",
    )
    async with site.transaction():
        await site.execute("set local policy.actor = 'bob'")
        await site.execute("update policy.tenant set egress_pool = null")
        await site.execute("delete from policy.queue where domain = 'a.example'")
        await site.execute("update policy.queue set routing_domain = 'c.example' where domain = 'b.example'")
        await site.execute(
            "insert into policy.egress_pool_entry (pool, source, weight) values ('vip', 'ip-2', 7)"
        )
    since = f"in revision {revision + 1}, by bob"
    before = await rows(site)
    assert await refused(site, revision) == [
        f"policy.egress_pool_entry, pool 'vip', source 'ip-2': was made again {since}",
        f"policy.queue, domain 'b.example': was changed {since} (routing_domain)",
        f"policy.tenant, name 'acme': was changed {since} (egress_pool)",
    ]
    assert await rows(site) == before
    taken, heard = await forced(site, revision)
    assert taken == revision + 2
    assert [line.partition(": ")[0] for line in heard] == ["overwritten"] * 3
    assert await site.fetchval("select egress_pool from policy.tenant") == "bulk"
    assert await site.fetchval("select weight from policy.egress_pool_entry where pool = 'vip'") is None
    assert await site.fetchval("select count(*) from policy.queue where domain like '%.example'") == 0


async def test_a_row_that_the_triggers_did_not_see_change_is_no_less_in_the_way(site):
    revision = await done(site, "update policy.tenant set egress_pool = 'vip'")
    await site.execute("set session_replication_role = replica; update policy.tenant set egress_pool = null; reset session_replication_role")  # fmt: skip
    assert await refused(site, revision) == [
        "policy.tenant, name 'acme': was changed unseen by the log (egress_pool)"
    ]


async def test_a_row_whose_parent_is_gone_does_not_come_back_alone(site):
    revision = await done(site, "delete from policy.queue_campaign")
    await done(site, "delete from policy.queue where domain = 'gmail.com'")
    needs = (
        "policy.queue_campaign, domain 'gmail.com', tenant 'acme', campaign 'spring':"
        " needs policy.queue_tenant, domain 'gmail.com', tenant 'acme', which is not there"
    )
    assert await refused(site, revision) == [needs]
    assert await forced(site, revision) == (
        None,
        [
            f"left as it is: {needs}",
            f"nothing was changed: the rows are as they were before revision {revision}, as far as they can be",
        ],
    )
    assert await site.fetchval("select policy.revert($1, $2)", revision, revision + 1) == revision + 2
    assert await site.fetchval("select count(*) from policy.queue_campaign") == 1


async def test_what_is_used_since_does_not_go_and_what_was_added_to_it_is_not_lost_silently(site):
    revision = await done(site, "insert into policy.egress_pool (name) values ('new'), ('other')")
    await done(
        site,
        "update policy.tenant set egress_pool = 'new'",
        "update policy.queue set egress_pool = 'new'",
        "insert into policy.egress_pool_entry (pool, source) values ('other', 'ip-1'), ('other', 'ip-2')",
    )
    assert await refused(site, revision) == [
        "policy.egress_pool, name 'new': is still used by policy.tenant, name 'acme'",
        "policy.egress_pool, name 'other': policy.egress_pool_entry, pool 'other', source 'ip-1' and 1 more would go with it",
    ]
    taken, heard = await forced(site, revision)
    assert [line.partition(",")[0] for line in heard] == [
        "left as it is: policy.egress_pool",
        "overwritten: policy.egress_pool",
    ]
    assert taken == revision + 2
    assert await ops(site, revision + 1) == [
        ("delete", ("egress_pool/*/other",)),
        ("delete", ("egress_pool/*/other",)),
        ("delete", ("egress_pool/*/other",)),
    ]


async def test_what_depends_on_a_row_that_is_left_is_left_too(site):
    """The tenant cannot go, so the pool that was made for it cannot, either."""
    revision = await done(
        site,
        "insert into policy.egress_pool (name) values ('theirs')",
        "insert into policy.tenant (name, egress_pool) values ('zoo', 'theirs')",
    )
    await done(site, "update policy.queue_settings set default_tenant = 'zoo'")
    _, heard = await forced(site, revision)
    assert heard[:2] == [
        "left as it is: policy.egress_pool, name 'theirs': is still used by policy.tenant, name 'zoo'",
        "left as it is: policy.tenant, name 'zoo': is still used by policy.queue_settings, singleton 'true'",
    ]


async def test_a_mass_change_is_taken_back_only_with_a_reason(db):
    await db.execute("insert into policy.listener_domain (domain, relay_to) select 'd' || n || '.example', true from generate_series(1, 300) as n")  # fmt: skip
    revision = await done(
        db, "set local policy.allow_mass_change = 'x'", "update policy.listener_domain set relay_to = false"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="would update 300 of the 300 rows"):
        await db.fetchval("select policy.revert($1)", revision)
    assert await db.fetchval("select policy.revert($1, reason => 'all of it was wrong')", revision)
    assert await db.fetchval("select count(*) from policy.listener_domain where relay_to") == 300
    # The reason was good for the revert alone.
    async with db.transaction():
        await db.fetchval("select policy.revert($1, reason => 'no, it was right')", revision + 1)
        with pytest.raises(asyncpg.CheckViolationError, match="would update 300 of the 300 rows"):
            await db.execute("update policy.listener_domain set relay_to = null")


async def test_who_changes_a_row_while_a_revert_waits_for_its_turn_is_not_overwritten(site, dsn):
    revision = await done(site, "update policy.tenant set egress_pool = 'vip'")
    async with connection_to(dsn) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("update policy.tenant set egress_pool = null")
        waiting = asyncio.create_task(site.fetchval("select policy.revert($1)", revision))
        await _until(other, "select exists (select from pg_locks where not granted)")
        await transaction.commit()
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError) as caught:
            await waiting
    assert caught.value.detail == f"policy.tenant, name 'acme': was changed in revision {revision + 1}, by postgres (egress_pool)"  # fmt: skip


async def _until(db: Connection, question: str) -> None:
    async with asyncio.timeout(20):
        while not await db.fetchval(question):  # noqa: ASYNC110  (another session's wait has no event)
            await asyncio.sleep(0.01)


async def test_foreign_keys_name_primary_keys(db):
    """What a row needs is looked for by its key."""
    other = await db.fetch(
        """
        select k.child, k.parent from policy.foreign_keys() k
        where not k.parent_columns <@ policy.key_columns(k.parent) or not policy.key_columns(k.parent) <@ k.parent_columns
        """
    )
    assert other == []
