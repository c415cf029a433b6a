"""Handler of SMTP AUTH: a password comes in, and nothing of it goes anywhere else."""

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from policyd.api.answering import labels, only
from policyd.api.asked import Asked, read_json
from policyd.live.logins import Login, Logins
from policyd.policy.credential import Attempt

_MOST_BYTES = 65_536
"""Any password that fits into SMTP's line fits into this, however it is escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticating:
    """What logins are judged by."""

    logins: Logins
    body_deadline: float

    async def log_in(self, asked: Asked) -> web.StreamResponse:
        """200 with whether the password is right; what cannot be told now is a problem, and no reason to say no."""
        only(asked.target.query, set())
        body = await read_json(asked.request, most_bytes=_MOST_BYTES, deadline=self.body_deadline)
        login = await self.logins.attempt(Attempt.parse(body))
        return web.Response(
            body=orjson.dumps(_said(login)),
            content_type="application/json",
            headers=labels(login.position, login.stale_for) | {"Cache-Control": "no-store"},
        )


def _said(login: Login) -> dict[str, Any]:
    found = login.credential
    if found is None:
        return {"authenticated": False, "tags": login.tags}
    said: dict[str, Any] = {
        "authenticated": True,
        "username": found.username,
        "tenant": found.tenant,
        "tags": login.tags,
    }
    if found.networks is not None:
        said["networks"] = [str(network) for network in found.networks]
    if found.expires_at is not None:
        said["valid_until"] = found.expires_at
    return said
