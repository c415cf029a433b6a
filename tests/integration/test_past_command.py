"""`policyd at` and `policyd whatif`: what was answered then, and what would be answered if."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import Run, Service, head

SITE = """
insert into policy.egress_source (name, source_address) values ('ip-1', '192.0.2.1'), ('ip-2', '192.0.2.2');
insert into policy.egress_pool (name) values ('bulk'), ('vip');
insert into policy.egress_pool_entry (pool, source) values ('bulk', 'ip-1'), ('vip', 'ip-2');
insert into policy.tenant (name, egress_pool) values ('acme', 'bulk');
insert into policy.queue (domain, options) values ('*.com', '{"max_age": "1h"}');
insert into policy.shaping_domain (domain, options) values ('gmail.com', '{"connection_limit": 5}');
insert into policy.webhook (name, url, events, headers) values ('w', 'https://a.example', '{Bounce}', '{"Authorization": {"secret": "CANARY-name"}}');
update policy.dkim_settings set selector = 's1';
insert into policy.dkim_domain (domain) values ('gmail.com');
"""
CHANGES = (
    "update policy.tenant set egress_pool = 'vip'",
    "insert into policy.queue (domain, egress_pool) values ('gmail.com', 'bulk')",
    "insert into policy.egress_pool_entry (pool, source, weight) values ('vip', 'ip-1', 3)",
    "update policy.egress_source set source_address = '192.0.2.9' where name = 'ip-2'",
    "update policy.shaping_domain set options = '{\"connection_limit\": 6}', mx_rollup = false",
    "delete from policy.tenant",
    "delete from policy.dkim_domain; delete from policy.webhook",
)
PATHS = (
    "/queue/gmail.com?tenant=acme",
    "/egress-pool/vip",
    "/egress-source/ip-2",
    "/tenant/acme",
    "/queue-settings",
    "/webhooks",
    "/listener-domain/gmail.com",
)


@pytest.fixture
async def site(policyd: Run, db: Connection) -> Run:
    await db.execute(SITE)
    return policyd


def at(policyd: Run, revision: str, path: str) -> Any:
    status, out, err = policyd("at", revision, "lookup", path, "--json")
    assert (status in (0, 1), err) == (True, "")
    return json.loads(out)


async def test_what_the_service_answered_then_is_what_is_told_now(
    service: Service, db: Connection, policyd: Run
) -> None:
    await db.execute(SITE)
    recorded: list[tuple[str, str, Any]] = []
    files: list[tuple[str, Any]] = []
    for change in (None, *CHANGES):
        if change:
            await db.execute(change)
        position = await head(db)
        for path in PATHS:
            status, body, headers = await service.get(path, Policy_Position=position)
            assert (status in (200, 404), headers["Policy-Position"]) == (True, position)
            recorded.append((position, path, body))
        files.append((position, (await service.get("/shaping.json", Policy_Position=position))[1]))
    assert len({json.dumps(body) for _, _, body in recorded}) > len(CHANGES) + len(PATHS)
    for position, path, body in recorded:
        told = await asyncio.to_thread(at, policyd, position, path)
        assert {name: told.get(name) for name in body if name != "valid_until"} == body, (position, path)
    for position, body in files:
        told = await asyncio.to_thread(at, policyd, position, "/shaping.json")
        assert told["answer"] == body, position


def test_it_is_told_as_lookup_and_explain_tell_it(site):
    then = site("sql", "select max(number) from policy.revision")[1].split()[1]
    site("sql", CHANGES[0])
    status, out, err = site("at", then, "lookup", "/tenant/acme")
    assert (status, err) == (0, "")
    first, *lines = out.splitlines()
    assert first.startswith(f"revision {then}-")
    assert json.loads("".join(lines)) == {"egress_pool": "bulk", "options": {}}
    out = site("at", "last", "explain", "/queue/a.com?tenant=acme")[1]
    assert "options.max_age\t1h\tqueue/*.com\t" in out
    assert "options.egress_pool\tvip\ttenant/acme\t" in out
    assert "- queue/a.com\n" in out
    status, out, _ = site("at", then, "lookup", "/tenant/nobody")
    assert (status, out.splitlines()[-1]) == (1, "Nothing was there.")
    assert "with /egress-source/ip-2\n" in site("at", then, "lookup", "/egress-pool/vip")[1]
    assert "connection_limit = 5" in site("at", then, "lookup", "/shaping.toml")[1]


def test_a_time_is_the_revision_that_was_in_force_then(site):
    site("sql", "update policy.revision set at = at - interval '3 hours'")
    site("sql", CHANGES[0])
    assert at(site, "2h", "/tenant/acme")["answer"]["egress_pool"] == "bulk"
    assert at(site, "now", "/tenant/acme")["answer"]["egress_pool"] == "vip"
    status, _, err = site("at", "4h", "lookup", "/tenant/acme")
    assert (status, "there was no revision yet at" in err) == (1, True)


def test_what_the_log_cannot_know_is_said(site):
    then = site("sql", "select max(number) from policy.revision")[1].split()[1]
    site("sql", "select policy.invalidate('tenant', 'repaired by hand')")
    _, _, err = site("at", then, "lookup", "/tenant/acme")
    assert err == (
        f"WARNING: revision {int(then) + 1} said that all of tenant had changed unseen by the log (repaired by hand):"
        " what it was like before that is not known for sure\n"
    )
    assert site("at", then, "lookup", "/queue-settings")[2] == ""


def test_what_is_no_lookup_or_no_revision_is_a_sentence(site):
    for arguments, said in (
        (("last", "lookup", "/quue/a"), "/quue is no lookup; did you mean /queue?"),
        (("last", "lookup", "/queue"), "/queue is no lookup: write /queue/DOMAIN"),
        (("last", "lookup", "/dkim/a/s1"), "/dkim/a/s1 is no lookup: write /dkim/DOMAIN"),
        (
            ("last", "lookup", "/queue/a?tenent=b"),
            "'tenent' is not a parameter of this lookup; allowed: tenant, campaign",
        ),
        (("999", "lookup", "/queue/a"), "there is no revision 999"),
        (("someday", "lookup", "/queue/a"), "'someday' is no revision and no time"),
    ):
        status, out, err = site("at", *arguments)
        assert (status, out, said in err) == (1, "", True), err


def test_a_reader_may_ask_what_was(
    site: Run, monkeypatch: pytest.MonkeyPatch, role: Callable[[str], str]
) -> None:
    site("sql", CHANGES[5])
    monkeypatch.setenv("POLICYD_DATABASE_DSN", role("policyd_reader"))
    then = int(site("sql", "select max(number) from policy.revision")[1].split()[1]) - 1
    assert at(site, str(then), "/queue/a.com?tenant=acme")["answer"]["tenant_known"] is True
    assert at(site, str(then + 1), "/queue/a.com?tenant=acme")["answer"]["tenant_known"] is False


async def test_what_statements_would_change_is_shown_and_undone(site, db, tmp_path):
    file = tmp_path / "change.sql"
    file.write_text(f"-- all of it\n{CHANGES[0]};\n{CHANGES[2]};\nselect 1;\n")
    before = await head(db)
    status, out, err = await asyncio.to_thread(
        site,
        "whatif",
        str(file),
        "--",
        "lookup",
        "/queue/a.com?tenant=acme",
        "/egress-pool/vip",
        "/egress-pool/bulk",
    )
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "  ~ tenant/acme",
        '      egress_pool: "bulk" → "vip"',
        "  ~ egress_pool/*/vip",
        '      entries.ip-1: nothing → {"weight": 3}',
        "",
        "/queue/a.com?tenant=acme",
        '  options.egress_pool: "bulk" → "vip"',
        "/egress-pool/vip",
        '  entries: [{"name": "ip-2"}] → [{"name": "ip-1", "weight": 3}, {"name": "ip-2"}]',
        "  /egress-source/ip-1 found: nothing → true",
        '  /egress-source/ip-1 name: nothing → "ip-1"',
        '  /egress-source/ip-1 source_address: nothing → "192.0.2.1"',
        "/egress-pool/bulk",
        "  the same answer",
    ]
    assert await head(db) == before
    assert await db.fetchval("select egress_pool from policy.tenant") == "bulk"


def test_statements_from_standard_input_for_programs(site, monkeypatch, tmp_path):
    file = tmp_path / "change.sql"
    file.write_text(CHANGES[5])
    out = json.loads(site("whatif", str(file), "--json", "--", "lookup", "/tenant/acme")[1])
    assert out["documents"][0]["change"] == "removed"
    assert {"field": "found", "old": True, "new": None} in out["answers"]["/tenant/acme"]


def test_statements_that_change_nothing_or_are_refused(site, tmp_path):
    file = tmp_path / "change.sql"
    for text, status, said in (
        ("select 1", 0, "No row would change."),
        ("", 2, "there is no statement in this"),
        ("update policy.tenant set egress_pool = 'nowhere'", 1, "the_egress_pool_exists"),
        ("select pg_sleep(60)", 3, "next: it may take 1 s, unless --timeout says otherwise"),
        ("insert into policy.tenant (name) values ('kept'); commit", 1, "that begins or ends a transaction"),
        ("insert into policy.tenant (name) values ('kept'); /* */ END", 1, "that begins or ends a transaction"),
        ("insert into policy.tenant (name) values ('kept'); rollback; insert into policy.tenant (name) values ('kept')", 1, "cannot be tried out: rollback"),
        ("insert into policy.tenant (name) values ('kept'); do $$ begin commit; end $$", 1, "invalid transaction termination"),
        ("insert into policy.tenant (name) values ('kept'); prepare transaction 'x'", 1, "that begins or ends a transaction"),
    ):  # fmt: skip
        file.write_text(text)
        found, out, err = site("whatif", str(file), "--timeout", "1s")
        assert (found, said in out + err) == (status, True), (text, out, err)
    assert site("sql", "select count(*) from policy.tenant where name = 'kept'")[1].split()[1] == "0"


async def test_killed_in_the_middle_it_leaves_nothing_and_nobody_waits_for_it(dsn, db, tmp_path):
    await db.execute(SITE)
    file = tmp_path / "change.sql"
    file.write_text(f"{CHANGES[0]}; select pg_sleep(600)")
    before = await head(db)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "policyd", "whatif", str(file), "--timeout", "10m"),
        env={**os.environ, "POLICYD_DATABASE_DSN": dsn},
    )
    async with asyncio.timeout(60), connection_to(dsn) as other:
        while not await other.fetchval(  # noqa: ASYNC110  (another session's sleep has no event)
            "select exists (select from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' and application_name = 'policyd what if')"
        ):
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await other.execute("update policy.tenant set require_authz = '{joe}'")
        assert int((await head(db)).split("-")[0]) == int(before.split("-")[0]) + 1
        assert await db.fetchval("select egress_pool from policy.tenant") == "bulk"
