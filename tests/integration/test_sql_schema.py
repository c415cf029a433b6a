"""
The files of sql/ among themselves, and the house rules of a schema.
"""

import re
import subprocess
import sys
from pathlib import Path

import asyncpg

SQL = Path(__file__).parents[2] / "sql"

SHAPE = """
select 'column' as kind, c.table_name || '.' || c.column_name as name,
       concat_ws(' ', c.ordinal_position, c.data_type, c.is_nullable, c.column_default, c.generation_expression) as definition
from information_schema.columns c where c.table_schema = 'policy'
union all
select 'constraint', k.conrelid::regclass || '.' || k.conname, pg_get_constraintdef(k.oid)
from pg_constraint k where k.connamespace = 'policy'::regnamespace
union all
select 'index', i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
from pg_index i join pg_class c on c.oid = i.indrelid where c.relnamespace = 'policy'::regnamespace
union all
select 'function', p.oid::regprocedure::text, pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '')
from pg_proc p where p.pronamespace = 'policy'::regnamespace
union all
select 'trigger', t.tgrelid::regclass || '.' || t.tgname, pg_get_triggerdef(t.oid)
from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = 'policy'::regnamespace and not t.tgisinternal
union all
select 'view', c.oid::regclass::text, pg_get_viewdef(c.oid)
from pg_class c where c.relnamespace = 'policy'::regnamespace and c.relkind = 'v'
union all
select 'grant', c.oid::regclass::text, coalesce(c.relacl::text, '')
from pg_class c where c.relnamespace = 'policy'::regnamespace and c.relkind in ('r', 'v')
union all
select 'comment', d.classoid::regclass || ' ' || pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description
from pg_description d
join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) i on i.schema = 'policy' or i.identity = 'policy'
union all
select 'option', o.object || '.' || o.name, o::text from policy.option o
order by 1, 2, 3
"""


async def shape(db: asyncpg.Connection) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in await db.fetch(SHAPE)]


async def test_schema_sql_is_the_sum_of_the_migrations(db, dsn):
    migrated = await shape(db)
    assert len(migrated) > 300
    await db.execute(
        "create database from_schema_sql_" + (name := await db.fetchval("select md5(current_database())"))
    )
    other = await asyncpg.connect(dsn, database=f"from_schema_sql_{name}")
    try:
        await other.execute((SQL / "schema.sql").read_text(encoding="utf-8"))
        assert await shape(other) == migrated
    finally:
        await other.close()
        await db.execute(f"drop database from_schema_sql_{name}")


def test_the_generated_files_are_what_the_generator_writes():
    run = subprocess.run(
        [sys.executable, SQL / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_each_migration_has_a_number_of_its_own_and_is_short():
    files = sorted(SQL.glob("[0-9]*.sql"))
    assert len({path.name[:4] for path in files}) == len(files)
    assert all(re.fullmatch(r"\d{4}_[a-z_]+\.sql", path.name) for path in files)
    assert [path.name for path in files if len(path.read_text(encoding="utf-8").splitlines()) > 350] == []


async def test_every_table_column_view_and_function_has_a_comment(db):
    silent = await db.fetch(
        """
        select c.oid::regclass::text || coalesce('.' || a.attname, '') as name
        from pg_class c left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'policy'::regnamespace and c.relkind in ('r', 'v')
          and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)
        union all
        select p.oid::regprocedure::text from pg_proc p
        where p.pronamespace = 'policy'::regnamespace and obj_description(p.oid, 'pg_proc') is null
        """
    )
    assert [row["name"] for row in silent] == []


async def test_no_function_can_be_led_astray_by_a_search_path(db):
    loose = await db.fetch(
        """
        select p.oid::regprocedure::text as name from pg_proc p
        where p.pronamespace = 'policy'::regnamespace and p.prosqlbody is null
          and not coalesce(p.proconfig @> array['search_path=""'], false)
        """
    )
    assert [row["name"] for row in loose] == []


async def test_nobody_but_granted_roles_may_call_what_runs_as_the_owner(db):
    open_ = await db.fetch(
        """
        select p.oid::regprocedure::text as name from pg_proc p
        where p.pronamespace = 'policy'::regnamespace and p.prosecdef and p.prorettype <> 'trigger'::regtype
          and has_function_privilege('public', p.oid, 'execute')
        """
    )
    assert [row["name"] for row in open_] == []


async def test_checks_and_foreign_keys_are_named_by_their_rule(db):
    unnamed = await db.fetch(
        """
        select k.conrelid::regclass || '.' || k.conname as name from pg_constraint k
        where k.connamespace = 'policy'::regnamespace and k.contype in ('c', 'f') and k.conname ~ '_(check|fkey)\\d*$'
        """
    )
    assert [row["name"] for row in unnamed] == []


async def test_documents_are_found_by_index_lookups(db):
    await db.execute("set enable_seqscan = off")
    views = [
        row[0]
        for row in await db.fetch(
            "select viewname from pg_views where schemaname = 'policy' and viewname like '%_document'"
        )
    ]
    assert len(views) >= 9
    for view in views:
        plan = await db.fetch(
            f"explain select tag, body from policy.{view} where tag = any (array['a', 'b'])"
        )
        text = "\n".join(row[0] for row in plan)
        if view not in ("queue_settings_document", "shaping_document", "webhook_document"):  # one of each
            assert "Seq Scan" not in text, text
            assert "tag = ANY" in text


async def test_generated_tags_are_what_policy_tag_writes(db):
    await db.execute(
        """
        insert into policy.egress_source (name) values ('a/b%c');
        insert into policy.egress_source_group (name, node_group) values ('a/b%c', 'eu');
        insert into policy.egress_pool (name) values ('p/%');
        insert into policy.egress_pool_group (name, node_group) values ('p/%', 'eu');
        insert into policy.egress_pool_entry (pool, source) values ('p/%', 'a/b%c');
        insert into policy.egress_pool_group_entry (pool, node_group, source) values ('p/%', 'eu', 'a/b%c');
        insert into policy.tenant (name) values ('t/%');
        insert into policy.tenant_campaign (tenant, campaign) values ('t/%', 'c/%');
        insert into policy.queue (domain) values ('*.example.com');
        insert into policy.queue_tenant (domain, tenant) values ('*.example.com', 't/%');
        insert into policy.queue_campaign (domain, tenant, campaign) values ('*.example.com', 't/%', 'c/%');
        insert into policy.listener_domain (listener, domain) values ('[::1]:25', '*');
        """
    )
    wrong = await db.fetch(
        """
        select tag from policy.egress_source where tag <> policy.tag('egress_source', '*', name)
        union all select tag from policy.egress_source_group where tag <> policy.tag('egress_source', node_group, name)
        union all select tag from policy.egress_pool where tag <> policy.tag('egress_pool', '*', name)
        union all select tag from policy.egress_pool_entry where tag <> policy.tag('egress_pool', '*', pool)
        union all select tag from policy.egress_pool_group where tag <> policy.tag('egress_pool', node_group, name)
        union all select tag from policy.egress_pool_group_entry where tag <> policy.tag('egress_pool', node_group, pool)
        union all select tag from policy.tenant where tag <> policy.tag('tenant', name)
        union all select tag from policy.tenant_campaign where tag <> policy.tag('tenant', tenant)
        union all select tag from policy.queue where tag <> policy.tag('queue', domain)
        union all select tag from policy.queue_tenant where tag <> policy.tag('queue', domain, tenant)
        union all select tag from policy.queue_campaign where tag <> policy.tag('queue', domain, tenant, campaign)
        union all select tag from policy.listener_domain where tag <> policy.tag('listener_domain', listener, domain)
        """
    )
    assert [row["tag"] for row in wrong] == []
