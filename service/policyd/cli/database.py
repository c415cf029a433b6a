"""policyd migrate, policyd sql: the database, as the person who asks."""

import asyncio
import os
import sys
from pathlib import Path

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, reachable, run, whoever_this_is
from policyd.cli.showing import counted, show_table
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.store.migrate import Migration, migrate
from policyd.store.notices import notices_of
from policyd.store.people import Result, execute, in_one_transaction_if_possible, split
from policyd.store.pool import Connection
from policyd.store.psql import psql


@click.command("migrate")
@configured
def migrate_command(loaded: Loaded) -> None:
    """Bring the database's schema up to what this policyd needs."""
    run(_migrate(loaded.config))


async def _migrate(config: Config) -> None:
    async with person(config, purpose="migrate") as connection:
        if not await migrate(connection, report=_report):
            click.echo("the schema is up to date")


def _report(migration: Migration) -> None:
    click.echo(f"applied {migration.name}")


@click.command("sql", short_help="Run SQL and print what it gives; without statements, psql.")
@click.argument("statements", required=False)
@click.option(
    "--file",
    "script",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="Read the statements from a file; - is standard input.",
)
@click.option("--reason", help="Why; kept in the change log.")
@configured
def sql(loaded: Loaded, statements: str | None, script: Path | None, reason: str | None) -> None:
    """
    Run SQL and print what it gives: policyd sql "select * from policy.tenant"

    Several statements, separated by semicolons, succeed or fail together. Changes are logged as yours. Without
    statements, and with a person at the keyboard, it is psql.
    """
    if statements is None and script is None and sys.stdin.isatty():
        command, environ = psql(reachable(loaded.config), actor=whoever_this_is(), environ=os.environ)
        os.execve(command[0], command, environ)  # noqa: S606 - no shell, and policyd is not needed any more
    found = split(_text(statements, script))
    if not found:
        raise click.UsageError("there is no statement in this")
    run(_sql(loaded.config, found, reason))


def _text(statements: str | None, script: Path | None) -> str:
    if statements is not None and script is not None:
        raise click.UsageError("give statements or --file, not both")
    if statements is not None:
        return statements
    return sys.stdin.read() if str(script or "-") == "-" else Path(str(script)).read_text(encoding="utf-8")


async def _sql(config: Config, statements: list[str], reason: str | None) -> None:
    async with (
        person(config, purpose="sql", reason=reason) as connection,
        notices_of(connection, show_notice),
    ):
        async with in_one_transaction_if_possible(connection, statements):
            for statement in statements:
                await _one(connection, statement)
        if connection.is_in_transaction():
            raise PolicydError(
                "nothing of the open transaction is kept",
                hint="end it with commit, or leave begin out: several statements succeed or fail together",
            )


async def _one(connection: Connection, statement: str) -> None:
    result = await execute(connection, statement)
    await asyncio.sleep(0)  # what the server had to say comes before what it did
    _show(result)


def _show(result: Result) -> None:
    if result.columns:
        show_table(result.columns, result.rows)
        if sys.stdout.isatty():
            click.echo(f"({counted(len(result.rows), 'row')})")
    else:
        click.echo(result.status)


def show_notice(severity: str, message: str, hint: str | None) -> None:
    """Print what the server has to say beside its answers."""
    click.echo(f"{severity}: {message}" + (f"\n  next: {hint}" if hint else ""), err=True)
