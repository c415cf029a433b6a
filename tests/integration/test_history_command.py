"""`policyd history` and `policyd show`: who changed what, when and why, for people and for programs."""

import json
import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from policyd.cli.main import policyd as command
from policyd.store.pool import Connection
from tests.integration.conftest import Run

SITE = (
    "insert into policy.egress_source (name, source_address) values ('ip-1', '192.0.2.1')",
    "insert into policy.egress_pool (name) values ('bulk'), ('vip'), ('50%/x')",
    "insert into policy.egress_pool_entry (pool, source, weight) values ('bulk', 'ip-1', 2)",
    "insert into policy.egress_pool_group (name, node_group) values ('bulk', 'eu')",
    "insert into policy.tenant (name, egress_pool) values ('acme', 'bulk')",
    "insert into policy.queue (domain, options) values ('gmail.com', '{\"max_age\": \"1h\"}')",
    "insert into policy.queue_tenant (domain, tenant) values ('gmail.com', 'acme')",
)


@pytest.fixture
async def site(policyd: Run, db: Connection) -> Run:
    await db.execute("set policy.actor = 'olga'")
    for statement in SITE:
        await db.execute(statement)
    return policyd


def revisions(said: str) -> list[int]:
    return [int(number) for number in re.findall(r"^revision (\d+)-[0-9a-f]{8}, ", said, re.MULTILINE)]


def newest(policyd: Run) -> int:
    return int(policyd("sql", "select max(number) from policy.revision")[1].split()[1])


def told(policyd: Run, *arguments: str) -> str:
    status, out, err = policyd(*arguments)
    assert status == 0, err
    return out


def test_each_revision_is_told_with_who_why_and_what_became_of_each_document(site):
    site("sql", "--reason", "too slow: ticket 7", "update policy.tenant set egress_pool = 'vip'; update policy.queue set options = '{\"max_age\": \"2h\", \"max_retry_interval\": \"1h\"}' where domain = 'gmail.com'; delete from policy.egress_pool_entry")  # fmt: skip
    out = told(site, "history", "--limit", "1")
    heading, *lines = out.splitlines()
    assert re.fullmatch(r"revision \d+-[0-9a-f]{8}, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d \(\d+ s ago\), by olga \(logged in as postgres\)", heading)  # fmt: skip
    assert lines == [
        "  too slow: ticket 7",
        "  ~ tenant/acme",
        '      egress_pool: "bulk" → "vip"',
        "  ~ queue/gmail.com",
        '      options.max_age: "1h" → "2h"',
        '      options.max_retry_interval: nothing → "1h"',
        "  ~ egress_pool/*/bulk",
        '      entries.ip-1: {"weight": 2} → nothing',
        "",
    ]
    assert told(site, "show", "last").splitlines()[1:] == lines
    assert told(site, "show", str(newest(site))).splitlines()[1:] == lines


def test_what_was_removed_is_told_with_what_it_said(site):
    site("sql", "delete from policy.tenant")
    assert told(site, "show", "last").splitlines()[1:] == ["  - tenant/acme", '      egress_pool: "bulk"', ""]


def test_newest_first_and_as_many_as_wanted(site):
    last = newest(site)
    assert revisions(told(site, "history", "--limit", "3")) == [last, last - 1, last - 2]
    status, _, err = site("history", "--limit", "3")
    assert (status, err) == (0, "(the newest 3; --limit shows more)\n")


WRITTEN = (
    ("queue/gmail.com", {"queue/gmail.com", "queue/gmail.com/acme"}),
    ("/queue/GMAIL.com.", {"queue/gmail.com", "queue/gmail.com/acme"}),
    ("queue/gmail.com/acme", {"queue/gmail.com/acme"}),
    ("queue", {"queue/gmail.com", "queue/gmail.com/acme", "queue/default"}),
    ("egress_pool/bulk", {"egress_pool/*/bulk", "egress_pool/eu/bulk"}),
    ("egress-pool/bulk", {"egress_pool/*/bulk", "egress_pool/eu/bulk"}),
    ("pool/bulk", {"egress_pool/*/bulk", "egress_pool/eu/bulk"}),
    ("egress_pool/*/bulk", {"egress_pool/*/bulk"}),
    ("egress_pool/eu", {"egress_pool/eu/bulk"}),
    ("egress_pool/50%/x", {"egress_pool/*/50%25%2Fx"}),
    ("egress_pool/*/50%25%2Fx", {"egress_pool/*/50%25%2Fx"}),
    ("source/ip-1", {"egress_source/*/ip-1"}),
    ("queue_settings", {"queue_settings"}),
)


def test_a_document_is_found_as_people_write_it(site):
    for written, documents in WRITTEN:
        found = json.loads(told(site, "history", written, "--json"))
        shown = {each["document"] for revision in found for each in revision["documents"]}
        assert shown == documents, written


MISTAKEN = (
    ("queue/gmial.com", "nothing is known of queue/gmial.com; did you mean queue/gmail.com?"),
    ("egress_pool/bluk", "nothing is known of egress_pool/bluk; did you mean egress_pool/bulk?"),
    ("tenant/nobody-like-it", "nothing is known of tenant/nobody-like-it\n"),
    ("quue/gmail.com", "there is no kind of documents 'quue'; did you mean queue?"),
    ("dkim_settings", "the log has no change of dkim_settings: it is as when the database was made"),
)


def test_a_name_that_is_not_there_is_answered_with_the_nearest(site):
    for written, said in MISTAKEN:
        status, out, err = site("history", written)
        assert (status, out, said in err) == (1, "", True), err


def test_a_document_that_is_gone_is_still_known(site):
    site("sql", "delete from policy.queue where domain = 'gmail.com'")
    assert len(revisions(told(site, "history", "queue/gmail.com"))) == 3
    assert "did you mean queue/gmail.com?" in site("history", "queue/gmail.cmo")[2]


def test_only_of_somebody_and_only_since(site, monkeypatch):
    monkeypatch.setenv("SUDO_USER", "bob")
    site("sql", "update policy.tenant set egress_pool = null")
    last = newest(site)
    assert revisions(told(site, "history", "--actor", "bob")) == [last]
    assert last in revisions(told(site, "history", "--actor", "postgres"))
    assert revisions(told(site, "history", "tenant/acme", "--actor", "olga")) == [last - 3]
    assert site("history", "--actor", "nobody") == (0, "", "no revision\n")
    site("sql", f"update policy.revision set at = now() - interval '3 hours' where number < {last}")
    assert revisions(told(site, "history", "--since", "2h")) == [last]
    assert len(revisions(told(site, "history", "--since", "4h ago"))) > 3
    status, _, err = site("history", "--since", "soon")
    assert (status, "write 2h, yesterday, 14:30" in err) == (2, True)


def test_a_long_revision_is_cut_and_says_how_to_see_all_of_it(policyd):
    policyd("sql", "insert into policy.tenant (name) select 't' || n from generate_series(1, 1200) as n")
    out = told(policyd, "history", "--limit", "1")
    assert (out.count("  + tenant/"), f"… and 1195 more rows (policyd show {newest(policyd)})" in out) == (
        5,
        True,
    )
    out = told(policyd, "show", "last")
    assert out.count("  + tenant/") == 1000
    assert f"… and 200 more rows (policyd show {newest(policyd)} --all)" in out
    assert told(policyd, "show", "last", "--all").count("  + tenant/") == 1200


def test_hashes_are_told_as_changed_and_never_shown(policyd):
    policyd("token", "create", "mx-1")
    policyd("sql", "update policy.api_token set sha256 = repeat('5', 64)")
    policyd("sql", "delete from policy.api_token")
    out = told(policyd, "history", "token/mx-1")
    assert "      sha256: (not shown) → (another, not shown)\n" in out.replace('"', "")
    assert not re.search("[0-9a-f]{32}", out + told(policyd, "history", "--json"))
    assert len(revisions(out)) == 3


def test_what_was_said_of_a_whole_kind_is_part_of_each_document_s_history(site):
    site("sql", "select policy.invalidate('queue', 'repaired by hand')")
    out = told(site, "history", "queue/gmail.com", "--limit", "1")
    assert out.splitlines()[1:3] == [
        "  repaired by hand",
        "  ! all of queue was said to have changed unseen by the log",
    ]
    assert "said to have" not in told(site, "history", "tenant/acme")


def test_nobody_s_reason_moves_the_reader_s_cursor(policyd):
    policyd("sql", "--reason", "\x1b[2Jgone\x07 \x9b1A", "insert into policy.tenant (name) values ('a')")
    out = told(policyd, "history", "--limit", "1")
    assert "gone" in out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out)


def test_what_was_pruned_is_said_to_be(site):
    last = newest(site)
    site("sql", f"select policy.prune({last - 1})")
    assert "(what it changed is not in the log any more: it was pruned)" in told(site, "show", str(last - 1))
    assert (
        "the log has no change of egress_pool/vip: it begins after revision"
        in site("history", "egress_pool/vip")[2]
    )


def test_a_revision_of_another_history_is_not_shown_for_ours(site):
    status, _, err = site("show", f"{newest(site)}-00000000")
    assert (status, "is of another history" in err) == (1, True)
    status, _, err = site("show", "9999")
    assert (status, "there is no revision 9999" in err) == (1, True)
    status, _, err = site("show", "yesterday")
    assert (status, "write its number, its position, or last" in err) == (1, True)


def test_programs_get_everything_as_json(site):
    (first, *_) = json.loads(told(site, "history", "tenant/acme", "--json"))
    assert first["documents"] == [
        {
            "document": "tenant/acme",
            "change": "added",
            "fields": [{"field": "egress_pool", "old": None, "new": "bulk"}],
        }
    ]
    assert (first["claimed_actor"], first["actor"], first["reason"]) == ("olga", "postgres", None)
    assert json.loads(told(site, "show", str(first["revision"]), "--json")) == first


def test_it_is_in_colour_where_a_person_looks(site, dsn):
    shown = CliRunner().invoke(command, ["show", "last", "--set", f"database.dsn={dsn}"], color=True).output
    assert "\x1b[32m+ queue/gmail.com/acme\x1b[0m" in shown


def test_a_reader_may_read_it(
    site: Run, dsn: str, monkeypatch: pytest.MonkeyPatch, role: Callable[[str], str]
) -> None:
    site("token", "create", "mx-1")
    monkeypatch.setenv("POLICYD_DATABASE_DSN", role("policyd_reader"))
    assert len(revisions(told(site, "history"))) > 5
    assert "api_token/mx-1" in told(site, "show", "last")
