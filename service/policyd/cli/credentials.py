"""policyd credential: who may log in to send mail."""

import secrets
import sys
from collections.abc import Callable, Coroutine
from typing import TypeVar

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.database import show_notice
from policyd.cli.showing import show_table
from policyd.cli.tokens import network, until
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.operate.credentials import change_password, create_credential, no_credential, normal_username
from policyd.store.credentials import CredentialRow, delete_credential, enable_credential, list_credentials
from policyd.store.notices import notices_of
from policyd.store.pool import Connection

T = TypeVar("T")
generate_option = click.option("--generate", is_flag=True, help="Make a password and print it, this once.")


@click.group("credential")
def credential() -> None:
    """
    SMTP credentials: who may log in to send mail, and for which tenant.

    A password is asked for, or read from standard input, or made by --generate; it is never an argument, because
    everybody on the machine can read those.
    """


@credential.command("add")
@click.argument("username")
@click.option("--tenant", required=True, help="Who it sends for.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Only from there; repeatable.")
@click.option("--expires", metavar="DURATION", help="For how long, for example 90d. Default: no end.")
@generate_option
@configured
def add(
    loaded: Loaded,
    username: str,
    *,
    tenant: str,
    networks: tuple[str, ...],
    expires: str | None,
    generate: bool,
) -> None:
    """Let USERNAME log in. Usernames are compared letter by letter, as KumoMTA does with require_authz."""
    checked = [network(each) for each in networks]
    expires_at = until(expires)
    password = _password(generate=generate)

    async def work(connection: Connection) -> None:
        async with notices_of(connection, show_notice):
            await create_credential(
                connection, username, password, tenant=tenant, networks=checked, expires_at=expires_at
            )

    _run(loaded, work)
    click.echo(password if generate else f"added {username}")


@credential.command("set-password")
@click.argument("username")
@generate_option
@configured
def set_password(loaded: Loaded, username: str, *, generate: bool) -> None:
    """Give USERNAME another password; the old one is refused at once, everywhere."""
    password = _password(generate=generate)

    async def work(connection: Connection) -> None:
        await change_password(connection, username, password)

    _run(loaded, work)
    click.echo(password if generate else f"changed the password of {username}")


@credential.command("disable")
@click.argument("username")
@configured
def disable(loaded: Loaded, username: str) -> None:
    """Refuse USERNAME, at once and everywhere, until it is enabled again."""
    _enable(loaded, username, enabled=False)
    click.echo(f"disabled {username}")


@credential.command("enable")
@click.argument("username")
@configured
def enable(loaded: Loaded, username: str) -> None:
    """Let USERNAME log in again, with the password that it had."""
    _enable(loaded, username, enabled=True)
    click.echo(f"enabled {username}")


@credential.command("remove")
@click.argument("username")
@configured
def remove(loaded: Loaded, username: str) -> None:
    """End USERNAME, at once and everywhere."""

    async def work(connection: Connection) -> bool:
        return await delete_credential(connection, normal_username(username))

    if not _run(loaded, work):
        raise no_credential(username)
    click.echo(f"removed {username}")


@credential.command("list")
@click.option("--tenant", help="Only those that send for this one.")
@configured
def list_command(loaded: Loaded, *, tenant: str | None) -> None:
    """List the credentials; nobody can read their passwords."""

    async def work(connection: Connection) -> list[CredentialRow]:
        return await list_credentials(connection, tenant)

    show_table(
        ("username", "tenant", "networks", "enabled", "expires"),
        [
            (
                row.username,
                row.tenant,
                "any" if row.networks is None else " ".join(row.networks),
                row.enabled,
                row.expires_at or "never",
            )
            for row in _run(loaded, work)
        ],
    )


def _run(loaded: Loaded, work: Callable[[Connection], Coroutine[object, object, T]]) -> T:
    async def connected() -> T:
        async with person(loaded.config, purpose="credential") as connection:
            return await work(connection)

    return run(connected())


def _enable(loaded: Loaded, username: str, *, enabled: bool) -> None:
    async def work(connection: Connection) -> bool:
        return await enable_credential(connection, normal_username(username), enabled=enabled)

    if not _run(loaded, work):
        raise no_credential(username)


def _password(*, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(18)
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    given = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if "\n" in given or not given:
        raise PolicydError("standard input is to hold the password, as one line")
    return given
