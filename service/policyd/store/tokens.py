"""The rows of tokens; the secret itself is never here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token as it is listed."""

    name: str
    scopes: tuple[str, ...]
    networks: tuple[str, ...] | None
    domains: tuple[str, ...] | None
    expires_at: datetime | None
    created_at: datetime


async def insert_token(
    connection: Connection,
    *,
    name: str,
    sha256: str,
    scopes: Sequence[str],
    networks: Sequence[str] | None,
    domains: Sequence[str] | None,
    expires_at: datetime | None,
) -> None:
    """Store a token; Conflict where the name is taken."""
    with translated():
        await connection.execute(
            QUERIES["insert_token"], name, sha256, list(scopes), _list(networks), _list(domains), expires_at
        )


async def delete_token(connection: Connection, name: str) -> bool:
    """Whether there was such a token; now there is none."""
    with translated():
        return await connection.fetchval(QUERIES["delete_token"], name) is not None


async def list_tokens(connection: Connection) -> list[TokenRow]:
    """Every token, by name."""
    with translated():
        rows = await connection.fetch(QUERIES["list_tokens"])
    return [
        TokenRow(
            name=row["name"],
            scopes=tuple(row["scopes"]),
            networks=_tuple(row["networks"]),
            domains=_tuple(row["domains"]),
            expires_at=row["expires_at"],
            created_at=row["created_at"],
        )
        for row in rows
    ]


def _list(values: Sequence[str] | None) -> list[str] | None:
    return list(values) if values else None


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
