"""HTTP Basic authentication: what kumod makes of a handler's answer, keeps for a minute, and writes into its log."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.authentication import auth_info_of
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.memoize import FAILED_FOR

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

KEPT_FOR = 60.0
_TARGET = "kumo_server_common::http_server::auth=off"


@dataclass(frozen=True, slots=True)
class HttpLogin:
    """A status: 200 and who it is, 401, or 500 ("try again later")."""

    status: int
    auth_info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer or an error, until it expires."""

    expires: float
    info: dict[str, Any] | None = None
    failure: str | None = None


async def validated(process: "Process", username: str, password: str | None, peer: str) -> HttpLogin:
    """What becomes of a request with these credentials."""
    known = process.http_logins.get((username, password))
    if known is None or process.clock.now >= known.expires:
        known = await _asked(process, username, password)
        process.http_logins[username, password] = known
    if known.failure is not None:
        if not _is_left_out(process):
            # With what the client sent, as kumod does.
            shown = f"Basic {{ user: {username!r}, password: Some({password!r}) }}"
            process.note("ERROR", f"Error validating {shown}: {known.failure}")
        return HttpLogin(500)
    if known.info is None:
        return HttpLogin(401)
    return HttpLogin(200, {"peer_address": peer, **known.info})


async def _asked(process: "Process", username: str, password: str | None) -> Kept:
    now = process.clock.now
    try:
        results = await process.call("http_server_validate_auth_basic", username, password)
        if results is None:
            return Kept(now + KEPT_FOR)
        info = auth_info_of(results[0] if results else None, username, "HttpBasicAuth")
    except HandlerFailed as failure:
        return Kept(now + FAILED_FOR, failure=str(failure))
    return Kept(now + KEPT_FOR, info=info)


def _is_left_out(process: "Process") -> bool:
    filters = [given[0] for name, given in process.configured if name == "set_diagnostic_log_filter"]
    return bool(filters) and _TARGET in filters[-1]
