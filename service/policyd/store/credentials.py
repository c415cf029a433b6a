"""The rows of SMTP credentials; no password is ever here, and no hash comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRow:
    """A credential as it is listed."""

    username: str
    tenant: str
    networks: tuple[str, ...] | None
    enabled: bool
    expires_at: datetime | None


async def insert_credential(
    connection: Connection,
    *,
    username: str,
    password_hash: str,
    tenant: str,
    networks: Sequence[str] | None,
    expires_at: datetime | None,
) -> None:
    """Store a credential; Conflict where the username is taken, or there is no such tenant."""
    given = list(networks) if networks else None
    with translated():
        await connection.execute(
            QUERIES["insert_credential"], username, password_hash, tenant, given, expires_at
        )


async def replace_password(connection: Connection, username: str, password_hash: str) -> bool:
    """Whether there is such a credential; now it has this password's hash."""
    with translated():
        return await connection.fetchval(QUERIES["replace_password"], username, password_hash) is not None


async def enable_credential(connection: Connection, username: str, *, enabled: bool) -> bool:
    """Whether there is such a credential; now it may log in, or not."""
    with translated():
        return await connection.fetchval(QUERIES["enable_credential"], username, enabled) is not None


async def delete_credential(connection: Connection, username: str) -> bool:
    """Whether there was such a credential; now there is none."""
    with translated():
        return await connection.fetchval(QUERIES["delete_credential"], username) is not None


async def list_credentials(connection: Connection, tenant: str | None) -> list[CredentialRow]:
    """Every credential, or those of *tenant*, by username."""
    with translated():
        rows = await connection.fetch(QUERIES["list_credentials"], tenant)
    return [
        CredentialRow(
            username=row["username"],
            tenant=row["tenant"],
            networks=None if row["networks"] is None else tuple(row["networks"]),
            enabled=row["enabled"],
            expires_at=row["expires_at"],
        )
        for row in rows
    ]
