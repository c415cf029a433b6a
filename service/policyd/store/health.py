"""How the database is: what PostgreSQL says of itself, and whether the schema is whole."""

from collections.abc import Sequence
from dataclasses import dataclass

from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHealth:
    """PostgreSQL, and the role that asked. *clock* is in seconds since 1970."""

    version: str
    version_number: int
    in_recovery: bool
    replication_role: str
    max_connections: int
    connections: int
    clock: float
    role: str
    is_superuser: bool
    missing_roles: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaHealth:
    """Triggers, as TABLE.TRIGGER, that are off or gone, and views that the role may not read."""

    silent_triggers: Sequence[str]
    missing_triggers: Sequence[str]
    unreadable: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A private key that rows sign with, and one of the domains for which they do."""

    root: str
    name: str
    algorithm: str | None
    domain: str


async def read_server_health(connection: Connection) -> ServerHealth:
    """Of the server at the other end."""
    with translated():
        row = await connection.fetchrow(QUERIES["server_health"])
    assert row is not None  # noqa: S101 - a select without from
    return ServerHealth(**dict(row))


async def read_schema_health(connection: Connection) -> SchemaHealth:
    """Of schema `policy`."""
    with translated():
        row = await connection.fetchrow(QUERIES["schema_health"])
    assert row is not None  # noqa: S101 - a select without from
    return SchemaHealth(**dict(row))


async def read_wanted_keys(connection: Connection, *, most: int) -> list[WantedKey]:
    """At most so many of the private keys that rows need, by name."""
    with translated():
        return [WantedKey(**dict(row)) for row in await connection.fetch(QUERIES["wanted_dkim_keys"], most)]
