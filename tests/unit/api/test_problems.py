"""What a client is told of an error, and what it is not."""

from policyd.api.problems import problem_document
from policyd.errors import DatabaseUnavailable, OtherHistory


def test_a_hint_is_for_the_client_unless_it_is_about_a_backend() -> None:
    theirs = OtherHistory(presented="7-00000000", head="6-00000000")
    assert problem_document(theirs, detail="x")["hint"] == theirs.hint
    ours = DatabaseUnavailable("password authentication failed", hint="database.dsn says who logs in")
    assert "hint" not in problem_document(ours, detail="x")
