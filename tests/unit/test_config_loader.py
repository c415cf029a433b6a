"""One equality covers the loader: a whole Loaded against a whole Config."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.config import Config, DatabaseConfig, FeedConfig, LookupConfig
from policyd.config_loader import Loaded, known, load
from policyd.errors import ConfigError
from policyd.units import Address, Bytes, Seconds

STATE = {"STATE_DIRECTORY": "/var/lib/policyd"}
CANARY = "canary-7f3a"


@pytest.fixture
def written(tmp_path):
    """Write a configuration file and give its path."""

    def write(text: str, *, name: str = "policyd.toml", mode: int = 0o600) -> Path:
        path: Path = tmp_path / name
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def loaded(file: Path | None = None, flags: dict[str, str] | None = None, **environ: str) -> Loaded:
    return load(environ=STATE | environ, flags=flags, file=file)


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(*args, **kwargs)  # type: ignore[arg-type]  # passed through
    return str(caught.value)


def test_nothing_given_is_the_defaults():
    assert loaded().config == Config()


def test_every_source_and_its_precedence(written):
    file = written(
        """
        [database]
        dsn = "postgresql://file@db/policy"
        connections = 3
        statement_timeout = 1.5
        [lookup]
        listen = "127.0.0.1:1"
        max_body = "64KiB"
        reuse_port = true
        [feed]
        lease = "8s"
        poll = 2
        """
    )
    found = loaded(
        file,
        {"lookup.listen": "127.0.0.1:3", "feed.poll": "250ms"},
        POLICYD_DATABASE_CONNECTIONS="5",
        POLICYD_LOOKUP_LISTEN="127.0.0.1:2",
        POLICYD_LOOKUP_REQUIRE_TOKENS="no",
    )
    assert found.config == Config(
        database=DatabaseConfig(
            dsn="postgresql://file@db/policy", connections=5, statement_timeout=Seconds(1.5)
        ),
        lookup=LookupConfig(
            listen=Address("127.0.0.1", 3), max_body=Bytes(65_536), reuse_port=True, require_tokens=False
        ),
        feed=FeedConfig(lease=Seconds(8.0), poll=Seconds(0.25)),
    )
    assert found.origins["lookup.listen"] == "a flag"
    assert found.origins["database.connections"] == "the environment, POLICYD_DATABASE_CONNECTIONS"
    assert found.origins["feed.lease"] == str(file)


def test_the_file_can_be_named_in_the_environment(written):
    file = written("[cache]\nnone_share = 0.2")
    assert loaded(POLICYD_CONFIG=str(file)).config.cache.none_share == 0.2


def test_a_file_that_is_named_must_be_there(tmp_path):
    assert "there is no configuration file" in refusal(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[lookup]\nlisten = '127.0.0.1'", "lookup.listen = '127.0.0.1' is not an address"),
        ("[lookup]\nlisen = '127.0.0.1:1'", "no setting lookup.lisen; did you mean lookup.listen?"),
        ("[lokup]\nlisten = '127.0.0.1:1'", "no setting lokup.listen; did you mean lookup.listen?"),
        ("listen = '127.0.0.1:1'", "listen stands alone"),
        ("[feed]\nlease = '5 apples'", "feed.lease = '5 apples' is not a duration"),
        ("[feed]\nlease = '0s'", "feed.lease = '0s' is out of range: 0.5 to 300"),
        ("[feed]\nlease = [5]", "feed.lease = [5] has the wrong type"),
        ("[feed]\nwindow = 2000.5", "is not a whole number"),
        ("[feed]\nwindow = inf", "is not a whole number"),
        ("[feed]\nlease = true", "is a boolean"),
        ("[database]\ndsn = 'db.example.com'", "write postgresql://user@host:5432/database"),
        ("[lookup]\nreuse_port = 1", "has the wrong type"),
        ("[lookup]\nreuse_port = 'perhaps'", "neither true nor false"),
        ("[cache]\nbytes = '1 XB'", "is not a size"),
        ("[cache]\nnone_share = 2", "out of range"),
        ("[cache]\nnone_share = nan", "out of range"),
        ("[logging]\nlevel = 'loud'", "is none of debug, info, warning, error"),
        ("[embedded]\nstate = 7", "is not text"),
        ("[embedded", "cannot read the configuration file"),
        ("[lookup]\ntls_cert = '/c.pem'", "belong together"),
        ("[lookup]\nrequire_tokens = false\nlisten = '0.0.0.0:1'", "without tokens everybody"),
        ("[feed]\npoll = '9s'", "feed.poll must be shorter than feed.lease"),
        ("[lookup]\ndeadline = '100ms'", "feed.read_on_deadline must be shorter"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_setting_and_file(written, text, said):
    file = written(text)
    message = refusal(file)
    assert said in message


def test_what_windows_editors_add_is_no_part_of_the_file(written):
    file = written("\ufeff[lookup]\r\nmax_pending = 7\r\n")
    assert load(environ=STATE, file=file).config.lookup.max_pending == 7


def test_a_value_is_refused_with_where_it_was_written(written):
    assert "(the environment, POLICYD_FEED_LEASE)" in refusal(POLICYD_FEED_LEASE="x")
    assert "(a flag)" in refusal(None, {"feed.lease": "x"})


def test_a_misspelled_variable_is_refused_with_the_nearest():
    assert "did you mean POLICYD_LOOKUP_LISTEN?" in refusal(POLICYD_LOOKUP_LISTN="127.0.0.1:1")


def test_what_kubernetes_says_about_a_service_called_policyd_is_no_setting():
    environ = {
        "POLICYD_SERVICE_HOST": "10.0.0.1",
        "POLICYD_SERVICE_PORT_LOOKUPS": "8085",
        "POLICYD_PORT": "tcp://10.0.0.1:8085",
        "POLICYD_PORT_8085_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=STATE | environ).config == Config()


@pytest.mark.parametrize("variable", ["PGHOST", "PGSERVICE"])
def test_a_standard_variable_means_a_database_elsewhere(variable):
    assert loaded().config.database.is_embedded
    assert not load(environ={variable: "db"}).config.database.is_embedded


def test_a_secret_comes_from_a_file_of_its_own(written):
    secret = written(CANARY + "\n", name="password")
    assert loaded(POLICYD_DATABASE_PASSWORD_FILE=str(secret)).config.database.password == CANARY
    file = written(f"[database]\npassword_file = '{secret}'")
    assert loaded(file).config.database.password == CANARY


def test_a_secret_comes_from_the_directory_of_credentials(tmp_path):
    (tmp_path / "database.password").write_text(CANARY)
    (tmp_path / "database.password").chmod(0o400)
    assert loaded(CREDENTIALS_DIRECTORY=str(tmp_path)).config.database.password == CANARY


def test_a_secret_and_its_file_together_are_refused(written):
    secret = written(CANARY, name="password")
    message = refusal(POLICYD_DATABASE_PASSWORD=CANARY, POLICYD_DATABASE_PASSWORD_FILE=str(secret))
    assert "both POLICYD_DATABASE_PASSWORD and POLICYD_DATABASE_PASSWORD_FILE" in message
    file = written(f"[database]\npassword = '{CANARY}'\npassword_file = '{secret}'")
    assert "both database.password and database.password_file" in refusal(file)
    assert CANARY not in message


def test_only_secrets_have_a_file_of_their_own(written):
    assert "no setting feed.lease_file" in refusal(written("[feed]\nlease_file = '/x'"))


def test_a_secret_that_everybody_can_read_is_refused(written, tmp_path):
    secret = written(CANARY, name="password", mode=0o644)
    assert "everybody on this machine can read it" in refusal(POLICYD_DATABASE_PASSWORD_FILE=str(secret))
    secret.rename(tmp_path / "database.password")
    assert "everybody on this machine can read it" in refusal(CREDENTIALS_DIRECTORY=str(tmp_path))
    file = written(f"[database]\npassword = '{CANARY}'", mode=0o644)
    assert "everybody on this machine can read it" in refusal(file)


@pytest.mark.parametrize("secret", ["//u:pw@db/x", "//u@db/x?a=b&password=pw", "/x?password=pw"])
def test_a_dsn_is_a_secret_where_a_password_is_in_it(written, secret):
    file = written(f"[database]\ndsn = 'postgresql:{secret}'", mode=0o644)
    assert "everybody on this machine can read it" in refusal(file)


@pytest.mark.parametrize("dsn", ["///policyd?host=/run", "//u@db1:5432,db2:5432/x?sslmode=require"])
def test_a_dsn_without_a_password_may_be_read_by_everybody(written, dsn):
    file = written(f"[database]\ndsn = 'postgresql:{dsn}'", mode=0o644)
    assert load(environ={}, file=file).config.database.dsn == f"postgresql:{dsn}"


def test_a_private_key_that_everybody_can_read_is_refused(written):
    key = written(CANARY, name="key.pem", mode=0o644)
    file = written(f"[lookup]\ntls_cert = '/c.pem'\ntls_key = '{key}'")
    assert "everybody on this machine can read it" in refusal(file)


def test_a_file_without_a_secret_may_be_read_by_everybody(written):
    assert loaded(written("[feed]\nlease = '9s'", mode=0o644)).config.feed.lease == Seconds(9)


def test_a_secret_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "none"
    assert f"cannot read the secret in {path}: No such file or directory" in refusal(
        POLICYD_DATABASE_DSN_FILE=str(path)
    )


def test_repr_and_refusals_hide_every_secret():
    config = loaded(POLICYD_DATABASE_DSN=f"postgresql://u:{CANARY}@h/d", POLICYD_CLIENT_TOKEN=CANARY).config
    assert CANARY not in repr(config)
    assert CANARY not in refusal(POLICYD_DATABASE_DSN=CANARY)
    assert CANARY not in refusal(POLICYD_DATABASE_DSN="postgresql://" + CANARY + "\0")


def test_a_person_has_a_state_directory_of_their_own(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert load(environ={"HOME": "/home/x"}).config.embedded.state == Path("/home/x/.local/state/policyd")
    assert load(environ={"XDG_STATE_HOME": "/s"}).config.embedded.state == Path("/s/policyd")


def test_systemd_says_where_the_state_is():
    assert load(environ={"STATE_DIRECTORY": "/var/lib/x:/y"}).config.embedded.state == Path("/var/lib/x")


def test_every_default_is_within_its_own_range():
    flags = {
        key: str(value)
        for key in known()
        if not isinstance(value := _default(key), str | Path | type(None)) or key.startswith("logging")
    }
    config = loaded(flags=flags).config
    assert config == replace(Config(), embedded=config.embedded)


def _default(key: str) -> object:
    section, _, name = key.rpartition(".")
    return getattr(dict(Config().sections())[section], name)
