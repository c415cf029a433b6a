"""
policy.documents_at: what documents said, for whoever may read, and without anybody noticing.
"""

import json
import re
from typing import Any

import asyncpg
import pytest

from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.sql_log import head

SITE = """
insert into policy.egress_source (name, remote_port) values ('s', 25);
insert into policy.egress_pool (name) values ('bulk');
insert into policy.egress_pool_entry (pool, source) values ('bulk', 's');
insert into policy.tenant (name, egress_pool) values ('acme', 'bulk');
insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('acme', 'spring', '10/s');
insert into policy.shaping_domain (domain, options) values ('a.example', '{"connection_limit": 5}');
"""


async def told(db: Connection, revision: int, *tags: str) -> dict[str, Any]:
    rows = await db.fetch("select tag, body from policy.documents_at($1, $2)", revision, list(tags))
    return {row["tag"]: json.loads(row["body"]) for row in rows}


async def test_a_document_is_told_as_it_was_with_the_rows_that_were_part_of_it(db):
    await db.execute(SITE)
    then = await head(db)
    await db.execute("delete from policy.tenant")
    await db.execute("update policy.egress_pool set name = 'mass' where name = 'bulk'")
    await db.execute("update policy.shaping_domain set options = '{\"connection_limit\": 6}'")
    tags = ("tenant/acme", "egress_pool/*/bulk", "egress_pool/*/mass", "shaping", "tenant/nobody")
    before = await told(db, then, *tags)
    assert before["tenant/acme"] == {"egress_pool": "bulk", "options": {}, "campaigns": {"spring": {"overall_max_message_rate": "10/s"}}}  # fmt: skip
    assert before["egress_pool/*/bulk"] == {"name": "bulk", "entries": [{"name": "s"}]}
    assert before["shaping"]["domains"][0]["options"] == {"connection_limit": 5}
    assert set(before) == {"tenant/acme", "egress_pool/*/bulk", "shaping"}
    assert set(await told(db, then + 1, *tags)) == {"egress_pool/*/bulk", "shaping"}
    assert set(await told(db, then + 2, *tags)) == {"egress_pool/*/mass", "shaping"}
    assert set(await told(db, then - 1, *tags)) == {"shaping"}


async def test_a_reader_may_ask_and_writes_nothing(db):
    await db.execute(SITE)
    then = await head(db)
    await db.execute("delete from policy.tenant")
    async with db.transaction(readonly=True):
        await db.execute("set local role policyd_reader")
        assert set(await told(db, then, "tenant/acme")) == {"tenant/acme"}
    assert await head(db) == then + 1


async def test_nobody_waits_while_the_past_is_told(db, dsn):
    await db.execute(SITE)
    then = await head(db)
    await db.execute("delete from policy.tenant")
    async with connection_to(dsn) as other, db.transaction(isolation="repeatable_read", readonly=True):
        await told(db, then, "tenant/acme", "shaping")
        await other.execute("set lock_timeout = '50ms'")
        await other.execute("insert into policy.tenant (name) values ('acme')")
        await other.execute("drop view policy.webhook_document")
        assert set(await told(db, then, "tenant/acme")) == {"tenant/acme"}


async def test_tokens_and_credentials_are_not_told(db):
    for tag in ("api_token/a", "smtp_credential/a"):
        with pytest.raises(
            asyncpg.InvalidParameterValueError, match="cannot be told: allowed are dkim_domain, "
        ):
            await told(db, await head(db), tag)


async def test_what_is_before_the_log_or_after_its_head_is_not_told(db):
    await db.execute(SITE)
    last = await head(db)
    await db.execute("select policy.prune($1)", last)
    await db.execute("delete from policy.tenant")
    assert set(await told(db, last, "tenant/acme")) == {"tenant/acme"}
    with pytest.raises(
        asyncpg.ObjectNotInPrerequisiteStateError,
        match=f"how things were at revision {last - 1} is not known any more: the log was pruned up to revision {last}",
    ):
        await told(db, last - 1, "tenant/acme")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match=f"there is no revision {last + 2}"):
        await told(db, last + 2, "tenant/acme")


async def test_a_column_that_was_added_since_has_its_default_in_the_past(db):
    await db.execute(SITE)
    then = await head(db)
    await db.execute("delete from policy.tenant")
    await db.execute("alter table policy.tenant add column colour text not null default 'grey'")
    await db.execute("create or replace view policy.tenant_document as select t.tag, jsonb_build_object('colour', t.colour) as body from policy.tenant as t")  # fmt: skip
    assert await told(db, then, "tenant/acme") == {"tenant/acme": {"colour": "grey"}}


async def test_the_key_that_was_seen_is_told_from_the_log_where_it_was_replaced(db):
    tag = "dkim_key/default/a%2Fs1"
    note = "select policy.note_dkim_key('default', 'a/s1', repeat($1, 64), 'sha256', repeat($2, 64))"
    await db.execute(note, "0", None)
    then = await head(db)
    await db.execute(note, "1", "0")
    assert (await told(db, then, tag))[tag]["key_id"] == "0" * 64
    assert (await told(db, then + 1, tag))[tag]["key_id"] == "1" * 64


async def test_every_kind_of_document_can_be_told(db):
    """Where a view grew a function that reads a table, the past would be told from today's rows."""
    tables = {row[0] for row in await db.fetch("select relname from pg_class where relkind = 'r' and relnamespace = 'policy'::regnamespace")}  # fmt: skip
    kinds = [row[0] for row in await db.fetch("select unnest(policy.kinds())")]
    for kind in set(kinds) - {"api_token", "smtp_credential"}:
        said = await db.fetchval("select policy.view_at($1)", kind)
        assert "policy.rows_at(" in said
        for name in set(re.findall(r"policy\.(\w+)\(", said)) - {"rows_at"}:
            sources = await db.fetch(
                "select prosrc || coalesce(pg_get_function_sqlbody(oid), '') from pg_proc where proname = $1 and pronamespace = 'policy'::regnamespace",
                name,
            )
            read = {word for (source,) in sources for word in re.findall(r"(?:from|join) policy\.(\w+)\b(?!\()", source.lower())}  # fmt: skip
            assert not read & tables, (kind, name)
