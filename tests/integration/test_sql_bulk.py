"""
Many rows at once are judged as one by one: a wrong record among hundreds is found, and named by its row.
"""

import asyncpg
import pytest


async def test_a_wrong_record_among_hundreds_is_found_and_its_row_is_named(db):
    with pytest.raises(asyncpg.CheckViolationError, match=r"policy\.listener_domain, listener '\*', domain 'd77\.example': log_oob is \"Never\""):  # fmt: skip
        await db.execute("insert into policy.listener_domain (domain, log_oob) select 'd' || n || '.example', case when n = 77 then 'Never' end from generate_series(1, 300) as n")  # fmt: skip
    await db.execute("insert into policy.listener_domain (domain, relay_to) select 'd' || n || '.example', true from generate_series(1, 300) as n")  # fmt: skip
    await db.execute("set policy.allow_mass_change = 'x'")
    with pytest.raises(asyncpg.CheckViolationError, match=r"domain 'd123\.example': relay_from is"):
        await db.execute("update policy.listener_domain set relay_from = case when domain = 'd123.example' then '{nowhere}'::text[] end")  # fmt: skip


async def test_a_number_that_json_calls_equal_is_judged_by_how_it_is_written(db):
    rows = "insert into policy.shaping_domain (domain, options) select 'd' || n || '.example', (case when n = {} then '{{\"max_ready\": 5.0}}' else '{{\"max_ready\": 5}}' end)::jsonb from generate_series(1, 300) as n"
    for place in (1, 150, 300):
        with pytest.raises(
            asyncpg.CheckViolationError, match=rf"domain 'd{place}\.example': max_ready is 5\.0"
        ):
            await db.execute(rows.format(place))
    await db.execute(rows.format(0))


async def test_every_table_is_judged_in_bulk_by_the_same_records_but_for_the_names(db):
    """The query for many rows, against what a few rows are judged by."""
    judged = await db.fetch(
        r"""
        select distinct t.tgrelid::regclass::text as name, convert_from(a.argument, 'utf8') as object
        from pg_trigger t cross join lateral (
          select regexp_split_to_table(encode(t.tgargs, 'escape'), '\\000')) as s (text)
        cross join lateral (select convert_to(s.text, 'utf8')) as a (argument)
        where t.tgname = 't100_check_options_insert' and s.text not in ('', 'queue_config')
        """
    )
    assert len(judged) > 10
    for table, object_name in judged:
        query = await db.fetchval("select policy.records_query($1::text::regclass, $2)", table, object_name)
        await db.execute(query.replace("new_rows", table))


async def test_who_may_not_use_an_option_may_not_in_bulk(db):
    await db.execute("set role policyd_editor")
    with pytest.raises(
        asyncpg.CheckViolationError, match=r"name 's200': ha_proxy_server\.unix is restricted"
    ):
        await db.execute("insert into policy.egress_source (name, ha_proxy_server, ha_proxy_source_address) select 's' || n, case when n = 200 then '/run/x.sock' else '10.0.0.9:1' end, '10.0.0.1' from generate_series(1, 300) as n")  # fmt: skip


async def test_what_was_restricted_already_may_stay_in_bulk(db):
    await db.execute("insert into policy.egress_source (name, ha_proxy_server, ha_proxy_source_address) select 's' || n, '/run/x.sock', '10.0.0.1' from generate_series(1, 300) as n")  # fmt: skip
    await db.execute("set role policyd_editor; set policy.allow_mass_change = 'x'")
    with pytest.raises(asyncpg.CheckViolationError, match=r"ha_proxy_server\.unix is restricted"):
        await db.execute("update policy.egress_source set ha_proxy_server = '/run/y.sock' where name = 's1' or name like 's2%'")  # fmt: skip
    await db.execute("update policy.egress_source set ha_proxy_server = null, ha_proxy_source_address = null where name like 's1%'")  # fmt: skip
