"""The commands, as a person runs them."""

import io
import re
import subprocess
from urllib.parse import urlsplit

import pytest

from policyd.config import DatabaseConfig
from policyd.policy.token import Credentials
from policyd.store.psql import psql


def test_sql_prints_rows_below_their_columns(policyd):
    status, out, err = policyd(
        "sql", "select 1 as one, null as nothing, true as yes, array['a', 'b'] as list"
    )
    assert (status, err) == (0, "")
    assert out == "one\tnothing\tyes\tlist\n1\t\ttrue\t{a,b}\n"


def test_sql_says_what_a_statement_did(policyd):
    assert policyd("sql", "insert into policy.egress_pool (name) values ('a'), ('b')")[:2] == (
        0,
        "INSERT 0 2\n",
    )


def test_sql_is_logged_as_the_person_who_ran_it(policyd):
    policyd("sql", "--reason", "more capacity", "insert into policy.egress_pool (name) values ('a')")
    _, out, _ = policyd(
        "sql", "select claimed_actor, reason from policy.revision order by number desc limit 1"
    )
    assert out.splitlines()[1] == "olga\tmore capacity"


def test_several_statements_succeed_or_fail_together(policyd):
    status, _, err = policyd(
        "sql", "insert into policy.egress_pool (name) values ('a'); insert into policy.nowhere values (1)"
    )
    assert status == 1
    assert 'policyd: relation "policy.nowhere" does not exist' in err
    assert policyd("sql", "select name from policy.egress_pool where name = 'a'")[1] == "name\n"


def test_set_local_holds_for_the_statements_after_it(policyd):
    policyd("sql", "set local policy.reason = 'because'; insert into policy.egress_pool (name) values ('a')")
    _, out, _ = policyd("sql", "select reason from policy.revision order by number desc limit 1")
    assert out.splitlines()[1] == "because"


def test_transactions_that_a_script_makes_itself_are_its_own(policyd, tmp_path):
    script = tmp_path / "script.sql"
    script.write_text(
        "begin; insert into policy.egress_pool (name) values ('a'); rollback;\n"
        "insert into policy.egress_pool (name) values ('b');\n"
    )
    assert policyd("sql", "--file", str(script))[0] == 0
    assert policyd("sql", "select name from policy.egress_pool where name in ('a', 'b')")[1] == "name\nb\n"


def test_what_the_database_warns_of_is_passed_on(policyd):
    status, _, err = policyd("sql", "do $$ begin raise warning 'mind this' using hint = 'do that'; end $$")
    assert status == 0
    assert err == "WARNING: mind this\n  next: do that\n"


def test_a_refusal_of_the_database_is_its_sentence_and_its_hint(policyd):
    status, _, err = policyd(
        "sql", "do $$ begin raise exception 'not like this' using hint = 'like that'; end $$"
    )
    assert status == 1
    assert err == "policyd: not like this\n  next: like that\n"


def test_a_broken_rule_says_which_row(policyd):
    policyd("sql", "insert into policy.egress_pool (name) values ('a')")
    status, _, err = policyd("sql", "insert into policy.egress_pool (name) values ('a')")
    assert status == 1
    assert "duplicate key" in err
    assert "(a)" in err


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("update policy.tenant set egress_pol = 'a'", r"\d policy.TABLE in psql"),
        ("select * from policy.tenants", r"\dt policy.* in psql"),
        ("insert into policy.tenant (name, egress_pool) values ('a', 'nowhere')", "has to be there first"),
    ],
)
def test_a_slip_in_sql_is_told_what_to_do(policyd, statement, says):
    status, _, err = policyd("sql", statement)
    assert status == 1
    assert says in err.partition("  next: ")[2]


@pytest.mark.parametrize("arguments", [("select 1", "--file", "-"), ("",), ("-- nothing",), ()])
def test_sql_without_a_statement_is_a_question_of_usage(policyd, arguments, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert policyd("sql", *arguments)[0] == 2


def test_sql_reads_what_is_piped_into_it(policyd, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("select 1 as a; select 2 as b"))
    assert policyd("sql")[:2] == (0, "a\n1\nb\n2\n")


def test_psql_is_started_as_the_person_and_without_a_password_in_its_arguments(dsn):
    password = urlsplit(dsn).password or "canary-3371"
    database = DatabaseConfig(dsn=dsn.replace("postgres@", f"postgres:{password}@"))
    command, environ = psql(database, actor="o'l \\ga", environ={"HOME": "/"})
    assert password not in " ".join(command)
    assert environ["PGPASSWORD"] == password
    said = subprocess.run(
        [*command, "-Atc", "show policy.actor"], env=environ, check=True, capture_output=True, text=True
    )
    assert said.stdout == "o'l \\ga\n"


def test_a_transaction_that_is_left_open_is_said_to_be_lost(policyd):
    status, out, err = policyd("sql", "begin; insert into policy.egress_pool (name) values ('a')")
    assert (status, out) == (1, "BEGIN\nINSERT 0 1\n")
    assert "nothing of the open transaction is kept" in err
    assert "commit" in err
    _, out, _ = policyd("sql", "select count(*) from policy.egress_pool where name = 'a'")
    assert out.splitlines()[1] == "0"


def test_migrate_says_that_there_is_nothing_to_do(policyd):
    assert policyd("migrate")[:2] == (0, "the schema is up to date\n")


def test_a_token_is_shown_once_and_kept_as_a_hash(policyd):
    status, out, _ = policyd("token", "create", "kumod-1")
    assert status == 0
    credentials = Credentials.parse(f"Bearer {out.strip()}")
    assert credentials is not None
    assert credentials.name == "kumod-1"
    _, rows, _ = policyd("sql", "select name, sha256, scopes, networks, expires_at from policy.api_token")
    assert rows.splitlines()[1] == f"kumod-1\t{credentials.sha256}\t{{lookup,status}}\t\t"
    secret = out.strip().partition(".")[2]
    _, log, _ = policyd("sql", "select * from policy.change")
    assert secret not in rows + log + policyd("token", "list")[1]


def test_a_token_can_be_limited(policyd):
    status, _, err = policyd(
        *("token", "create", "keys", "--scope", "dkim", "--scope", "lookup"),
        *("--network", "10.0.0.0/8", "--domain", "Example.COM.", "--expires", "90d"),
    )
    assert (status, err) == (0, "")
    _, out, _ = policyd(
        "sql",
        "select scopes, networks, domains, expires_at - now() > interval '89 days' as later from policy.api_token",
    )
    assert out.splitlines()[1] == "{dkim,lookup}\t{10.0.0.0/8}\t{example.com}\ttrue"
    assert re.search(
        r"^keys\tdkim lookup\t10\.0\.0\.0/8\texample\.com\t20\d\d-", policyd("token", "list")[1], re.MULTILINE
    )


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--network", "10.0.0.1/8"), 2, "has host bits set"),
        (("--expires", "soon"), 2, "is not a duration"),
        (("--expires", "9999999999w"), 2, "--expires"),
        (("--scope", "everything"), 2, "is not one of"),
        (("--domain", "exa mple"), 1, "domains_are_null_for_any_or_lower_case_a_labels"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(policyd, arguments, status, said):
    found, _, err = policyd("token", "create", "t", *arguments)
    assert (found, said in err) == (status, True), err


def test_a_name_is_given_to_one_token_only(policyd):
    policyd("token", "create", "t")
    status, _, err = policyd("token", "create", "t")
    assert status == 1
    assert "there is a token t already" in err


def test_a_revoked_token_is_gone(policyd):
    policyd("token", "create", "t")
    assert policyd("token", "revoke", "t")[:2] == (0, "revoked t\n")
    status, _, err = policyd("token", "revoke", "t")
    assert (status, "there is no token t" in err) == (1, True)


def test_config_shows_what_is_in_force_and_where_from_but_no_secret(policyd, monkeypatch, dsn):
    monkeypatch.setenv("POLICYD_DATABASE_PASSWORD", "canary-9182")
    status, out, _ = policyd("config", "--set", "feed.lease=8s")
    assert status == 0
    assert 'lease = "8s"  # a flag' in out
    assert 'dsn = "(set, not shown)"  # the environment, POLICYD_DATABASE_DSN' in out
    assert "canary-9182" not in out
    assert dsn not in out


def test_a_wrong_setting_is_a_sentence_with_a_status_of_its_own(policyd):
    status, out, err = policyd("config", "--set", "feed.leese=8s")
    assert (status, out) == (2, "")
    assert err == "policyd: a flag: there is no setting feed.leese; did you mean feed.lease?\n"


def test_a_database_that_does_not_answer_has_a_status_of_its_own(policyd, monkeypatch, tmp_path):
    monkeypatch.setenv("POLICYD_DATABASE_DSN", f"postgresql://u:canary-5512@/d?host={tmp_path}")
    status, _, err = policyd("sql", "select 1")
    assert status == 3
    assert "canary-5512" not in err


def test_without_any_database_it_says_how_to_get_one(policyd, monkeypatch, tmp_path):
    monkeypatch.delenv("POLICYD_DATABASE_DSN")
    status, _, err = policyd("sql", "select 1", "--state", str(tmp_path))
    assert status == 2
    assert "next: start one with `policyd up`" in err


def test_version_says_what_a_report_needs(policyd):
    status, out, _ = policyd("version")
    assert status == 0
    assert re.match(r"policyd \d.*\nPython 3\.\d+.*\nschema \d{4}_", out)


@pytest.mark.parametrize("command", ["lookup", "explain"])
def test_a_service_that_does_not_answer_is_told_with_the_reason_and_the_setting(policyd, command):
    setting = {"lookup": "client.url", "explain": "client.admin_url"}[command]
    status, _, err = policyd(command, "/queue/x", "--set", f"{setting}=http://127.0.0.1:1")
    assert status == 3
    assert "does not answer: Connection refused\n" in err
    assert f"{setting} says where it is" in err
