"""`policyd at`: what was answered then."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console

from policyd.cli.asking import show_explanation
from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.history import heading, plain
from policyd.cli.paths import asked_at
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.operate.hypothetical import Asked, PastAnswer, answer_at
from policyd.operate.node_progress import RevisionUnreadable, find_revision
from policyd.policy.asking import overlay
from policyd.policy.explaining import explanation
from policyd.policy.position import Position
from policyd.store.pool import Connection
from policyd.store.revisions import revision_at
from policyd.units import parse_time

_TIMEOUT: Final = 10.0


@click.command("at", short_help="Ask what was answered at a revision, or at a time.")
@click.argument("revision", metavar="REVISION|TIME")
@click.argument("verb", type=click.Choice(["lookup", "explain"]))
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@configured
@click.pass_context
def at(context: click.Context, loaded: Loaded, *, revision: str, verb: str, path: str, as_json: bool) -> None:
    """
    Ask what was answered at a revision: policyd at 105 lookup '/queue/gmail.com?tenant=acme'

    REVISION is a number, a position like 105-3f9a12bc, or a time: 2h, yesterday, 14:30, 2026-08-05T14:30. The answer is
    made from the rows as they were when that revision had just been taken, read from the change log; nothing is written,
    and nobody waits. Ends with status 0 when something was found, 1 when nothing was there.
    """
    asked = asked_at(path)

    async def work() -> PastAnswer:
        async with person(loaded.config, purpose="past") as connection:
            position = await _position(connection, revision)
            return await answer_at(connection, position, asked, timeout=_TIMEOUT)

    found = run(work())
    shown = explanation(asked.lookup.path, found.resolved)
    if as_json:
        click.echo(json.dumps(shown if verb == "explain" else _answer(found), ensure_ascii=False))
    else:
        click.secho(heading(found.revision), dim=True)
        _show(asked, shown, verb)
    for floor in found.floors:
        click.echo(
            f"WARNING: revision {floor.revision} said that all of {floor.kind} had changed unseen by the log"
            f" ({plain(floor.reason or '')}): what it was like before that is not known for sure",
            err=True,
        )
    context.exit(0 if shown["found"] else 1)


async def _position(connection: Connection, written: str) -> Position:
    if written.isascii() and written.isdecimal():
        return await find_revision(connection, written)
    try:
        when = parse_time(written, now=datetime.now(UTC))
    except ValueError:
        try:
            return await find_revision(connection, written)
        except RevisionUnreadable:
            raise PolicydError(
                f"{written[:40]!r} is no revision and no time",
                hint="write a number or a position (105, 105-3f9a12bc, last), or a time (14:30, yesterday, 2h)",
            ) from None
    found = await revision_at(connection, when)
    if found is None:
        raise PolicydError(
            f"there was no revision yet at {when.isoformat(sep=' ', timespec='seconds')}",
            hint="policyd history shows those that there are",
        )
    return found


def _answer(found: PastAnswer) -> dict[str, Any]:
    resolution = found.resolved.resolution
    answer: dict[str, Any] = {"tags": list(found.resolved.tags)}
    if resolution.layers:
        answer["answer"] = overlay(resolution.layers)
    if resolution.brings:
        answer["with"] = {
            part.path: {"tags": list(part.tags), "answer": overlay(part.layers)} for part in resolution.brings
        }
    return answer


def _show(asked: Asked, shown: dict[str, Any], verb: str) -> None:
    console = Console()
    if verb == "explain":
        show_explanation(shown, console)
    elif not shown["found"]:
        console.print("Nothing was there.")
    elif asked.kind.file is not None and asked.kind.file.media_type != "application/json":
        text = asked.kind.file.write(shown["answer"]).decode()
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    else:
        console.print_json(json.dumps(shown["answer"]))
        for path in shown["brings"]:
            click.secho(f"with {path}", dim=True)
