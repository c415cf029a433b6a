"""What a client is told of an error, and what it is not."""

from policyd.api.problems import problem_document, problem_response, problem_wire
from policyd.errors import DatabaseUnavailable, OtherHistory, Overloaded


def test_a_hint_is_for_the_client_unless_it_is_about_a_backend() -> None:
    theirs = OtherHistory(presented="7-00000000", head="6-00000000")
    assert problem_document(theirs, detail="x")["hint"] == theirs.hint
    ours = DatabaseUnavailable("password authentication failed", hint="database.dsn says who logs in")
    assert "hint" not in problem_document(ours, detail="x")


def test_what_is_ready_to_be_sent_says_what_a_response_would() -> None:
    error = Overloaded(bottleneck="kind", limit=30)
    document = problem_document(error, detail=str(error))
    response = problem_response(error, document)
    head, body = problem_wire(error, document).split(b"\r\n\r\n", 1)
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    assert (status, body) == (f"HTTP/1.1 {response.status} {response.reason}", response.body)
    assert headers == {
        "Content-Type": response.content_type,
        "Retry-After": response.headers["Retry-After"],
        "Content-Length": str(len(body)),
    }
