"""`policyd validate`: each check finds what it is for, and nothing in a policy that is in order."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from policyd.cli.validating import validate_command
from policyd.operate.importing import import_rows
from policyd.operate.policy_checks import CHECKS
from policyd.operate.validating import PolicyFinding, validate
from policyd.store import checks as store
from policyd.store.pool import Connection
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.conftest import Postgres, connection_to

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLE = Path(__file__).parents[2] / "deploy/example"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$CanaryCanaryCanaryCanA$CanaryCanaryCanaryCanaryCanaryCanaryCanaryC"
PLACED = "update policy.queue set egress_pool = 'unspecified' where domain = 'default';"
NAMED = "update policy.queue_settings set tenant_header = 'X-T', campaign_header = 'X-C';"
SOURCES = (
    "insert into policy.egress_source (name, source_address) values ('a', '10.0.0.1'), ('b', '10.0.0.2');"
)
POOL = f"{SOURCES} insert into policy.egress_pool (name) values ('p'); insert into policy.egress_pool_entry (pool, source) values ('p', 'a'), ('p', 'b');"
SIGNED = "update policy.dkim_settings set selector = 's1';"
CREDENTIAL = (
    f"insert into policy.smtp_credential (username, tenant, password_hash) values ('u', 't', '{HASH}');"
)
UNCHECKED = "set local session_replication_role = replica;"
"""As in a restore: no trigger looks at what is written."""

Case = tuple[str, str, set[str]]
CASES: list[Case] = [
    ("refused_options", UNCHECKED + """insert into policy.queue (domain, options) values ('a.com', '{"max_agee": 1}')""", {"error queue/a.com: domain 'a.com': max_agee is no option of queue_config; did you mean max_age?"}),
    ("refused_options", UNCHECKED + "insert into policy.listener_domain (domain, log_oob) values ('a.com', 'Maybe'), ('b.com', 'Maybe')", {"error listener_domain/*/a.com: listener '*', domain 'a.com': log_oob is \"Maybe\"; allowed is true, false, Ignore, LogThenDrop, LogThenRelay.", "error listener_domain/*/b.com: listener '*', domain 'b.com': log_oob is \"Maybe\"; allowed is true, false, Ignore, LogThenDrop, LogThenRelay."}),
    ("reference_to_nothing", UNCHECKED + "insert into policy.tenant (name, egress_pool) values ('t', 'gone'); insert into policy.queue_campaign (domain, tenant, campaign) values ('a.com', 't', 'c'); insert into policy.webhook (name, url, events, tenant) values ('w', 'https://a.example', '{Bounce}', 'who');" + CREDENTIAL.replace("'t'", "'who'"), {"error tenant/t: name 't': there is no policy.egress_pool 'gone'", "error queue/a.com/t/c: domain 'a.com', tenant 't', campaign 'c': there is no policy.queue_tenant 'a.com t'", "error webhook: name 'w': there is no policy.tenant 'who'", "error smtp_credential/u: username 'u': there is no policy.tenant 'who'"}),
    ("options_that_nodes_do_not_know", """insert into policy.queue (domain, options) values ('a.com', '{"protocol": {"smtp": {"treat_mx_list_as_secure": true}}}');
        insert into policy.node (node_id, kumomta_version) values ('mx1', '2026.05.12-abc'), ('mx2', '2026.08.04-def')""", {"error queue/a.com: domain 'a.com': protocol.smtp.treat_mx_list_as_secure needs KumoMTA 2026.08.04, and older are mx1 (2026.05.12-abc)"}),
    ("mail_without_a_pool", "update policy.queue_settings set on_missing = 'hold'", {"error queue/default: mail of no tenant to any domain without an entry of its own waits, and bounces in the end"}),
    ("mail_without_a_pool", "update policy.queue_settings set on_missing = 'stock'", {"warning queue/default: mail of no tenant to any domain without an entry of its own leaves from the host's own address"}),
    ("mail_without_a_pool", "insert into policy.tenant (name, egress_pool) values ('t', null), ('placed', 'unspecified'); update policy.queue_settings set default_tenant = 't'", {"error tenant/t: mail of tenant 't' to any domain without an entry of its own waits, and bounces in the end"}),
    ("mail_without_a_pool", "insert into policy.queue (domain, egress_pool) values ('*', 'unspecified'), ('a.com', null)", {"error queue/default: mail of no tenant to a.com waits, and bounces in the end"}),
    ("mail_without_a_pool", "insert into policy.queue (domain, egress_pool) values ('*', 'unspecified'), ('a.com', null); insert into policy.tenant (name) values ('t'); insert into policy.queue_tenant (domain, tenant, egress_pool) values ('a.com', 't', 'unspecified'); update policy.queue_settings set default_tenant = 't'", set()),
    ("mail_without_a_pool", """update policy.queue set options = '{"protocol": {"custom_lua": {"constructor": "x"}}}' where domain = 'default'""", set()),
    ("pool_without_a_source", "insert into policy.egress_pool (name) values ('none'), ('used'); insert into policy.tenant (name, egress_pool) values ('t', 'used')", {"note egress_pool/*/none: it has no source, and nobody names it", "warning egress_pool/*/used: it has no source, and one tenant or queue names it"}),
    ("pool_without_a_source", POOL + "update policy.egress_pool_entry set weight = 0; insert into policy.queue (domain, egress_pool) values ('a.com', 'p'), ('b.com', 'p')", {"warning egress_pool/*/p: all of its weights are 0, and 2 tenants and queues name it"}),
    ("pool_without_a_source", POOL + "insert into policy.egress_pool_group (name, node_group) values ('p', 'eu')", {"note egress_pool/eu/p: it has no source, and nobody names it"}),
    ("unused_pool", POOL, {"note egress_pool/*/p: no tenant and no queue names it"}),
    ("unused_source", SOURCES, {"note egress_source/*/a: no pool has it", "note egress_source/*/b: no pool has it"}),
    ("source_without_an_address", POOL + "update policy.egress_source set source_address = null where name = 'a'", {"warning egress_source/*/a: neither it nor a proxy has an address"}),
    ("shared_address", SOURCES + "update policy.egress_source set source_address = '10.0.0.1' where name = 'b'", {"warning egress_source/*/a: a, b send from 10.0.0.1"}),
    ("shared_address", SOURCES + "insert into policy.egress_source (name, ehlo_domain, ha_proxy_server, ha_proxy_source_address) values ('via', 'x.example', '10.9.9.9:1', '10.0.0.1')", {"warning egress_source/*/a: a, via send from 10.0.0.1, and greet by different names"}),
    ("group_without_an_address", POOL + "insert into policy.egress_source_group (name, node_group, source_address) values ('a', 'eu', '10.1.0.1')", {"warning egress_source/*/b: nodes of group 'eu' send with it from 10.0.0.2, the address of all nodes"}),
    ("group_without_nodes", SOURCES + "insert into policy.egress_source_group (name, node_group) values ('a', 'eu'), ('a', 'oe'); insert into policy.node (node_id, node_group) values ('mx1', 'eu')", {"warning egress_source/oe/a: no node is of group 'oe'"}),
    ("tenants_that_nothing_names", "insert into policy.tenant (name) values ('t'), ('u'); update policy.queue_settings set default_tenant = 't'", {"warning queue_settings: there is no tenant_header, so nothing makes a message one of 'u'"}),
    ("campaigns_that_nothing_names", "insert into policy.tenant (name) values ('t'); insert into policy.tenant_campaign (tenant, campaign) values ('t', 'c')", {"warning queue_settings: there is no campaign_header, so what is said of one campaign is never used"}),
    ("queue_of_a_stranger", "insert into policy.queue (domain) values ('a.com'); insert into policy.queue_tenant (domain, tenant) values ('a.com', 'who')", {"warning queue/a.com/who: there is no tenant 'who'"}),
    ("tenant_inside_the_default", "insert into policy.queue_tenant (domain, tenant) values ('default', 't')", {"warning queue/default/t: tenant 't' is not looked for in the default"}),
    ("queue_that_only_hides", """insert into policy.queue (domain, options) values ('*.com', '{"max_age": 60}'), ('a.com', '{}'), ('a.org', '{}')""", {"note queue/a.com: it says nothing, and stands before *.com"}),
    ("retries_that_contradict", """insert into policy.queue (domain, options) values ('a.com', '{"max_retry_interval": "5m"}'), ('b.com', '{"retry_interval": "2h"}'), ('c.com', '{"max_age": "10m"}'), ('d.com', '{"max_age": "1h"}')""", {'warning queue/a.com: retry_interval "20m" is more than max_retry_interval "5m"', 'warning queue/c.com: retry_interval "20m" is not less than max_age "10m": nothing is tried twice'}),
    ("retries_that_contradict", """update policy.queue set options = '{"retry_interval": 7200}' where domain = 'default'; insert into policy.tenant (name, options) values ('t', '{"max_retry_interval": "1h"}'), ('u', '{}')""", {'warning tenant/t: retry_interval 7200 is more than max_retry_interval "1h"'}),
    ("retries_that_contradict", """insert into policy.tenant (name, options) values ('t', '{"retry_interval": "1h"}'); insert into policy.queue (domain) values ('a.com'); insert into policy.queue_tenant (domain, tenant, options) values ('a.com', 't', '{"max_age": "30m"}')""", {'warning queue/a.com/t: retry_interval "1h" is not less than max_age "30m": nothing is tried twice'}),
    ("rate_that_is_never_reached", """insert into policy.tenant (name, overall_max_message_rate, options) values ('t', '600/m', '{"max_message_rate": "local:1_000/s,max_burst=5"}'); insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('t', 'c', '100_000/h'), ('t', 'd', '10/s'); insert into policy.queue (domain) values ('a.com'); insert into policy.queue_tenant (domain, tenant, options) values ('a.com', 't', '{"max_message_rate": "330/30s"}')""", {"note tenant/t: campaign 'c' may send 100_000/h, and its tenant 600/m", "note tenant/t: each of its queues may send local:1_000/s,max_burst=5, and all of them together 600/m", "note queue/a.com/t: it may send 330/30s, and all queues of the tenant together 600/m"}),
    ("tenant_that_nobody_may_send_as", "insert into policy.tenant (name, require_authz) values ('t', '{}'), ('u', null), ('v', '{x}')", {"warning tenant/t: require_authz is empty"}),
    ("authz_without_a_credential", "insert into policy.tenant (name, require_authz) values ('t', '{u,w}'); insert into policy.listener_domain (domain, relay_from_authz) values ('a.com', '{W}');" + CREDENTIAL, {"note tenant/t: require_authz names 'w', for whom there is no credential", "note listener_domain/*/a.com: relay_from_authz names 'W', for whom there is no credential"}),
    ("credential_that_cannot_send", "insert into policy.tenant (name) values ('t');" + CREDENTIAL + "update policy.tenant set require_authz = '{U}'", {"warning smtp_credential/u: require_authz of tenant 't' does not name it"}),
    ("ended", "insert into policy.tenant (name) values ('t');" + CREDENTIAL + f"update policy.smtp_credential set expires_at = '2026-01-02 03:04+00'; insert into policy.api_token (name, sha256, scopes, expires_at) values ('n', '{'0' * 64}', '{{lookup}}', '2026-01-02 03:04+00')", {"note smtp_credential/u: it ended at 2026-01-02 03:04 UTC", "note api_token/n: it ended at 2026-01-02 03:04 UTC"}),
    ("token_for_nobody", SIGNED + f"insert into policy.dkim_domain (domain) values ('*.a.com'); insert into policy.api_token (name, sha256, scopes, domains) values ('x', '{'0' * 64}', '{{dkim}}', '{{x.a.com}}'), ('y', '{'1' * 64}', '{{dkim}}', '{{b.com}}')", {"note api_token/y: nothing signs for b.com"}),
    ("open_relay", "insert into policy.listener_domain (domain, relay_to, relay_from) values ('*', true, null), ('a.com', true, '{10.0.0.0/8}'), ('b.com', false, '{any,0.0.0.0/0}')", {"error listener_domain/*/*: relay_to is true for whatever no other entry names", "error listener_domain/*/b.com: relay_from holds any: whoever says that mail is from there may send it anywhere", "error listener_domain/*/b.com: relay_from holds 0.0.0.0/0: whoever says that mail is from there may send it anywhere"}),
    ("listener_that_is_never_met", "insert into policy.listener_domain (listener, domain) values ('0.0.0.0:25', 'a.com'), ('0.0.0.0:25', 'b.com'), ('10.0.0.1:25', 'a.com')", {"warning listener_domain/0.0.0.0:25/a.com: no connection has the local address 0.0.0.0:25"}),
    ("key_of_another_algorithm", SIGNED + f"insert into policy.dkim_domain (domain, algorithm) values ('a.com', 'ed25519'), ('b.com', null); select policy.note_dkim_key('default', 'a.com/s1', '{'0' * 64}', 'sha256', null), policy.note_dkim_key('default', 'b.com/s1', '{'0' * 64}', 'sha256', null)", {"error dkim_domain/a.com: algorithm is ed25519, and the key a.com/s1 in root default is for sha256"}),
    ("signature_out_of_time", SIGNED + "insert into policy.dkim_domain (domain, not_before, not_after) values ('a.com', '2990-01-01 00:00+00', null), ('b.com', null, '2020-01-01 00:00+00'), ('c.com', null, '2990-01-01 00:00+00')", {"warning dkim_domain/a.com: it begins at 2990-01-01 00:00 UTC", "warning dkim_domain/b.com: it ended at 2020-01-01 00:00 UTC"}),
    ("signature_that_is_not_added", SIGNED + "insert into policy.dkim_signature (name, domain) values ('x', 'x.com')", {"note dkim_signature/x: it is not among the additional signatures"}),
    ("sender_that_is_not_signed", SIGNED + "insert into policy.dkim_domain (domain) values ('*.a.com'); insert into policy.listener_domain (domain, relay_from) values ('x.a.com', '{10.0.0.1}'), ('a.com', '{10.0.0.1}'), ('b.com', null)", {"note listener_domain/*/a.com: nothing signs for a.com"}),
    ("over_sign_that_cannot_be_undone", SIGNED + "update policy.dkim_settings set over_sign = true; insert into policy.dkim_domain (domain, over_sign) values ('a.com', false)", {"note dkim_domain/a.com: over_sign is false, and true in dkim_settings"}),
    ("provider_that_matches_nothing", "insert into policy.shaping_provider (name, replace_base) values ('x', null), ('google', null), ('yahoo', true)", {"warning shaping: provider 'x' has no match", "warning shaping: provider 'yahoo' has no match"}),
    ("shaping_of_an_unknown_source", SOURCES + "insert into policy.shaping_domain (domain) values ('a.com'); insert into policy.shaping_domain_source (domain, source) values ('a.com', 'a'), ('a.com', 'A')", {"warning shaping: domain 'a.com' says something of source 'A', which is not there"}),
    ("rate_of_kumomtas_own_provider", "insert into policy.shaping_provider (name, provider_max_message_rate) values ('google', '1/s'), ('mine', '1/s')", {"warning shaping: provider 'google' has provider_max_message_rate 1/s"}),
    ("limits_that_contradict", """insert into policy.shaping_domain (domain, options) values ('a.com', '{"enable_tls": "Disabled", "enable_dane": true}'), ('b.com', '{"tls_certificate": {"secret": "x"}}'); insert into policy.shaping_provider (name, provider_connection_limit, options) values ('x', '"local:1_0"', '{"connection_limit": {"limit": 20}}'); insert into policy.shaping_provider_source (provider, source, options) values ('x', 'a', '{"smtp_auth_plain_username": "u"}')""", {"warning shaping: domain 'a.com': enable_tls is Disabled, and enable_dane true", "warning shaping: domain 'b.com': tls_certificate is set without tls_private_key", "warning shaping: provider 'x': connection_limit 20 to one domain is more than provider_connection_limit 10 to all of them", "warning shaping: provider 'x', source 'a': smtp_auth_plain_username is set without smtp_auth_plain_password"}),
    ("shaping_domain_that_is_no_domain", "insert into policy.shaping_domain (domain, mx_rollup) values ('gmail', null), ('a.com.', null), ('b.com.', null), ('b.com', false), ('default', null)", {"warning shaping: domain 'gmail' has one label", "warning shaping: domain 'a.com.' has no twin 'a.com' with mx_rollup = false"}),
    ("webhook_in_the_clear", "insert into policy.webhook (name, url, insecure, events) values ('a', 'http://x.example/p', true, '{Bounce}'), ('b', 'http://127.0.0.1:1/', true, '{Bounce}')", {"warning webhook: 'a' posts to http://x.example"}),
    ("webhook_that_is_off", "insert into policy.webhook (name, url, events, enabled) values ('a', 'https://x.example/p', '{Bounce}', false)", {"note webhook: 'a' is not enabled"}),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(postgres: Postgres) -> AsyncIterator[Connection]:
    """One database for all cases: each of them is a transaction that is rolled back."""
    name = await postgres.clone()
    async with connection_to(postgres.dsn(name)) as connection:
        yield connection
    await postgres.drop(name)


async def findings(db: Connection, *only: str) -> list[PolicyFinding]:
    return [finding async for verdict in validate(db, most=1000, only=only) for finding in verdict.findings]


@pytest.mark.parametrize(
    ("name", "rows", "expected"), CASES, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(CASES)]
)
async def test_each_check_finds_what_it_is_for(
    database: Connection, name: str, rows: str, expected: set[str]
) -> None:
    transaction = database.transaction()
    await transaction.start()
    try:
        await database.execute(rows)
        found = await findings(database, name)
    finally:
        await transaction.rollback()
    assert {f"{each.severity} {each.document}: {each.says}" for each in found} == expected


async def test_every_check_has_a_question_a_case_and_an_explanation() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    asked = {*store.CHECKS, store.REFUSED, store.TOO_NEW, store.DANGLING}
    assert asked <= set(names)
    # KumoMTA's own rules are known by digest alone: nobody can write one here.
    assert set(names) - {name for name, _, _ in CASES} == {"rule_of_kumomtas_own"}
    assert all(check.means and check.next_step for check in CHECKS)


async def test_a_rule_of_kumomtas_own_file_counts_twice(
    database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "policyd.operate.shaping_checks.is_packaged_rule",
        lambda kind, name, rule: (kind, name, rule["regex"]) == ("provider", "yahoo", ["busy"]),
    )
    async with database.transaction():
        await database.execute(
            "insert into policy.shaping_provider (name) values ('yahoo'), ('x');"
            "insert into policy.shaping_provider_automation (provider, position, regex, action, duration)"
            " values ('yahoo', 1, '{busy}', '[\"Suspend\"]', '60'), ('x', 1, '{busy}', '[\"Suspend\"]', '60')"
        )
        found = [each.says for each in await findings(database) if each.check == "rule_of_kumomtas_own"]
        await database.execute("delete from policy.shaping_provider")
    assert found == ["provider 'yahoo', rule 1: KumoMTA's own file has it, too"]


async def test_the_example_policy_is_in_order(database: Connection) -> None:
    transaction = database.transaction()
    await transaction.start()
    try:
        files = [read_helper_file(path.name, path.read_text()) for path in sorted(EXAMPLE.glob("*.toml"))]
        await import_rows(database, transfer(files), dry_run=False, actor=None, reason="example")
        found = await findings(database)
    finally:
        await transaction.rollback()
    assert [each for each in found if each.severity != "note"] == []


async def run(dsn: str, *arguments: str) -> Result:
    written = [f"--set=database.dsn={dsn}", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, validate_command, written)


async def test_the_exit_status_is_for_ci(postgres: Postgres, database: Connection) -> None:
    dsn = postgres.dsn(await database.fetchval("select current_database()"))
    await database.execute(PLACED + NAMED)
    clean = await run(dsn, "--strict")
    assert (clean.exit_code, clean.output) == (0, "Nothing to say against this policy.\n")
    await database.execute(
        "insert into policy.tenant (name, require_authz) select 't' || n, '{}' from generate_series(1, 30) n"
    )
    warned = await run(dsn)
    assert warned.exit_code == 0
    assert warned.output.startswith(
        "warning tenant_that_nobody_may_send_as: an empty list is nobody; null is anybody\n"
        "    tenant/t1: require_authz is empty\n"
    )
    assert (
        "    … and 20 more (--all)\n  next: name the users, or set require_authz to null\n" in warned.output
    )
    assert warned.output.endswith("30 warnings.\n")
    assert (await run(dsn, "--all")).output.count("    tenant/t") == 30
    assert (await run(dsn, "--strict")).exit_code == 1
    assert (await run(dsn, "--strict", "--check", "open_relay")).exit_code == 0
    assert "'open_relay'" in (await run(dsn, "--check", "openrelay")).output
    await database.execute("insert into policy.listener_domain (domain, relay_to) values ('*', true)")
    refused = await run(dsn, "--json")
    assert refused.exit_code == 1
    lines = [json.loads(line) for line in refused.output.splitlines()]
    assert len(lines) == 31
    assert {"severity", "check", "document", "says", "means", "next_step"} == lines[0].keys()
    await database.execute("delete from policy.listener_domain; delete from policy.tenant")


async def test_what_is_cut_off_does_not_decide(postgres: Postgres, database: Connection) -> None:
    dsn = postgres.dsn(await database.fetchval("select current_database()"))
    await database.execute(
        PLACED
        + NAMED
        + "insert into policy.egress_pool (name) select 'n' || n from generate_series(1, 30) n;"
        "insert into policy.egress_pool (name) values ('used');"
        "update policy.queue set egress_pool = 'used' where domain = 'default'"
    )
    result = await run(dsn, "--strict")
    assert result.exit_code == 1, result.output
    assert "1 warning, 30 notes." in result.output
    await database.execute(PLACED + "delete from policy.egress_pool where name <> 'unspecified'")


def fake_kumod(path: Path, body: str) -> Path:
    """A program in the place of kumod: `$input`, `$output` and `$at` are the files that it is given."""
    path.write_text(f"#!/bin/sh\nfor each; do input=$output output=$at at=$each; done\n{body}\n")
    path.chmod(0o755)
    return path


async def test_a_document_that_kumod_dies_of_is_named(
    postgres: Postgres, database: Connection, tmp_path: Path
) -> None:
    dsn = postgres.dsn(await database.fetchval("select current_database()"))
    await database.execute("insert into policy.listener_domain (domain) values ('a.com'), ('b.com')")
    kumod = fake_kumod(
        tmp_path / "kumod",
        """printf 2 > "$at"; echo '{"line": 1, "problem": "no, while processing {canary}"}' > "$output"; kill -9 $$""",
    )
    result = await run(dsn, f"--kumod={kumod}")
    assert result.exit_code == 1
    assert "    listener_domain/*/a.com: no\n" in result.output, result.output
    assert "    listener_domain/*/b.com: kumod dies of it; what comes after was not judged\n" in result.output
    assert "canary" not in result.output
    await database.execute("delete from policy.listener_domain")


async def test_what_is_no_kumod_is_said_to_be_none(
    postgres: Postgres, database: Connection, tmp_path: Path
) -> None:
    dsn = postgres.dsn(await database.fetchval("select current_database()"))
    kumod = fake_kumod(tmp_path / "kumod", "echo 'Error: nothing here' >&2; exit 1")
    assert f"{kumod} does not run the script: Error: nothing here" in str(
        (await run(dsn, f"--kumod={kumod}")).exception
    )
    kumod.chmod(0o644)
    assert f"{kumod} cannot be run: Permission denied" in str((await run(dsn, f"--kumod={kumod}")).exception)
    assert (await run(dsn, f"--kumod={tmp_path / 'nowhere'}")).exit_code == 2


async def test_who_may_not_look_is_told_so_and_gets_the_rest(
    postgres: Postgres, database: Connection
) -> None:
    dsn = postgres.dsn(await database.fetchval("select current_database()"))
    await database.execute(
        "do $$ begin create role vera login in role policyd_service; exception when duplicate_object then null; end $$;"
        "insert into policy.listener_domain (domain, relay_to) values ('*', true)"
    )
    result = await run(dsn.replace("postgres@", "vera@"))
    assert (
        "note credential_that_cannot_send: not looked at, because this role may not read what it takes"
        in result.output
    )
    assert "error open_relay" in result.output
    as_json = await run(dsn.replace("postgres@", "vera@"), "--json")
    said = [json.loads(line) for line in as_json.output.splitlines()]
    assert {each["check"] for each in said if each["says"].startswith("not ")} >= {
        "credential_that_cannot_send",
        "ended",
    }
    await database.execute("drop role vera; delete from policy.listener_domain")


async def test_validating_shows_no_hash(database: Connection) -> None:
    async with database.transaction():
        await database.execute("insert into policy.tenant (name) values ('t');" + CREDENTIAL)
        await database.execute("update policy.tenant set require_authz = '{x}'")
        said = repr(await findings(database))
        await database.execute("delete from policy.smtp_credential; delete from policy.tenant")
    assert "smtp_credential/u" in said
    assert "canary" not in said.lower()


async def test_the_questions_change_nothing(database: Connection) -> None:
    async with database.transaction(readonly=True):
        await findings(database)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.transaction(readonly=True):
            await database.execute("delete from policy.tenant")
