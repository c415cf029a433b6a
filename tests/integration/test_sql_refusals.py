"""
What a row may not say, and how it is told.
"""

import asyncpg
import pytest

from tests.integration.sql_log import head


async def refusal(db: asyncpg.Connection, statement: str) -> asyncpg.PostgresError:
    """The error that a statement ends in."""
    with pytest.raises(asyncpg.PostgresError) as caught:
        await db.execute(statement)
    return caught.value


async def test_a_refusal_names_table_key_field_value_and_what_is_allowed(db):
    await db.execute("insert into policy.queue (domain) values ('example.com')")
    error = await refusal(
        db,
        "insert into policy.queue_tenant (domain, tenant, options) values ('example.com', 'acme', '{\"max_age\": \"soon\"}')",
    )
    assert str(error) == (
        "policy.queue_tenant, domain 'example.com', tenant 'acme': max_age is \"soon\"; allowed is"
        ' one second to 366 days: a number such as 86400, or text such as "12h" or "7 days".'
    )
    assert (error.table_name, error.column_name) == ("queue_tenant", "max_age")
    assert error.constraint_name == "options_are_what_kumomta_accepts"


SENTENCES = [
    ("listener_domain (domain, relay_from) values ('a.example', '{10.0.0.1/24}')", 'relay_from is ["10.0.0.1/24"]; allowed is a list of'),
    ("listener_domain (domain, log_oob) values ('a.example', 'Never')", 'log_oob is "Never"; allowed is true, false, Ignore,'),
    ("listener_domain (domain, relay_from_authz) values ('a.example', '{\"\"}')", 'relay_from_authz is [""]; allowed is a list of texts'),
    ("egress_source (name, source_address) values ('a', '10.0.0.1:25')", 'source_address is "10.0.0.1:25"; allowed is an IPv4'),
    ("egress_source (name, remote_port) values ('a', 70000)", "remote_port is 70000; allowed is an integer from 1 to 65535"),
    ("egress_source (name, ehlo_domain) values ('a', e'x\\r\\nMAIL')", "allowed is text that is not blank, without control"),
    ("egress_source (name, suspend_when_unplumbed) values ('a', '{}')", 'suspend_when_unplumbed is {}; allowed is {"duration"'),
    ("egress_source (name, ha_proxy_server) values ('a', '10.0.0.1:25')", "ha_proxy_server is set without ha_proxy_source_address"),
    ("tenant (name, overall_max_message_rate) values ('a', '100')", 'overall_max_message_rate is "100"; allowed is a rate above'),
    ("tenant (name, require_authz) values ('a', '{NULL}')", "require_authz is [null]; allowed is a list of texts"),
    ("tenant (name, options) values ('a', '{\"max_message_rate\": null}')", "max_message_rate is null; allowed is a rate"),
    ("queue (domain, options) values ('a.example', '{\"retry_intervall\": 5}')", "did you mean retry_interval?"),
    ("queue (domain, options) values ('a.example', '{\"overall_max_message_rate\": \"1/s\"}')", "is no option of queue_config"),
]  # fmt: skip


async def test_types_are_judged_with_a_sentence(db):
    for row, sentence in SENTENCES:
        error = await refusal(db, f"insert into policy.{row}")
        assert sentence in str(error)
        assert error.constraint_name == "options_are_what_kumomta_accepts"


RULES = [
    ("listener_domain (domain) values ('Example.com')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (domain) values ('example.com.')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (domain) values ('')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (domain) values ('a.*.com')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (domain) values ('bücher.example')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (domain) values ('[10.0.0.1]')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    (f"queue (domain) values ('{'a' * 64}.example')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    (f"queue (domain) values ('{'a.' * 126}aa')", "domain_is_lower_case_a_labels_without_trailing_dot"),
    ("listener_domain (listener, domain) values ('any one', 'a.example')", "listener_is_a_star_an_address_with_port_or_a_name"),
    ("tenant (name) values ('a@b')", "name_has_no_separator_of_queue_names"),
    ("tenant (name) values ('a:b')", "name_has_no_separator_of_queue_names"),
    ("tenant (name) values ('a!b')", "name_has_no_separator_of_queue_names"),
    ("tenant (name) values ('')", "name_has_no_separator_of_queue_names"),
    ("tenant (name) values (e'a\\x01')", "name_has_no_separator_of_queue_names"),
    ("queue_tenant (domain, tenant) values ('default', 'a@b')", "tenant_has_no_separator_of_queue_names"),
    ("egress_pool (name) values ('policyd-hold')", "policyd_hold_is_reserved"),
    ("egress_pool (name) values (' a')", "name_is_1_to_255_characters_trimmed_without_controls"),
    ("egress_pool_entry (pool, source) values ('unspecified', 'unspecified')", "the_pool_unspecified_has_no_entries"),
    ("egress_pool_entry (pool, source) values ('unspecified', 'nope')", "the_pool_unspecified_has_no_entries"),
    ("egress_source_group (name, node_group) values ('unspecified', 'eu')", "name_is_not_unspecified"),
    ("egress_source_group (name, node_group) values ('nope', 'eu')", "the_source_exists"),
    ("tenant (name, egress_pool) values ('a', 'nope')", "the_egress_pool_exists"),
    ("queue_tenant (domain, tenant) values ('nope.example', 'a')", "the_queue_exists"),
    ("queue_campaign (domain, tenant, campaign) values ('default', 'a', 'c')", "the_queue_of_the_tenant_exists"),
    ("queue (domain, options) values ('a.example', '[]')", "options_is_an_object"),
    ("queue (domain, options) values ('a.example', '{\"egress_pool\": \"unspecified\"}')", "egress_pool_and_routing_domain_are_columns_not_options"),
    ("queue (domain, options) values ('a.example', '{\"routing_domain\": \"b\"}')", "egress_pool_and_routing_domain_are_columns_not_options"),
    ("queue (domain, routing_domain) values ('a.example', 'b!c')", "routing_domain_is_a_domain_or_an_address_literal"),
    ("queue_settings (on_missing) values ('drop')", "on_missing_is_hold_or_stock"),
    ("api_token (name, sha256, scopes) values ('a.b', repeat('0', 64), '{lookup}')", "name_is_letters_digits_underscore_hyphen"),
    ("api_token (name, sha256, scopes) values ('a', 'secret', '{lookup}')", "sha256_is_64_lower_case_hex_digits"),
    ("api_token (name, sha256, scopes) values ('a', repeat('0', 64), '{}')", "scopes_are_some_of_lookup_dkim_auth_status_admin"),
    ("api_token (name, sha256, scopes) values ('a', repeat('0', 64), '{root}')", "scopes_are_some_of_lookup_dkim_auth_status_admin"),
]  # fmt: skip


async def test_constraints_are_named_by_their_rule(db):
    for row, rule in RULES:
        assert (await refusal(db, f"insert into policy.{row}")).constraint_name == rule, row


async def test_names_that_mail_really_has_are_taken(db):
    for domain in (
        "*",
        "*.example.com",
        "_dmarc.example.com",
        "xn--bcher-kva.example",
        "a_b.example",
        "localhost",
        "1.example",
    ):
        await db.execute("insert into policy.queue (domain) values ($1)", domain)
        await db.execute(
            "insert into policy.listener_domain (listener, domain) values ('[2001:db8::1]:25', $1)", domain
        )
    await db.execute("insert into policy.tenant (name) values ('Acme GmbH & Co/KG 100%')")


async def test_what_policy_cannot_do_without_stays(db):
    for statement, sentence in {
        "delete from policy.queue": "queue default cannot be deleted or renamed",
        "update policy.queue set domain = 'other'": "queue default cannot be deleted or renamed",
        "delete from policy.queue_settings": "the row of queue_settings cannot be deleted",
        "delete from policy.egress_pool": "egress_pool unspecified cannot be deleted or renamed: KumoMTA itself",
        "update policy.egress_source set name = 'x'": "egress_source unspecified cannot be deleted or renamed",
    }.items():
        error = await refusal(db, statement)
        assert sentence in str(error)
        assert error.constraint_name == "some_rows_stay"
    error = await refusal(db, "update policy.egress_source set ehlo_domain = 'x' where name = 'unspecified'")
    assert error.constraint_name == "the_source_unspecified_is_kumomtas_own_and_takes_no_settings"
    await db.execute("update policy.queue set options = '{\"max_age\": 60}' where domain = 'default'")


async def test_what_is_in_use_cannot_be_deleted(db):
    await db.execute(
        """
        insert into policy.egress_source (name) values ('s');
        insert into policy.egress_pool (name) values ('p');
        insert into policy.egress_pool_entry (pool, source) values ('p', 's');
        insert into policy.tenant (name, egress_pool) values ('t', 'p');
        update policy.queue_settings set default_tenant = 't';
        """
    )
    assert (
        await refusal(db, "delete from policy.egress_source where name = 's'")
    ).constraint_name == "the_source_exists"
    assert (
        await refusal(db, "delete from policy.egress_pool where name = 'p'")
    ).constraint_name == "the_egress_pool_exists"
    assert (
        await refusal(db, "delete from policy.tenant where name = 't'")
    ).constraint_name == "the_default_tenant_exists"


async def hundreds(db: asyncpg.Connection, number: int) -> None:
    await db.execute(
        f"insert into policy.tenant (name) select 't' || n from generate_series(1, {number}) as n"
    )


async def test_a_mass_change_is_refused_and_says_how_to_proceed(db):
    await hundreds(db, 500)
    before = await head(db)
    error = await refusal(db, "delete from policy.tenant where name > 't2'")
    assert error.message == (
        "this statement would delete 388 of the 500 rows of policy.tenant: more than 100 and more than a tenth"
    )
    assert error.hint == (
        "If that is meant, say why in the same transaction: set local policy.allow_mass_change = '<reason>'"
    )
    assert error.constraint_name == "mass_changes_need_a_reason"
    assert "update 500 of the 500" in str(
        await refusal(db, "update policy.tenant set options = '{\"max_age\": 60}'")
    )
    assert await head(db) == before


async def test_a_mass_change_with_a_reason_passes_and_the_reason_is_kept(db):
    await hundreds(db, 500)
    async with db.transaction():
        await db.execute("set local policy.allow_mass_change = 'leaving'")
        await db.execute("delete from policy.tenant")
    assert await db.fetchval("select reason from policy.revision order by number desc limit 1") == "leaving"
    await hundreds(db, 500)
    await refusal(db, "delete from policy.tenant")


async def test_a_hundred_rows_or_a_tenth_are_no_mass_change(db):
    await hundreds(db, 100)
    await db.execute("update policy.tenant set options = '{\"max_age\": 60}'")
    await db.execute("delete from policy.tenant")
    await hundreds(db, 1500)
    await db.execute("delete from policy.tenant where substr(name, 2)::integer <= 150")
    assert "delete 136 of the 1350" in str(
        await refusal(db, "delete from policy.tenant where substr(name, 2)::integer <= 286")
    )


async def test_an_update_of_all_that_changes_few_is_no_mass_change(db):
    await hundreds(db, 500)
    await db.execute("update policy.tenant set require_authz = case when name = 't7' then '{x}'::text[] end")


async def test_rows_that_go_with_their_parent_do_not_count(db):
    await db.execute(
        """
        insert into policy.queue (domain) values ('big.example'), ('other.example');
        insert into policy.queue_tenant (domain, tenant) select 'big.example', 't' || n from generate_series(1, 300) as n;
        insert into policy.queue_campaign (domain, tenant, campaign) select 'big.example', 't' || n, 'c' from generate_series(1, 300) as n;
        insert into policy.queue_tenant (domain, tenant) select 'other.example', 't' || n from generate_series(1, 300) as n;
        """
    )
    await refusal(db, "delete from policy.queue_tenant where domain = 'big.example'")
    await db.execute("delete from policy.queue where domain = 'big.example'")
    assert await db.fetchval("select count(*) from policy.queue_tenant") == 300
    assert await db.fetchval("select count(*) from policy.queue_campaign") == 0


async def test_all_parents_may_go_with_all_their_children(db):
    await db.execute(
        """
        insert into policy.tenant (name) select 't' || n from generate_series(1, 90) as n;
        insert into policy.tenant_campaign (tenant, campaign) select name, 'c' || n from policy.tenant, generate_series(1, 50) as n;
        """
    )
    before = await head(db)
    await db.execute("delete from policy.tenant")
    assert (
        await db.fetchval("select count(*) from policy.change where revision = $1", before + 1) == 90 + 4500
    )


async def node(db: asyncpg.Connection, name: str, version: str, ago: str) -> None:
    await db.execute(
        f"insert into policy.node (node_id, kumomta_version, last_seen) values ($1, $2, now() - interval '{ago}')",
        name,
        version,
    )


async def test_an_option_newer_than_a_live_node_is_refused_naming_the_nodes(db):
    await node(db, "mx1", "2026.06.23-abc", "1 minute")
    await node(db, "mx2", "2026.08.04-3ebc1e85", "1 minute")
    await node(db, "gone", "2025.01.01-abc", "11 minutes")
    error = await refusal(
        db,
        "insert into policy.egress_source (name, suspend_when_unplumbed) values ('a', '{\"duration\": \"5m\"}')",
    )
    assert str(error) == (
        "policy.egress_source, name 'a': suspend_when_unplumbed needs KumoMTA 2026.08.04; older are: mx1 (2026.06.23-abc)."
    )
    nested = '{"protocol": {"smtp": {"treat_mx_list_as_secure": true}}}'
    error = await refusal(db, f"insert into policy.queue (domain, options) values ('a.example', '{nested}')")
    assert "protocol.smtp.treat_mx_list_as_secure needs KumoMTA 2026.08.04" in str(error)
    await db.execute("delete from policy.node where node_id = 'mx1'")
    await db.execute(f"insert into policy.queue (domain, options) values ('a.example', '{nested}')")


async def test_what_a_statement_leaves_as_it_was_is_not_judged_again(db):
    await db.execute(
        """
        insert into policy.egress_source (name, suspend_when_unplumbed) values ('a', '{"duration": "5m"}');
        insert into policy.queue (domain, options) values ('a.example', '{"max_age": 60}');
        update policy.option set format = 'bool' where (object, name) = ('queue_config', 'max_age');
        """
    )
    await node(db, "mx1", "2026.06.23-abc", "1 minute")
    await db.execute("update policy.queue set routing_domain = 'b.example' where domain = 'a.example'")
    await refusal(db, "update policy.queue set options = '{\"max_age\": 61}' where domain = 'a.example'")
    await refusal(db, "update policy.egress_source set name = 'b', ehlo_domain = 'x' where name = 'a'")


async def test_one_wrong_row_among_many_is_found_and_named(db):
    error = await refusal(
        db,
        """
        insert into policy.queue (domain, options)
        select 'd' || n || '.example', jsonb_build_object('protocol', jsonb_build_object('custom_lua', jsonb_build_object(
          'constructor', 'make', 'batch_size', case n when 777 then 60.0 else 60 end)))
        from generate_series(1, 1000) as n
        """,
    )
    assert "policy.queue, domain 'd777.example': protocol is" in str(error)


@pytest.mark.parametrize("change", ["source_address = '192.0.2.2'", "ehlo_domain = 'b.example'"])
async def test_a_new_address_of_a_used_source_is_warned_about(db, change):
    heard: list[asyncpg.PostgresLogMessage] = []
    db.add_log_listener(lambda _, message: heard.append(message))
    await db.execute("insert into policy.egress_source (name, source_address) values ('a', '192.0.2.1')")
    await db.execute(f"update policy.egress_source set {change} where name = 'a'")
    assert heard == []
    await db.execute("insert into policy.egress_pool (name) values ('p')")
    await db.execute("insert into policy.egress_pool_entry (pool, source) values ('p', 'a')")
    await db.execute("update policy.egress_source set remote_port = 26 where name = 'a'")
    assert heard == []
    await db.execute("update policy.egress_source set source_address = '192.0.2.3' where name = 'a'")
    (warning,) = heard
    assert "source 'a' is in use" in str(warning)
    assert warning.hint is not None
    assert "add a source with the new address" in warning.hint


async def test_a_node_whose_version_is_no_version_stops_nobodys_newer_options(db):
    await db.execute("insert into policy.node (node_id, kumomta_version) values ('mx-1', '1')")
    await db.execute(
        """insert into policy.egress_source (name, suspend_when_unplumbed) values ('ip-1', '{"duration": "5m"}')"""
    )
