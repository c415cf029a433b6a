"""From whatever was raised on the way to a response, to that response; what an operator should know is observed."""

import secrets

from aiohttp import web

from policyd.api.asked import peer_of
from policyd.api.problems import INTERNAL, failure_document, problem_document, problem_of, problem_response
from policyd.errors import BackendUnavailable, Overloaded, PolicydError, Unauthorized
from policyd.observe.events import BackendFailed, Observer, RequestFailed, RequestShed, TokenRefused


def refusal(error: Exception, observe: Observer, request: web.BaseRequest) -> web.Response:
    """The response to *request*: a problem that says what to do, or a 500 with the id of a line in the log."""
    if isinstance(error, Unauthorized):
        observe(TokenRefused(token=error.token, reason=str(error), peer=peer_of(request)))
    return problem_response(error, refusal_document(error, observe, request))


def refusal_document(error: Exception, observe: Observer, request: web.BaseRequest) -> dict[str, object]:
    """The body of that response, for whoever sends several in one."""
    if isinstance(error, Overloaded):
        observe(RequestShed(bottleneck=error.bottleneck, reason=str(error)))
    if isinstance(error, BackendUnavailable) and error.trouble is not None:
        observe(BackendFailed(backend=error.backend, trouble=error.trouble, reason=str(error)))
    if isinstance(error, BackendUnavailable) and error.__cause__ is not None:
        # What a driver said may name hosts, users and columns: it is for the log.
        return problem_document(error, detail=f"{error.backend} does not give what is asked for")
    if isinstance(error, PolicydError) and problem_of(error) is not INTERNAL:
        return problem_document(error, detail=str(error))
    request_id = secrets.token_hex(8)
    route = request.raw_path.partition("?")[0][1:].partition("/")[0]
    observe(RequestFailed(request_id=request_id, method=request.method, route=route, error=error))
    return failure_document(request_id)
