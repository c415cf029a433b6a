"""Problems (RFC 9457): the one table from errors to HTTP status, and what is said of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson
from aiohttp import web

from policyd.errors import (
    BackendUnavailable,
    Forbidden,
    KeyGone,
    KeyInvalid,
    LookupInvalid,
    OtherHistory,
    OutageDrilled,
    Overloaded,
    PolicydError,
    TooManyFailures,
    Unauthorized,
)

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:policyd:problem:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType:
    """One kind of problem: its status, its stable name, and a title for people."""

    status: int
    slug: str
    title: str
    retry_after: int | None = None


class RequestRefused(PolicydError):
    """
    A request that HTTP itself rules out: no such route, wrong method, too large, not JSON.

    *is_last* ends the connection: what is left of the request is not worth reading.
    """

    def __init__(
        self,
        problem: ProblemType,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        is_last: bool = False,
    ) -> None:
        super().__init__(detail)
        self.problem = problem
        self.headers = dict(headers or {})
        self.is_last = is_last


NO_ROUTE = ProblemType(status=404, slug="no-route", title="There is nothing at this path")
WRONG_METHOD = ProblemType(status=405, slug="wrong-method", title="This path does not take this method")
PLAINTEXT = ProblemType(
    status=403, slug="plaintext", title="This is answered over TLS, or to this machine itself, only"
)
TOO_SLOW = ProblemType(status=408, slug="too-slow", title="The request did not arrive in time")
TOO_LARGE = ProblemType(status=413, slug="too-large", title="The request is too large")
BAD_REQUEST = ProblemType(status=400, slug="bad-request", title="The request cannot be understood")
INTERNAL = ProblemType(
    status=500, slug="internal", title="policyd failed; its log says more under the request id"
)

# The first class that an error is an instance of decides.
PROBLEMS: tuple[tuple[type[PolicydError], ProblemType], ...] = (
    (
        LookupInvalid,
        ProblemType(status=400, slug="lookup-invalid", title="The lookup cannot be meant like that"),
    ),
    (Forbidden, ProblemType(status=403, slug="forbidden", title="This token does not allow this")),
    (Unauthorized, ProblemType(status=401, slug="unauthorized", title="A valid token is needed")),
    (OtherHistory, ProblemType(status=409, slug="other-history", title="The position is of another history")),
    (
        TooManyFailures,
        ProblemType(
            status=429, slug="too-many-failures", title="Too many logins failed; try later", retry_after=60
        ),
    ),
    (
        Overloaded,
        ProblemType(status=503, slug="overloaded", title="More is asked for than can be done", retry_after=1),
    ),
    (
        OutageDrilled,
        ProblemType(status=503, slug="drill", title="This fails on purpose: a drill is on", retry_after=1),
    ),
    (
        KeyGone,
        ProblemType(status=503, slug="key-gone", title="This very private key is not there", retry_after=1),
    ),
    (
        KeyInvalid,
        ProblemType(status=503, slug="key-unusable", title="The private key cannot be used", retry_after=10),
    ),
    (
        BackendUnavailable,
        ProblemType(
            status=503, slug="unavailable", title="This cannot be known at the moment", retry_after=1
        ),
    ),
)


TYPES = (
    BAD_REQUEST,
    NO_ROUTE,
    WRONG_METHOD,
    PLAINTEXT,
    TOO_SLOW,
    TOO_LARGE,
    *(problem for _, problem in PROBLEMS),
    INTERNAL,
)
"""Every problem that there is."""


def problem_of(error: Exception) -> ProblemType:
    """What *error* is to the client; an error that is not in the table is ours."""
    if isinstance(error, RequestRefused):
        return error.problem
    return next((problem for kind, problem in PROBLEMS if isinstance(error, kind)), INTERNAL)


def problem_document(error: PolicydError, *, detail: str) -> dict[str, object]:
    """The body for an error of the request's: type, title, status, detail; never SQL, a stack trace or a secret."""
    document = _document(problem_of(error)) | {"detail": detail}
    # What mends a backend is for who runs policyd, and stands in its log.
    is_told = error.hint and not isinstance(error, BackendUnavailable)
    return document | {"hint": error.hint} if is_told else document


def failure_document(request_id: str) -> dict[str, object]:
    """The body for an error of ours: nothing but where to look for it."""
    return _document(INTERNAL) | {"request_id": request_id}


def problem_response(error: Exception, document: Mapping[str, object]) -> web.Response:
    """The response that has *document* as its body, with the headers that *error* asks for."""
    problem = problem_of(error)
    headers = dict(error.headers) if isinstance(error, RequestRefused) else {}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="policyd"'
    response = web.Response(
        status=problem.status, body=orjson.dumps(document), content_type=CONTENT_TYPE, headers=headers
    )
    if isinstance(error, RequestRefused) and error.is_last:
        response.force_close()
    return response


def problem_wire(error: Exception, document: Mapping[str, object]) -> bytes:
    """That response as it stands on the wire, for a connection that is kept."""
    problem, body = problem_of(error), orjson.dumps(document)
    again = f"Retry-After: {problem.retry_after}\r\n" if problem.retry_after is not None else ""
    status = f"{problem.status} {HTTPStatus(problem.status).phrase}"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\n{again}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _document(problem: ProblemType) -> dict[str, object]:
    return {"type": TYPE_PREFIX + problem.slug, "title": problem.title, "status": problem.status}
