"""`policyd revert`: a mistake taken back by the person who finds it."""

import json
import re
from collections.abc import Callable

import pytest

from policyd.store.pool import Connection
from tests.integration.conftest import Run

SITE = (
    "insert into policy.egress_pool (name) values ('bulk'), ('vip')",
    "insert into policy.tenant (name, egress_pool) values ('acme', 'bulk')",
    "update policy.tenant set egress_pool = 'vip'",
)
HINT = (
    "  next: Take back what came later as well, or --force: it overwrites what changed since,"
    " leaves what cannot come back as it is, and names both."
)


@pytest.fixture
async def site(policyd: Run, db: Connection) -> Run:
    """Whose last revision was a mistake."""
    for statement in SITE:
        await db.execute(statement)
    return policyd


def newest(policyd: Run) -> int:
    return int(policyd("sql", "select max(number) from policy.revision")[1].split()[1])


def pool(policyd: Run) -> str:
    said: str = policyd("sql", "select egress_pool from policy.tenant")[1]
    return said.split()[1]


def test_a_mistake_is_taken_back_in_a_revision_of_its_own_that_says_why(site):
    last = newest(site)
    status, out, err = site("revert", str(last), "--reason", "wrong tenant")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"  revert of {last}: wrong tenant",
        "  ~ tenant/acme",
        '      egress_pool: "vip" → "bulk"',
        "",
        f"Took back {last} as revision {last + 1}.",
    ]
    shown = site("show", "last")[1]
    assert re.match(rf"revision {last + 1}-\S+ .* by olga \(logged in as postgres\)\n", shown)


def test_a_dry_run_shows_it_and_changes_nothing(site):
    last = newest(site)
    status, out, _ = site("revert", "last", "--dry-run")
    assert status == 0
    assert '      egress_pool: "vip" → "bulk"' in out
    assert out.endswith("Dry run: nothing was changed.\n")
    assert (newest(site), pool(site)) == (last, "vip")


def test_a_second_time_there_is_nothing_to_do(site):
    last = newest(site)
    site("revert", str(last))
    status, out, err = site("revert", str(last))
    assert (status, out) == (0, "Nothing changed.\n")
    assert f"as they were before revision {last}" in err


@pytest.mark.parametrize("written", [("{first}..{last}",), ("{first}", "--to", "{last}"), ("{first}..last",)])
def test_several_are_taken_back_at_once(site, written):
    last = newest(site)
    given = [each.format(first=last - 1, last=last) for each in written]
    status, out, _ = site("revert", *given)
    assert (status, out.splitlines()[-1]) == (0, f"Took back {last - 1}..{last} as revision {last + 1}.")
    assert site("sql", "select count(*) from policy.tenant")[1].split()[1] == "0"


def test_what_changed_since_is_listed_and_force_names_what_it_overwrites(site, monkeypatch):
    last = newest(site)
    monkeypatch.setenv("SUDO_USER", "bob")
    site("sql", "update policy.tenant set egress_pool = null")
    status, out, err = site("revert", str(last))
    assert (status, out) == (1, "")
    assert err.splitlines() == [
        f"policyd: revision {last} cannot be taken back as it is: one thing is in the way",
        f"policy.tenant, name 'acme': was changed in revision {last + 1}, by bob (egress_pool)",
        HINT,
    ]
    status, out, err = site("revert", str(last), "--force")
    assert status == 0
    assert err == f"WARNING: overwritten: policy.tenant, name 'acme': was changed in revision {last + 1}, by bob (egress_pool)\n"  # fmt: skip
    assert pool(site) == "bulk"


def test_a_mass_change_wants_a_reason_and_says_how_to_give_it(policyd):
    policyd("sql", "insert into policy.tenant (name) select 't' || n from generate_series(1, 300) as n")
    last = newest(policyd)
    status, _, err = policyd("revert", "last")
    assert status == 1
    assert "this statement would delete 300 of the 300 rows of policy.tenant" in err
    assert f"next: if that is meant, say why: policyd revert {last} --reason TEXT" in err
    status, out, _ = policyd("revert", "last", "--reason", "a test that went too far")
    assert status == 0
    assert "… and 100 more rows (policyd show" in out


SENSELESS = (
    (("9999",), 1, "there is no revision 9999"),
    (("0",), 1, "there is no revision 0: they go from 1"),
    (("4..3",), 1, "revision 4 is later than 3\n  next: write 3..4"),
    (("3..4", "--to", "4"), 2, "say 105..110, or --to 110, not both"),
    (("yesterday",), 1, "is no revision"),
)


def test_what_cannot_be_meant_is_a_sentence(site):
    for arguments, status, said in SENSELESS:
        found, _, err = site("revert", *arguments)
        assert (found, said in err) == (status, True), err


def test_programs_get_what_became_of_it(site):
    last = newest(site)
    out = json.loads(site("revert", str(last), "--json")[1])
    assert out == {
        "revision": last + 1,
        "documents": [
            {"document": "tenant/acme", "change": "changed", "fields": [{"field": "egress_pool", "old": "vip", "new": "bulk"}]}
        ],
    }  # fmt: skip


def test_a_reader_is_told_who_may(
    site: Run, monkeypatch: pytest.MonkeyPatch, role: Callable[[str], str]
) -> None:
    monkeypatch.setenv("POLICYD_DATABASE_DSN", role("policyd_reader"))
    status, _, err = site("revert", "last")
    assert status == 1
    assert "next: log in as a member of policyd_owner" in err


def test_the_log_is_pruned_by_hand_too(site):
    site("sql", "update policy.revision set at = now() - interval '500 days' where number < 3")
    assert site("history", "prune")[0] == 2
    status, out, err = site("history", "prune", "--keep", "400d")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"deleted \d rows older than 400d; what changed after revision 2 is kept\n", out)
    assert site("history", "prune", "--set", "history.keep=400d")[1].startswith("deleted 0 rows")
    status, _, err = site("history", "prune", "--keep", "1h")
    assert (status, "kept for a day at least" in err) == (2, True)
    status, _, err = site("revert", "2")
    assert (status, "what revision 2 changed is not known any more" in err) == (1, True)
    assert "history.keep in the configuration says how long" in err
