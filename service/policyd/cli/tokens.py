"""policyd token: who may ask."""

import ipaddress
from datetime import UTC, datetime, timedelta

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.showing import show_table
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.operate.tokens import NewToken, create_token
from policyd.policy.token import SCOPES
from policyd.store.tokens import TokenRow, delete_token, list_tokens
from policyd.units import parse_duration


@click.group("token")
def token() -> None:
    """Tokens: who may ask policyd, from where, until when."""


@token.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable. Default: lookup and status, all that a node needs.",
)
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Only from there; repeatable.")
@click.option("--domain", "domains", multiple=True, help="Only keys of that domain; repeatable.")
@click.option("--expires", metavar="DURATION", help="For how long, for example 90d. Default: no end.")
@configured
def create(
    loaded: Loaded,
    name: str,
    *,
    scopes: tuple[str, ...],
    networks: tuple[str, ...],
    domains: tuple[str, ...],
    expires: str | None,
) -> None:
    """Make a token and print it, this once."""
    checked = [network(each) for each in networks]
    expires_at = until(expires)

    async def work() -> NewToken:
        async with person(loaded.config, purpose="token") as connection:
            return await create_token(
                connection,
                name,
                scopes=scopes or ("lookup", "status"),
                networks=checked,
                domains=[domain.lower().rstrip(".") for domain in domains],
                expires_at=expires_at,
            )

    click.echo(run(work()).written())


@token.command("list")
@configured
def list_command(loaded: Loaded) -> None:
    """List the tokens; their secrets are known to their bearers alone."""

    async def work() -> list[TokenRow]:
        async with person(loaded.config, purpose="token") as connection:
            return await list_tokens(connection)

    show_table(
        ("name", "scopes", "networks", "domains", "expires", "created"),
        [
            (
                row.name,
                " ".join(row.scopes),
                "any" if row.networks is None else " ".join(row.networks),
                "all" if row.domains is None else " ".join(row.domains),
                row.expires_at or "never",
                row.created_at,
            )
            for row in run(work())
        ],
    )


@token.command("revoke")
@click.argument("name")
@configured
def revoke(loaded: Loaded, name: str) -> None:
    """End a token, at once and everywhere."""

    async def work() -> bool:
        async with person(loaded.config, purpose="token") as connection:
            return await delete_token(connection, name)

    if not run(work()):
        raise PolicydError(f"there is no token {name}", hint="policyd token list")
    click.echo(f"revoked {name}")


def network(text: str) -> str:
    """The network that an option names."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--network") from None


def until(text: str | None) -> datetime | None:
    """When a duration that begins now is over."""
    if text is None:
        return None
    try:
        return datetime.now(UTC) + timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} {error}", param_hint="--expires") from None
