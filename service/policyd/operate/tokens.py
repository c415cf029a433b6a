"""Tokens: made here, shown once, kept as a hash."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from policyd.errors import Conflict
from policyd.policy.token import hash_secret
from policyd.store.pool import Connection
from policyd.store.tokens import insert_token


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """A token as its bearer sends it."""

    name: str
    secret: str = field(repr=False)

    def written(self) -> str:
        """`NAME.SECRET`, for an Authorization header."""
        return f"{self.name}.{self.secret}"


async def create_token(
    connection: Connection,
    name: str,
    *,
    scopes: Sequence[str],
    networks: Sequence[str] = (),
    domains: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> NewToken:
    """A new token; whoever gets it must keep it, for it cannot be shown again. Conflict where the name is taken."""
    token = NewToken(name=name, secret=secrets.token_urlsafe(32))
    try:
        await insert_token(
            connection,
            name=name,
            sha256=hash_secret(token.secret),
            scopes=scopes,
            networks=networks or None,
            domains=domains or None,
            expires_at=expires_at,
        )
    except Conflict as error:
        if error.constraint != "token_names_are_unique":
            raise
        raise Conflict(
            error.constraint,
            f"there is a token {name} already",
            hint=f"choose another name, or policyd token revoke {name}",
        ) from error
    return token
