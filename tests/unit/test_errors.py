import pytest

from policyd.cli.main import status_of, told
from policyd.errors import (
    AlreadyRunning,
    ConfigError,
    DatabaseUnavailable,
    MigrationFailed,
    PolicyInvalid,
    Problem,
    SchemaIncompatible,
)


def test_an_old_schema_says_what_to_run():
    error = SchemaIncompatible(found=3, supported=12)
    assert "at migration 3, and this policyd needs 12" in str(error)
    assert error.hint == "run policyd migrate"


def test_a_newer_schema_says_which_policyd_to_run():
    error = SchemaIncompatible(found=40, supported=12, name="0040_split_queues.sql")
    assert "newer than this policyd" in str(error)
    assert "0040_split_queues.sql" in str(error)
    assert error.hint is not None
    assert "restore the backup" in error.hint


def test_a_person_reads_the_sentence_and_the_next_step():
    text = told(AlreadyRunning(pid=4711, state="/var/lib/policyd"))
    assert text.startswith("policyd: policyd is running already: process 4711")
    assert "\n  next: " in text


def test_all_problems_are_shown_at_once():
    error = PolicyInvalid(
        [Problem(where="a.toml: x", sentence="is wrong"), Problem(where="", sentence="so is this")]
    )
    assert str(error) == "a.toml: x: is wrong\nso is this"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), 2),
        (DatabaseUnavailable("x"), 3),
        (AlreadyRunning(pid=1, state="x"), 4),
        (MigrationFailed(name="x", message="y"), 1),
    ],
)
def test_exit_statuses_tell_kinds_of_trouble_apart(error, status):
    assert status_of(error) == status
