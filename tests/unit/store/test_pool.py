"""What PostgreSQL's driver raises, as an operator hears of it."""

import asyncpg
import pytest

from policyd.errors import DatabaseUnavailable, StatementRefused
from policyd.store.pool import translated


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            asyncpg.TargetServerAttributeNotMatched("None of the hosts match the target attribute requirement"),
            "no PostgreSQL there takes writes: it is a standby, or read-only",
        ),
        (asyncpg.InterfaceError("connection is closed"), "the connection to PostgreSQL was lost"),
        (asyncpg.ConnectionDoesNotExistError("closed"), "the connection to PostgreSQL was lost"),
        (TimeoutError(), "PostgreSQL did not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "PostgreSQL cannot be reached: Connection refused"),
        (FileNotFoundError(2, "No such file or directory"), "PostgreSQL cannot be reached: its socket is not there"),
    ],
    ids=lambda each: type(each).__name__,
)  # fmt: skip
def test_an_outage_is_told_in_words_and_not_by_the_name_of_a_class(error: Exception, sentence: str) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, translated():
        raise error
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        asyncpg.PostgresError.new({"C": "28P01", "M": 'password authentication failed for user "x"'}),
        asyncpg.PostgresError.new({"C": "3D000", "M": 'database "x" does not exist'}),
    ],
    ids=str,
)  # fmt: skip
def test_who_cannot_get_in_is_told_which_setting_says_where(error: Exception) -> None:
    with pytest.raises(DatabaseUnavailable) as caught, translated():
        raise error
    assert "database.dsn" in (caught.value.hint or "")


def test_who_may_not_is_told_which_roles_there_are() -> None:
    with pytest.raises(StatementRefused, match="permission denied") as caught, translated():
        raise asyncpg.PostgresError.new({"C": "42501", "M": "permission denied for table api_token"})
    assert caught.value.hint is not None
    assert "policyd_owner" in caught.value.hint
