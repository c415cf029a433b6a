"""`policyd whatif`: what statements would change, before anybody lives by it."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.database import show_notice
from policyd.cli.difference_report import field_lines
from policyd.cli.history import told_lines
from policyd.cli.paths import asked_at
from policyd.cli.waiting import duration
from policyd.config_loader import Loaded
from policyd.operate.hypothetical import Asked, Outcome, what_if
from policyd.store.notices import notices_of
from policyd.store.people import split

_ROWS_SHOWN = 200


@click.command("whatif", short_help="Show what a file of SQL would change, and change nothing.")
@click.argument("script", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.argument("questions", metavar="[-- lookup PATH…]", nargs=-1)
@click.option(
    "--timeout", default="30s", show_default=True, help="How long it may take; others who change policy wait."
)
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@configured
def whatif(loaded: Loaded, *, script: str, questions: tuple[str, ...], timeout: str, as_json: bool) -> None:
    """
    Show what the statements in FILE would change: policyd whatif change.sql -- lookup '/queue/gmail.com?tenant=acme'

    They are run in a transaction that is always undone, also if this is killed. What they would change is shown, and for
    each PATH in which fields its answer would differ from what it is now. FILE - is standard input.

    Whoever else changes policy waits meanwhile, for at most --timeout.
    """
    seconds = duration(timeout, option="--timeout")
    statements = split(sys.stdin.read() if script == "-" else Path(script).read_text(encoding="utf-8"))
    if not statements:
        raise click.UsageError("there is no statement in this")
    asked = [asked_at(each) for each in questions if each not in ("lookup", "--")]

    outcome = run(_work(loaded, statements, asked, seconds))
    if as_json:
        click.echo(json.dumps(_as_json(outcome), ensure_ascii=False))
        return
    if outcome.told is None:
        click.echo("No row would change.")
    else:
        for line in told_lines(outcome.told, at_most=20):
            click.echo(line)
    for path, fields in outcome.answers.items():
        click.secho(path, bold=True)
        for line in field_lines(fields) if fields else ["the same answer"]:
            click.echo(f"  {line}")


async def _work(loaded: Loaded, statements: list[str], asked: list[Asked], seconds: float) -> Outcome:
    async with (
        person(loaded.config, purpose="what if") as connection,
        notices_of(connection, show_notice),
    ):
        return await what_if(
            connection,
            statements,
            asked,
            now=datetime.now(UTC),
            timeout=seconds,
            most_rows=_ROWS_SHOWN,
        )


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "documents": [] if outcome.told is None else outcome.told.as_json()["documents"],
        "answers": {
            path: [{"field": each.field, "old": each.old, "new": each.new} for each in fields]
            for path, fields in outcome.answers.items()
        },
    }
