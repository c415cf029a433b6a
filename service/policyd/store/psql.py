"""psql for a person: the one that came with the embedded PostgreSQL, or the one on PATH."""

import contextlib
import shutil
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from policyd.config import DatabaseConfig
from policyd.errors import ConfigError, EmbeddedUnavailable
from policyd.store.embedded.binaries import installed


def psql(
    database: DatabaseConfig, *, actor: str, environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a psql on *database* whose changes are logged as *actor*'s; no password in the command."""
    program = _program(environ)
    parts = urlsplit(database.dsn)
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    address = urlunsplit(parts._replace(netloc=f"{name}@{host}" if name else host))
    given = dict(environ)
    if secret := database.password or password:
        given["PGPASSWORD"] = secret
    # libpq splits options at white space, unless a backslash comes before it.
    escaped = "".join(f"\\{each}" if each in "\\ \t\n" else each for each in actor)
    given["PGOPTIONS"] = f"{environ.get('PGOPTIONS', '')} -c policy.actor={escaped}".strip()
    return [program, address], given


def _program(environ: Mapping[str, str]) -> str:
    # The wheel's first: one that is older than its server warns at every start.
    with contextlib.suppress(EmbeddedUnavailable):
        return str(installed() / "psql")
    found = shutil.which("psql", path=environ.get("PATH"))
    if found is None:
        raise ConfigError(
            "there is no psql on this machine", hint='give the statements: policyd sql "select …"'
        )
    return found
