"""SMTP credentials: passwords come in, and only their hashes go on."""

import unicodedata
from collections.abc import Sequence
from datetime import datetime

from policyd.errors import Conflict, PolicydError
from policyd.passwords import hash_password
from policyd.policy.credential import LONGEST_PASSWORD, is_possible_password, normal_password
from policyd.store import credentials as store
from policyd.store.pool import Connection

SHORTEST_PASSWORD = 8
_TAKEN = ("usernames_are_unique", "usernames_differ_by_more_than_case")


async def create_credential(
    connection: Connection,
    username: str,
    password: str,
    *,
    tenant: str,
    networks: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> None:
    """Let *username* log in with *password* to send for *tenant*. Conflict where the name is taken, or nobody is it."""
    try:
        await store.insert_credential(
            connection,
            username=normal_username(username),
            password_hash=_hash(password),
            tenant=tenant,
            networks=networks,
            expires_at=expires_at,
        )
    except Conflict as error:
        raise _explained(error, username=username, tenant=tenant) from error


async def change_password(connection: Connection, username: str, password: str) -> None:
    """Give *username* another password; the old one is worth nothing from the commit on. PolicydError for a stranger."""
    if not await store.replace_password(connection, normal_username(username), _hash(password)):
        raise no_credential(username)


def normal_username(given: str) -> str:
    """The username as a row has it."""
    return unicodedata.normalize("NFC", given)


def no_credential(username: str) -> PolicydError:
    """What is raised where there is no such username."""
    return PolicydError(f"there is no credential {username}", hint="policyd credential list")


def _hash(typed: str) -> str:
    password = normal_password(typed)
    if len(password) < SHORTEST_PASSWORD:
        raise PolicydError(
            f"the password is too short: it has {len(password)} characters, and {SHORTEST_PASSWORD} are the least",
            hint="choose a longer one, or let --generate make one",
        )
    if not is_possible_password(password):
        raise PolicydError(f"a password may have {LONGEST_PASSWORD} bytes, and no NUL among them")
    return hash_password(password)


def _explained(error: Conflict, *, username: str, tenant: str) -> Conflict:
    if error.constraint in _TAKEN:
        return Conflict(
            error.constraint,
            f"there is a credential {username} already, in this spelling or another",
            hint=f"choose another username, or policyd credential remove {username}",
        )
    if error.constraint == "the_tenant_exists":
        return Conflict(
            error.constraint,
            f"there is no tenant {tenant}",
            hint="a credential sends for a tenant: insert into policy.tenant (name) values (…)",
        )
    return error
