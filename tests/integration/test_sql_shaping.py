"""
Shaping as rows: one document, and what a row of it may not say.
"""

import json
from typing import Any

import asyncpg
import pytest

from policyd.policy.shaping import SECRETS
from tests.integration.sql_log import head

ROWS = """
    insert into policy.shaping_domain (domain, position, options) values ('b.example', 2, '{}'), ('a.example', 2, '{"smtp_port": 25}'),
      ('z.example', 1, '{}'), ('0.example', null, '{}'), ('default', null, '{"connection_limit": 10}');
    insert into policy.shaping_domain_source (domain, source, options) values ('z.example', 'ip-1', '{"smtp_port": 26}'), ('z.example', 'IP-1', '{}');
    insert into policy.shaping_provider (name) values ('p');
    insert into policy.shaping_provider_automation (provider, position, regex, action, duration)
    values ('p', 20, '{later}', '["Suspend"]', '60'), ('p', 3, '{first}', '["Bounce"]', '60');
"""


async def document(db: asyncpg.Connection) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(await db.fetchval("select body from policy.shaping_document"))
    return body


async def test_the_document_is_always_there_and_keeps_the_order_of_positions(db):
    assert await document(db) == {"providers": [], "domains": []}
    await db.execute(ROWS)
    body = await document(db)
    assert [each["name"] for each in body["domains"]] == [
        "default", "z.example", "a.example", "b.example", "0.example",
    ]  # fmt: skip
    assert [each["name"] for each in body["domains"][1]["sources"]] == ["IP-1", "ip-1"]
    assert [each["regex"] for each in body["providers"][0]["automation"]] == [["first"], ["later"]]


async def test_every_row_of_it_is_a_change_of_the_one_document(db):
    await db.execute(ROWS)
    tags = await db.fetch(
        "select distinct unnest(tags) as tag from policy.change where \"table\" like 'shaping%'"
    )
    assert [row["tag"] for row in tags] == ["shaping"]
    before = await head(db)
    await db.execute("delete from policy.shaping_domain where domain = 'z.example'")
    assert await head(db) == before + 1
    gone = await db.fetch(
        "select \"table\" from policy.change where revision = $1 and op = 'delete'", before + 1
    )
    assert {row["table"] for row in gone} == {"shaping_domain", "shaping_domain_source"}
    await db.execute("select policy.invalidate('shaping', 'a test')")


RULE = "insert into policy.shaping_provider_automation (provider, position, regex, action, duration, threshold) values ('p', 1, {regex}, {action}, {duration}, {threshold})"
SENTENCES = [
    ("shaping_domain (domain, options) values ('a.example', '{\"max_mesage_rate\": \"1/s\"}')", "domain 'a.example': max_mesage_rate is no option of egress_path; did you mean max_message_rate?"),
    ("shaping_domain (domain, options) values ('a.example', '{\"tls_private_key\": \"/etc/key\"}')", "tls_private_key holds something else than a reference (not shown)"),
    ("shaping_provider (name, provider_connection_limit) values ('q', '0')", "name 'q': provider_connection_limit is 0; allowed is a limit of at least 1"),
    ("shaping_provider (name, provider_max_message_rate) values ('q', '5')", 'provider_max_message_rate is "5"; allowed is a rate'),
    ("shaping_provider_source (provider, source, provider_source_selection_rate) values ('p', 's', '0/s')", 'provider_source_selection_rate is "0/s"; allowed is a rate'),
    ("shaping_provider_source (provider, source, options) values ('p', 's', '{\"smtp_port\": 0}')", "smtp_port is 0; allowed is an integer from 1"),
]  # fmt: skip


async def test_options_are_judged_with_a_sentence(db):
    await db.execute("insert into policy.shaping_provider (name) values ('p')")
    for row, sentence in SENTENCES:
        with pytest.raises(asyncpg.CheckViolationError) as caught:
            await db.execute(f"insert into policy.{row}")
        assert sentence in str(caught.value), row


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"action": "'[]'"}, "action is []; allowed is a list of at least one action"),
        ({"action": "'\"Suspend\"'"}, 'action is "Suspend"; allowed is a list'),
        ({"action": "'[\"Suspnd\"]'"}, 'action is "Suspnd"; allowed is Suspend, SuspendTenant,'),
        ({"action": "'[{\"SetConfig\": {\"name\": \"smtp_port\"}}]'"}, "allowed is Suspend, SuspendTenant,"),
        ({"action": "'[{\"SetConfig\": {\"name\": \"smtp_port\", \"value\": 25, \"unit\": 1}}]'"}, "allowed is Suspend, SuspendTenant,"),
        ({"action": "'[{\"SetConfig\": {\"name\": \"smtp_port\", \"value\": 0}}]'"}, "action sets an option wrongly: smtp_port is 0; allowed is an integer"),
        ({"action": "'[{\"SetDomainConfig\": {\"name\": \"smtp_prt\", \"value\": 25}}]'"}, "did you mean smtp_port?"),
        ({"regex": "'{}'"}, "regex is empty; allowed is a list of at least one"),
        ({"regex": "'{fine,\"a(b\"}'"}, 'regex is "a(b": no engine takes that'),
        ({"regex": "'{\" \"}'"}, 'regex is [" "]; allowed is a list of texts that are not blank'),
        ({"duration": "'-1'"}, "duration is -1; allowed is at least one second"),
        ({"duration": "'\"soon\"'"}, 'duration is "soon"; allowed is at least one second'),
        ({"threshold": "'3'"}, 'threshold is "3"; allowed is a rate above zero'),
    ],
)  # fmt: skip
async def test_a_rule_is_judged_with_a_sentence(db, wrong, sentence):
    await db.execute("insert into policy.shaping_provider (name) values ('p')")
    right = {"regex": "'{busy}'", "action": "'[\"Suspend\"]'", "duration": "'\"1h\"'", "threshold": "null"}
    await db.execute(RULE.format(**right))
    await db.execute("delete from policy.shaping_provider_automation")
    with pytest.raises(asyncpg.CheckViolationError) as caught:
        await db.execute(RULE.format(**{**right, **wrong}))
    assert "policy.shaping_provider_automation, provider 'p', position '1': " in str(caught.value)
    assert sentence in str(caught.value)


async def test_an_option_that_a_rule_sets_may_be_newer_than_a_node(db):
    await db.execute("insert into policy.node (node_id, kumomta_version) values ('mx1', '2026.06.23-abc')")
    await db.execute("insert into policy.shaping_domain (domain) values ('a.example')")
    with pytest.raises(asyncpg.CheckViolationError, match=r"needs KumoMTA 2026\.08\.04; older are: mx1"):
        await db.execute(
            """
            insert into policy.shaping_domain_automation (domain, position, regex, action, duration) values ('a.example', 1, '{x}',
              '[{"SetConfig": {"name": "allow_smtp_auth_plain_without_valid_certificate", "value": true}}]', '60')
            """
        )


RULES = [
    ("shaping_domain (domain) values ('A.example')", "domain_is_default_or_a_lower_case_name_without_wildcard"),
    ("shaping_domain (domain) values ('*.example')", "domain_is_default_or_a_lower_case_name_without_wildcard"),
    ("shaping_domain (domain) values ('provider')", "domain_is_default_or_a_lower_case_name_without_wildcard"),
    ("shaping_domain (domain) values ('a.example..')", "domain_is_default_or_a_lower_case_name_without_wildcard"),
    ("shaping_domain (domain, mx_rollup) values ('a.example.', false)", "a_dot_at_the_end_is_for_what_rolls_up"),
    ("shaping_domain (domain, mx_rollup) values ('default', false)", "default_does_not_roll_up"),
    ("shaping_domain (domain, options) values ('a.example', '{\"mx_rollup\": true}')", "mx_rollup_and_what_has_a_table_are_not_options"),
    ("shaping_domain (domain, options) values ('a.example', '[]')", "options_is_an_object"),
    ("shaping_domain_source (domain, source) values ('default', 's')", "default_has_no_sources"),
    ("shaping_domain_source (domain, source) values ('nope.example', 's')", "the_shaping_domain_exists"),
    ("shaping_provider (name) values (' ')", "name_is_1_to_255_characters_trimmed_without_controls"),
    ("shaping_provider (name, options) values ('q', '{\"match\": []}')", "what_has_a_column_or_a_table_is_not_an_option"),
    ("shaping_provider_match (provider, rule, value) values ('p', 'Suffix', 'a')", "rule_is_mxsuffix_domainsuffix_or_hostname"),
    ("shaping_provider_match (provider, rule, value) values ('p', 'MXSuffix', '.A')", "value_is_lower_case_without_a_dot_at_the_end"),
    ("shaping_provider_match (provider, rule, value) values ('p', 'MXSuffix', 'a.')", "value_is_lower_case_without_a_dot_at_the_end"),
    ("shaping_provider_match (provider, rule, value) values ('nope', 'MXSuffix', 'a')", "the_shaping_provider_exists"),
]  # fmt: skip


async def test_constraints_are_named_by_their_rule(db):
    await db.execute("insert into policy.shaping_provider (name) values ('p')")
    await db.execute("insert into policy.shaping_domain (domain) values ('default')")
    for row, rule in RULES:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as caught:
            await db.execute(f"insert into policy.{row}")
        assert caught.value.constraint_name == rule, row


async def test_names_that_paths_really_have_are_taken(db):
    names = (
        "a.example",
        "_dmarc.example",
        "[10.0.0.1]",
        "[ipv6:2001:db8::1]:25",
        "localhost",
        "xn--bcher-kva.example",
    )
    for name in (*names, "http://127.0.0.1:8008.tsa.kumomta", "hook.log_hook", "a.example."):
        await db.execute("insert into policy.shaping_domain (domain) values ($1)", name)


@pytest.mark.parametrize(
    "taken",
    [
        r"\[TS?S04\]", r"weren.t", "a|b", r"(?:a|(b)[c)])+?", "[]a]", "[^]]+", "[[:alpha:]_]{2,3}", r"(?<!x)y", r"\d+\.\d+\\",
        "(?x) a ( # not a group\n)", "a{2}", "^$", r"\(", r"[\]\[]", "ü",
    ],
)  # fmt: skip
async def test_what_may_be_a_regex_is_left_to_kumod(db, taken):
    assert await db.fetchval("select policy.is_regex($1)", taken)


@pytest.mark.parametrize(
    "refused", ["", "a(b", "a)b", "[a", "a[b(]c(", "\\", "ab\\", "*a", "a|+b", "(*a)", "x" * 10_001]
)
async def test_what_cannot_be_a_regex_is_refused(db, refused):
    assert not await db.fetchval("select policy.is_regex($1)", refused)


async def test_long_regexes_are_judged_in_no_time(db):
    await db.execute("set statement_timeout = '2s'")
    for text in ("(" * 5000 + ")" * 5000, "[" * 10_000, "(" * 10_000, "\\" * 10_000, "a|" * 5000):
        await db.fetchval("select policy.is_regex($1)", text)


async def test_what_is_written_as_an_event_is_what_the_catalogue_calls_a_secret(db):
    names = await db.fetch(
        "select name from policy.option where object = 'egress_path' and format = 'secret'"
    )
    assert {row["name"] for row in names} == SECRETS


async def test_an_editor_changes_shaping_and_a_reader_only_reads_it(db):
    await db.execute("set role policyd_editor")
    await db.execute(ROWS)
    await db.execute("reset role")
    for role in ("policyd_reader", "policyd_service"):
        await db.execute(f"set role {role}")
        assert (await document(db))["providers"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("delete from policy.shaping_domain")
        await db.execute("reset role")
