"""`policyd credential`, as a person runs it: passwords go in, and none comes out again."""

import io
from collections.abc import Callable

import pytest

from policyd.cli.main import main
from policyd.passwords import is_password

CANARY = "canary pässwörd 4711"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def policyd(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with *typed* as standard input: exit status, standard output, standard error."""
    monkeypatch.setenv("POLICYD_DATABASE_DSN", dsn)
    monkeypatch.setenv("SUDO_USER", "olga")

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        said = capsys.readouterr()
        return int(caught.value.code or 0), said.out, said.err

    assert run("sql", "insert into policy.tenant (name) values ('acme'), ('globex')")[0] == 0
    return run


def hash_of(policyd: Run, username: str) -> str:
    said: str = policyd(
        "sql", f"select password_hash from policy.smtp_credential where username = '{username}'"
    )[1]
    return said.splitlines()[1]


def test_a_password_is_read_from_standard_input_and_kept_as_a_hash(policyd):
    status, out, err = policyd("credential", "add", "alice", "--tenant", "acme", typed=CANARY + "\n")
    assert (status, out, err) == (0, "added alice\n", "")
    assert is_password(hash_of(policyd, "alice"), CANARY)
    told = policyd("credential", "list")[1] + policyd("sql", "select * from policy.change")[1]
    assert "canary" not in told
    assert "argon2id" not in told
    assert (
        "olga" in policyd("sql", "select claimed_actor from policy.revision order by number desc limit 1")[1]
    )


def test_a_generated_password_is_shown_this_once(policyd):
    status, out, _ = policyd("credential", "add", "alice", "--tenant", "acme", "--generate")
    password = out.removesuffix("\n")
    assert (status, len(password) >= 20, "\n" in password) == (0, True, False)
    assert is_password(hash_of(policyd, "alice"), password)
    assert password not in policyd("credential", "list")[1]


def test_a_password_is_asked_for_twice_where_a_person_sits(policyd, monkeypatch):
    asked: list[dict[str, object]] = []

    def prompt(text: str, **how: object) -> str:
        asked.append({"text": text, **how})
        return CANARY

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("io.StringIO", Terminal)
    assert policyd("credential", "add", "alice", "--tenant", "acme")[0] == 0
    assert asked == [{"text": "Password", "hide_input": True, "confirmation_prompt": True}]


def test_a_password_is_never_an_argument(policyd):
    status, _, err = policyd("credential", "add", "alice", CANARY, "--tenant", "acme")
    assert status == 2
    assert policyd("credential", "add", "alice", "--password", CANARY, "--tenant", "acme")[0] == 2
    assert policyd("credential", "list")[1] == "username\ttenant\tnetworks\tenabled\texpires\n"
    assert "unexpected extra argument" in err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "is to hold the password"),
        ("canary1\n", "too short: it has 7 characters"),
        ("canary 1\ncanary 2\n", "as one line"),
        ("canary" * 200, "may have 1024 bytes"),
        ("canary\0canary", "no NUL"),
    ],
)
def test_what_cannot_be_a_password_is_refused_without_being_quoted(policyd, typed, said):
    status, out, err = policyd("credential", "add", "alice", "--tenant", "acme", typed=typed)
    assert (status, out) == (1, "")
    assert said in err
    assert "canary" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("alice", "--tenant", "nobody"), "policyd: there is no tenant nobody\n  next: "),
        (("a:b", "--tenant", "acme"), "username_is_1_to_255_characters_without_colon_or_controls"),
        (("", "--tenant", "acme"), "username_is_1_to_255_characters_without_colon_or_controls"),
        (("taken", "--tenant", "acme"), "there is a credential taken already"),
        (("Taken", "--tenant", "acme"), "in this spelling or another"),
    ],
)
def test_a_credential_that_cannot_be_is_refused_without_its_hash(policyd, arguments, said):
    policyd("credential", "add", "taken", "--tenant", "acme", typed=CANARY)
    status, out, err = policyd("credential", "add", *arguments, typed=CANARY)
    assert (status, out) == (1, "")
    assert said in err
    assert "argon2id$" not in err
    assert "canary" not in err


def test_networks_and_an_end_are_kept_and_listed(policyd):
    policyd(
        *("credential", "add", "alice", "--tenant", "acme", "--network", "10.0.0.0/8", "--network", "2001:db8::/32"),
        *("--expires", "90d"),
        typed=CANARY,
    )  # fmt: skip
    policyd("credential", "add", "gina", "--tenant", "globex", typed=CANARY)
    lines = policyd("credential", "list")[1].splitlines()
    assert lines[1].startswith("alice\tacme\t10.0.0.0/8 2001:db8::/32\ttrue\t20")
    assert lines[2] == "gina\tglobex\tany\ttrue\tnever"
    assert policyd("credential", "list", "--tenant", "globex")[1].splitlines()[1:] == lines[2:]
    assert (
        policyd("credential", "add", "x", "--tenant", "acme", "--network", "10.0.0.1/8", typed=CANARY)[0] == 2
    )


def test_a_username_is_found_in_either_form_of_its_umlauts(policyd):
    policyd("credential", "add", "jo\u0308rg", "--tenant", "acme", typed="pa\u0308ssword")
    assert is_password(hash_of(policyd, "jörg"), "pässword")
    assert policyd("credential", "disable", "jo\u0308rg")[0] == 0


def test_a_credential_is_disabled_enabled_given_another_password_and_removed(policyd):
    policyd("credential", "add", "alice", "--tenant", "acme", typed=CANARY)
    assert policyd("credential", "disable", "alice")[:2] == (0, "disabled alice\n")
    assert "\tfalse\t" in policyd("credential", "list")[1]
    assert policyd("credential", "enable", "alice")[:2] == (0, "enabled alice\n")
    assert policyd("credential", "set-password", "alice", typed="another one")[:2] == (
        0,
        "changed the password of alice\n",
    )
    assert not is_password(hash_of(policyd, "alice"), CANARY)
    assert policyd("credential", "remove", "alice")[:2] == (0, "removed alice\n")
    for command in ("disable", "enable", "remove", "set-password"):
        status, _, err = policyd("credential", command, "alice", typed=CANARY)
        assert (status, err) == (
            1,
            "policyd: there is no credential alice\n  next: policyd credential list\n",
        )


def test_who_could_log_in_but_not_send_is_warned_of(policyd):
    policyd("sql", "update policy.tenant set require_authz = '{bob}' where name = 'acme'")
    _, out, err = policyd("credential", "add", "alice", "--tenant", "acme", typed=CANARY)
    assert out == "added alice\n"
    assert "WARNING: may log in, but not send: 'alice' (tenant 'acme')" in err
