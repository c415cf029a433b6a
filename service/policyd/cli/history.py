"""`policyd history` and `policyd show`: who changed what, when and why."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.difference_report import document_lines
from policyd.cli.showing import counted, lasting
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import PolicydError
from policyd.operate.history import Told, read_history, read_one
from policyd.operate.node_progress import find_revision
from policyd.store.retention import Pruned, prune_some
from policyd.store.revisions import MOST_COUNTED, Revision
from policyd.units import Seconds, parse_duration, parse_time, render_duration

_ROWS_EACH = 5
_ROWS_SHOWN = 1_000
_ALL = 2**31 - 1
_BATCH = 10_000


class _Listing(click.Group):
    """A group that lists, unless it is told something else: what comes first is mostly the name of a document."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_told = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_told else ["list", *args])


@click.group("history", cls=_Listing, short_help="Who changed what, when and why.")
def history() -> None:
    """
    Show who changed what, when and why: policyd history [KIND/KEY] [--since 2h] [--actor olga] [--limit 50] [--json].

    KIND/KEY is a document and all below it: queue/gmail.com, egress_pool/bulk, tenant/acme, shaping. Newest first; policyd
    show tells the whole of one revision, policyd revert takes one back.
    """


@history.command("list")
@click.argument("name", metavar="[KIND/KEY]", required=False)
@click.option("--since", metavar="TIME", help="From then on: 2h, yesterday, 14:30, 2026-08-05.")
@click.option("--actor", metavar="NAME", help="Only of this person, or this role.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Revisions at most.")
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@configured
def list_command(
    loaded: Loaded, *, name: str | None, since: str | None, actor: str | None, limit: int, as_json: bool
) -> None:
    """List revisions, which is what `policyd history` does without more."""
    begins = None if since is None else when(since, option="--since")

    async def work() -> list[Told]:
        async with person(loaded.config, purpose="history") as connection:
            return await read_history(
                connection, name=name, since=begins, actor=actor, limit=limit, most_rows=_ROWS_EACH
            )

    found = run(work())
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], ensure_ascii=False))
        return
    for each in found:
        click.echo(heading(each.revision))
        for line in told_lines(each, at_most=_ROWS_EACH):
            click.echo(line)
    if not found:
        click.echo("no revision", err=True)
    elif len(found) == limit:
        click.echo(f"(the newest {limit}; --limit shows more)", err=True)


@click.command("show")
@click.argument("revision")
@click.option("--all", "everything", is_flag=True, help="Every row of it, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@configured
def show(loaded: Loaded, *, revision: str, everything: bool, as_json: bool) -> None:
    """Show what REVISION changed, by whom and why: a number, a position like 105-3f9a12bc, or last."""
    most = _ALL if everything else _ROWS_SHOWN

    async def work() -> Told:
        async with person(loaded.config, purpose="show") as connection:
            position = await find_revision(connection, revision)
            return await read_one(connection, position.number, most_rows=most)

    told = run(work())
    if as_json:
        click.echo(json.dumps(told.as_json(), ensure_ascii=False))
        return
    click.echo(heading(told.revision))
    for line in told_lines(told, at_most=None):
        click.echo(line)


@history.command("prune")
@click.option("--keep", metavar="DURATION", help="Keep what is younger; by default history.keep.")
@configured
def prune(loaded: Loaded, *, keep: str | None) -> None:
    """
    Delete what the log says of revisions older than history.keep. Revisions themselves stay, with actor and reason.

    The service does this by itself, every hour. What is gone cannot be shown, reverted or asked for any more; a node
    that was away for longer asks for everything anew.
    """
    seconds = loaded.config.history.keep if keep is None else duration(keep)
    if seconds is None:
        raise click.UsageError("history.keep is not set: say how long to keep what changed, --keep 400d")
    pruned = run(_prune(loaded.config, seconds))
    click.echo(
        f"deleted {counted(pruned.rows, 'row')} older than {render_duration(seconds)};"
        f" what changed after revision {pruned.revision} is kept"
    )


async def _prune(config: Config, keep: float) -> Pruned:
    rows = 0
    async with person(config, purpose="prune") as connection:
        while True:
            some = await prune_some(connection, keep=keep, most=_BATCH)
            if some is None:
                raise PolicydError("somebody else is pruning the log at the moment", hint="try again later")
            rows += some.rows
            if some.rows < _BATCH:
                return Pruned(revision=some.revision, rows=rows)


def when(written: str, *, option: str) -> datetime:
    """The time that an option gives."""
    try:
        return parse_time(written, now=datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(f"{written!r} {error}", param_hint=option) from None


def duration(written: str) -> Seconds:
    """The duration that --keep gives: a day at least."""
    try:
        seconds = parse_duration(written)
    except ValueError as error:
        raise click.BadParameter(f"{written!r} {error}", param_hint="--keep") from None
    if seconds < 86_400:
        raise click.BadParameter("the log is kept for a day at least", param_hint="--keep")
    return seconds


def heading(revision: Revision) -> str:
    """A revision in a line: number, time, and who."""
    local = revision.at.astimezone().isoformat(sep=" ", timespec="seconds")
    ago = lasting(time.time() - revision.at.timestamp())
    number = click.style(f"revision {revision.position}", fg="yellow", bold=True)
    return f"{number}, {local} ({ago} ago), by {who(revision)}"


def who(revision: Revision) -> str:
    """Whose a revision is: who was said to act, and who logged in."""
    claimed = revision.claimed_actor
    if claimed is None or claimed == revision.actor:
        return plain(revision.actor)
    return f"{plain(claimed)} (logged in as {plain(revision.actor)})"


def told_lines(told: Told, *, at_most: int | None) -> Iterator[str]:
    """What a revision is about: its reason, and its documents with the fields that changed."""
    if told.revision.reason:
        yield f"  {plain(told.revision.reason)}"
    for kind in told.floors:
        yield f"  {click.style(f'! all of {kind}', fg='magenta')} was said to have changed unseen by the log"
    for document in told.documents:
        for line in document_lines(document, at_most=at_most):
            yield f"  {line}"
    if told.rows > told.shown:
        more = "more than 10,000" if told.rows >= MOST_COUNTED else f"{told.rows - told.shown}"
        number = told.revision.position.number
        yield f"  … and {more} more rows (policyd show {number}{'' if at_most else ' --all'})"
    if told.is_pruned and not told.rows:
        yield "  (what it changed is not in the log any more: it was pruned)"
    yield ""


def plain(text: str) -> str:
    """Text from somebody else, without what a terminal would take for a command."""
    return "".join(each if each.isprintable() else " " for each in text)
