"""What handlers of authentication answer: a boolean, or kumod's AuthInfo."""

from typing import Any

from lupa.lua54 import lua_type

from tests.lua.kumo_sim.errors import HandlerFailed, KumoError
from tests.lua.kumo_sim.values import decoded, lua_kind, plain

CONTEXTS = frozenset(
    {
        "SmtpAuthPlainAuthentication",
        "SmtpAuthPlainAuthorization",
        "HttpBasicAuth",
        "BearerToken",
        "ProxyAuthRfc1929",
        "LocalSystem",
        "GenericAuth",
    }
)


def auth_info_of(answer: Any, username: str, *contexts: str) -> dict[str, Any] | None:
    """Identities and groups; None for a no. A plain yes is the user, in *contexts*."""
    if isinstance(answer, bool):
        identities = [{"identity": username, "context": context} for context in contexts]
        return {"identities": identities, "groups": []} if answer else None
    if lua_type(answer) != "table":
        raise HandlerFailed(KumoError(f"error converting Lua {lua_kind(answer)} to AuthKindResult"))
    given = decoded(plain(answer))
    info = {"identities": given.get("identities") or [], "groups": given.get("groups") or []}
    for each in info["identities"]:
        if set(each) != {"identity", "context"} or each["context"] not in CONTEXTS:
            raise HandlerFailed(
                KumoError("deserialize error: data did not match any variant of untagged enum AuthKindResult")
            )
    return info
