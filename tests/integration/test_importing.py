"""Helper files into a real database."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from policyd.errors import PolicydError, PolicyInvalid
from policyd.operate.importing import Counts, ImportReport, import_rows
from policyd.store.pool import Connection
from policyd.transfer.files import HelperFile, read_helper_file
from policyd.transfer.reading import transfer

ROOT = Path(__file__).parents[2]
PARITY = sorted((ROOT / "tests/contract/parity").glob("[0-9]*"))
EXAMPLE = ROOT / "deploy/example"


async def run(
    db: Connection,
    *,
    dry_run: bool = False,
    node_group: str | None = None,
    reason: str = "a test",
    **texts: str,
) -> ImportReport:
    files = [read_helper_file(f"{name}.toml", dedent(text)) for name, text in texts.items()]
    return await run_files(db, files, dry_run=dry_run, node_group=node_group, reason=reason)


async def run_files(
    db: Connection,
    files: list[HelperFile],
    *,
    dry_run: bool = False,
    node_group: str | None = None,
    reason: str = "a test",
) -> ImportReport:
    found = transfer(files, node_group=node_group)
    return await import_rows(db, found, dry_run=dry_run, actor="tester", reason=reason)


def files_of(directory: Path) -> list[HelperFile]:
    return [read_helper_file(path.name, path.read_text()) for path in sorted(directory.glob("*.toml"))]


async def document(db: Connection, kind: str, tag: str) -> dict[str, Any] | None:
    body = await db.fetchval(f"select body::text from policy.{kind}_document where tag = $1", tag)
    return None if body is None else json.loads(body)


async def head(db: Connection) -> int:
    number: int = await db.fetchval("select max(number) from policy.revision")
    return number


def changed(report: ImportReport) -> Mapping[str, Counts]:
    return {
        name: counts
        for name, counts in report.tables.items()
        if counts.inserted + counts.updated + counts.deleted
    }


EVERYTHING: dict[str, Any] = {
    "listener_domains": '["a.com"]\nrelay_to = true\nlog_oob = false\n[listener."10.0.0.1:25"."a.com"]\n',
    "sources": """
        [source."s1"]
        source_address = "10.0.0.1"
        remote_port = 2025
        [source."s2"]
        socks5_proxy_server = "10.0.0.9:1080"
        socks5_proxy_source_address = "10.0.0.9"
        socks5_proxy_username = "me"
        socks5_proxy_password = { key_data = "canary-hunter2" }
        [pool."p"."s1"]
        weight = 2
        [pool."p"."s2"]
        [pool."p"."unspecified"]
        """,
    "queues": """
        tenant_header = "X-Tenant"
        default_tenant = "t"
        [tenant."t"]
        egress_pool = "p"
        require_authz = ["bob"]
        [tenant."t".campaigns."c"]
        overall_max_message_rate = "5/m"
        [queue.default]
        max_age = 3600
        [queue."a.com"."t"."c"]
        retry_interval = "5m"
        """,
}


async def test_files_become_documents_in_one_revision(db: Connection) -> None:
    before = await head(db)
    report = await run(db, **EVERYTHING)
    assert report.revision == before + 1 == await head(db)
    assert await document(db, "listener_domain", "listener_domain/*/a.com") == {
        "relay_to": True,
        "log_oob": False,
    }
    assert await document(db, "listener_domain", "listener_domain/10.0.0.1:25/a.com") == {}
    assert await document(db, "egress_source", "egress_source/*/s1") == {
        "name": "s1",
        "source_address": "10.0.0.1",
        "remote_port": 2025,
    }
    assert await document(db, "egress_pool", "egress_pool/*/p") == {
        "name": "p",
        "entries": [{"name": "s1", "weight": 2}, {"name": "s2"}, {"name": "unspecified"}],
    }
    assert await document(db, "tenant", "tenant/t") == {
        "egress_pool": "p",
        "require_authz": ["bob"],
        "campaigns": {"c": {"overall_max_message_rate": "5/m"}},
        "options": {},
    }
    assert await document(db, "queue", "queue/a.com/t/c") == {"options": {"retry_interval": "5m"}}
    assert await document(db, "queue", "queue/default") == {"options": {"max_age": 3600}}
    assert await document(db, "queue_settings", "queue_settings") == {
        "tenant_header": "X-Tenant",
        "default_tenant": "t",
        "on_missing": "hold",
    }
    assert report.tables["egress_pool_entry"] == Counts(inserted=3)
    assert report.tables["queue"] == Counts(inserted=1, updated=1)


async def test_a_second_import_changes_nothing_and_takes_no_revision(db: Connection) -> None:
    await run(db, **EVERYTHING)
    before = await head(db)
    report = await run(db, **EVERYTHING)
    assert report.revision is None
    assert not report.changes
    assert not changed(report)
    assert report.tables["egress_pool_entry"] == Counts(unchanged=3)
    assert await head(db) == before


async def test_a_dry_run_says_what_would_change_and_changes_nothing(db: Connection) -> None:
    before = await head(db)
    dry = await run(db, dry_run=True, **EVERYTHING)
    assert await head(db) == before
    assert await db.fetchval("select count(*) from policy.tenant") == 0
    real = await run(db, **EVERYTHING)
    assert dry.tables == real.tables
    assert [(c.table, c.op, c.key, c.new) for c in dry.changes] == [
        (c.table, c.op, c.key, c.new) for c in real.changes
    ]


async def test_the_log_says_who_imported_and_why(db: Connection) -> None:
    report = await run(db, reason="ticket 7", **EVERYTHING)
    row = await db.fetchrow(
        "select claimed_actor, reason from policy.revision where number = $1", report.revision
    )
    assert tuple(row or ()) == ("tester", "ticket 7")


async def test_documents_are_replaced_whole_and_rows_that_are_not_in_the_files_stay(db: Connection) -> None:
    await run(db, **EVERYTHING)
    report = await run(
        db,
        sources='[pool."p"."s2"]\nweight = 5',
        queues='[tenant."t"]\nmax_age = 60\n[queue."b.com"]',
        listener_domains='["a.com"]\nrelay_from = ["10.0.0.0/8"]',
    )
    assert (await document(db, "egress_pool", "egress_pool/*/p") or {})["entries"] == [
        {"name": "s2", "weight": 5}
    ]
    assert await document(db, "tenant", "tenant/t") == {"options": {"max_age": 60}}
    assert await document(db, "listener_domain", "listener_domain/*/a.com") == {"relay_from": ["10.0.0.0/8"]}
    assert await document(db, "egress_source", "egress_source/*/s1") is not None
    assert await document(db, "queue", "queue/a.com/t/c") is not None
    assert (await document(db, "queue_settings", "queue_settings") or {})["tenant_header"] == "X-Tenant"
    assert report.tables["egress_pool_entry"] == Counts(updated=1, deleted=2)
    assert report.tables["tenant_campaign"] == Counts(deleted=1)


async def test_an_integer_written_as_a_float_is_a_change(db: Connection) -> None:
    await run(db, queues='[queue."a.com"]\nmax_age = 60.0')
    assert changed(await run(db, queues='[queue."a.com"]\nmax_age = 60')) == {"queue": Counts(updated=1)}
    assert (
        await db.fetchval("select options::text from policy.queue where domain = 'a.com'")
        == '{"max_age": 60}'
    )


async def test_all_problems_of_all_files_come_at_once_with_their_places_and_nothing_is_imported(
    db: Connection,
) -> None:
    before = await head(db)
    with pytest.raises(PolicyInvalid) as refused:
        await run(
            db,
            listener_domains='["a.com"]\nrelay_too = true\nrelay_from = ["10.0.0.1/8"]',
            sources='[source."s"]\nsource_adress = "10.0.0.1"\nremote_port = 70_000\n[pool."p"."nobody"]\nweight = -1',
            queues="""
            default_tenant = "nobody"
            tenant_header = "X Y"
            [tenant."t"]
            max_age = "forever"
            overall_max_message_rate = "often"
            [tenant."t".campaigns."c"]
            max_agee = 1
            [queue."a.com"]
            retri_interval = "5m"
            egress_pool = "nowhere"
            overall_max_message_rate = "0/s"
            [queue."a.com"."t"]
            routing_domain = "a b"
            """,
        )
    told = [(problem.where, problem.sentence) for problem in refused.value.problems]
    assert [where for where, _ in told] == [
        'listener_domains.toml:2: "a.com".relay_too',
        'listener_domains.toml:3: "a.com".relay_from',
        "sources.toml:2: source.s.source_adress",
        "sources.toml:3: source.s.remote_port",
        "sources.toml:4: pool.p.nobody",
        "sources.toml:5: pool.p.nobody.weight",
        "queues.toml:2: default_tenant",
        "queues.toml:3: tenant_header",
        "queues.toml:5: tenant.t.max_age",
        "queues.toml:6: tenant.t.overall_max_message_rate",
        "queues.toml:8: tenant.t.campaigns.c.max_agee",
        'queues.toml:10: queue."a.com".retri_interval',
        'queues.toml:11: queue."a.com".egress_pool',
        'queues.toml:12: queue."a.com".overall_max_message_rate',
        'queues.toml:14: queue."a.com".t.routing_domain',
    ]
    sentences = [sentence for _, sentence in told]
    assert "did you mean relay_to?" in sentences[0]
    assert "did you mean source_address?" in sentences[2]
    assert "did you mean retry_interval?" in sentences[11]
    assert await head(db) == before


async def test_a_name_that_the_files_do_not_define_may_be_a_row_already(db: Connection) -> None:
    await db.execute("insert into policy.egress_source (name) values ('old')")
    await db.execute("insert into policy.egress_pool (name) values ('older')")
    await db.execute("insert into policy.tenant (name) values ('oldest')")
    await run(
        db,
        sources='[pool."p"."old"]',
        queues='default_tenant = "oldest"\n[queue."a.com"]\negress_pool = "older"\n[queue.default]\negress_pool = "unspecified"',
    )
    assert (await document(db, "egress_pool", "egress_pool/*/p") or {})["entries"] == [{"name": "old"}]


async def test_secrets_are_names_in_rows_log_and_report(db: Connection) -> None:
    report = await run(db, **EVERYTHING)
    source = await document(db, "egress_source", "egress_source/*/s2")
    assert source is not None
    assert source["socks5_proxy_password"] == {"secret": "socks5_proxy_password_s2"}
    everything = await db.fetchval("select string_agg(c::text, ' ') from policy.change as c")
    assert "socks5_proxy_password_s2" in everything
    assert "canary-hunter2" not in everything + repr(report)


async def test_a_secret_under_a_mistyped_name_is_not_repeated_in_the_problem(db: Connection) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        await run(db, sources='[source."s"]\nsocks5_proxy_pasword = "canary"')
    assert "did you mean socks5_proxy_password?" in str(refused.value)
    assert "canary" not in str(refused.value)


async def test_files_that_rely_on_the_hosts_own_address_set_on_missing_with_a_note(db: Connection) -> None:
    report = await run(db, queues='[queue."a.com"]\nmax_age = 60')
    assert (await document(db, "queue_settings", "queue_settings") or {})["on_missing"] == "stock"
    (note,) = [note for note in report.notes if note.topic == "host address"]
    assert "queue 'a.com', no tenant" in note.details
    assert changed(await run(db, queues='[queue."a.com"]\nmax_age = 60')) == {}


async def test_a_default_that_is_in_the_database_already_keeps_on_missing(db: Connection) -> None:
    await run(db, queues='[queue.default]\negress_pool = "unspecified"')
    report = await run(db, queues='[queue."a.com"]\nmax_age = 60')
    assert not report.notes
    assert (await document(db, "queue_settings", "queue_settings") or {})["on_missing"] == "hold"


async def test_a_group_of_nodes_gets_rows_of_its_own_and_missing_base_rows_are_made_and_told(
    db: Connection,
) -> None:
    await run(db, sources='[source."a"]\nsource_address = "10.0.0.1"\n[pool."p"."a"]')
    report = await run(
        db,
        node_group="eu",
        sources="""
        [source."a"]
        source_address = "10.1.0.1"
        [source."b"]
        source_address = "10.1.0.2"
        [pool."p"."b"]
        weight = 3
        [pool."q"."a"]
        """,
    )
    assert (await document(db, "egress_source", "egress_source/*/a") or {})["source_address"] == "10.0.0.1"
    assert (await document(db, "egress_source", "egress_source/eu/a") or {})["source_address"] == "10.1.0.1"
    assert (await document(db, "egress_source", "egress_source/*/b") or {})["source_address"] == "10.1.0.2"
    assert (await document(db, "egress_pool", "egress_pool/*/p") or {})["entries"] == [{"name": "a"}]
    assert (await document(db, "egress_pool", "egress_pool/eu/p") or {})["entries"] == [
        {"name": "b", "weight": 3}
    ]
    assert (await document(db, "egress_pool", "egress_pool/*/q") or {})["entries"] == [{"name": "a"}]
    made = [note.sentence.split("'")[1] for note in report.notes if note.topic == "base row"]
    assert made == ["b", "q"]
    again = await run(db, node_group="eu", sources='[source."a"]\nsource_address = "10.1.0.1"\n[pool."p"]')
    assert changed(again) == {"egress_pool_group_entry": Counts(deleted=1)}


async def test_an_editor_may_import(db: Connection) -> None:
    await db.execute("set role policyd_editor")
    assert (await run(db, **EVERYTHING)).revision is not None


async def test_a_restricted_option_is_refused_to_an_editor_with_the_databases_sentence(
    db: Connection,
) -> None:
    await db.execute("set role policyd_editor")
    with pytest.raises(
        PolicydError, match=r"policy\.queue, domain 'a\.com': protocol\.maildir_path is restricted"
    ):
        await run(db, queues='[queue."a.com".protocol]\nmaildir_path = "/x"')


async def test_a_used_sources_new_address_is_warned_of(db: Connection) -> None:
    await run(db, sources='[source."a"]\nsource_address = "10.0.0.1"\n[pool."p"."a"]')
    report = await run(db, sources='[source."a"]\nsource_address = "10.0.0.2"')
    assert any("'a' is in use" in warning for warning in report.warnings)


@pytest.mark.parametrize("directory", PARITY, ids=lambda path: path.name)
async def test_every_data_set_of_the_parity_tests_is_imported(db: Connection, directory: Path) -> None:
    assert (await run_files(db, files_of(directory))).revision is not None
    assert (await run_files(db, files_of(directory))).revision is None


async def test_the_example_policy_is_imported_with_nothing_to_be_said(db: Connection) -> None:
    report = await run_files(db, files_of(EXAMPLE))
    assert report.notes == ()
    assert report.warnings == ()
    assert (await document(db, "queue_settings", "queue_settings") or {})["on_missing"] == "hold"
    assert report.tables["listener_domain"].inserted >= 20
    assert (report.tables["egress_source"].inserted, report.tables["egress_pool"].inserted) == (8, 4)
    assert (report.tables["tenant"].inserted, report.tables["queue"].inserted) == (6, 10)
    assert report.tables["tenant_campaign"].inserted >= 4
    assert (report.tables["shaping_domain"].inserted, report.tables["shaping_provider"].inserted) == (3, 2)
    assert report.tables["shaping_provider_automation"].inserted == 2


async def test_ten_thousand_of_each_are_imported_in_seconds_twice(db: Connection) -> None:
    size = 10_000
    listener_domains = {
        f"d{i}.example.com": {"relay_to": True, "relay_from": ["10.0.0.0/8"]} for i in range(size)
    }
    queues = {
        "tenant": {f"t{i}": {"egress_pool": "p", "max_age": "1 day"} for i in range(size)},
        "queue": {f"d{i}.example.com": {f"t{i}": {"retry_interval": "5m"}} for i in range(size)},
    }
    files = [
        read_helper_file("listener_domains.json", json.dumps(listener_domains)),
        read_helper_file("sources.json", json.dumps({"source": {"s": {}}, "pool": {"p": {"s": {}}}})),
        read_helper_file("queues.json", json.dumps(queues)),
    ]
    began = time.monotonic()
    async with asyncio.timeout(60):
        report = await run_files(db, files)
        again = await run_files(db, files)
    assert report.tables["tenant"].inserted == report.tables["queue_tenant"].inserted == size
    assert again.revision is None
    # Twice, on a machine that runs everything else at the same time; alone it takes about 5 s.
    assert time.monotonic() - began < 45
