"""`policyd revert`: a mistake taken back."""

import json

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.database import show_notice
from policyd.cli.history import told_lines
from policyd.config_loader import Loaded
from policyd.operate.history import Told
from policyd.operate.reverting import Stretch, find_stretch
from policyd.operate.reverting import revert as take_back
from policyd.store.notices import notices_of

_ROWS_SHOWN = 200


@click.command("revert", short_help="Take a revision back, or several, in one new one.")
@click.argument("revision", metavar="REVISION[..LAST]")
@click.option("--to", "last", metavar="LAST", help="All from REVISION to this one.")
@click.option("--reason", metavar="TEXT", help="Why, for the history; a mass change needs one.")
@click.option("--force", is_flag=True, help="Overwrite what changed since, and name it.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@configured
def revert(
    loaded: Loaded,
    *,
    revision: str,
    last: str | None,
    reason: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Take REVISION back, in one new revision: rows become what they were before it. 105..110 takes back all of these.

    Refused, with a list, where rows changed since, or where what they need is gone. With --force, what changed since is
    overwritten, and what cannot come back is left as it is; both are named. A revert can be reverted, too.

    Tokens and credentials: those that were made go. Nobody who was put out is let in again, not even with --force.
    """
    first, dots, after = revision.partition("..")
    if dots and last is not None:
        raise click.UsageError("say 105..110, or --to 110, not both")
    ends = after if dots else last

    async def work() -> tuple[Stretch, Told | None]:
        async with person(loaded.config, purpose="revert") as connection:
            stretch = await find_stretch(connection, first, ends)
            async with notices_of(connection, show_notice):
                return stretch, await take_back(
                    connection, stretch, reason=reason, force=force, dry_run=dry_run, most_rows=_ROWS_SHOWN
                )

    stretch, told = run(work())
    if as_json:
        done = None if told is None or dry_run else told.revision.position.number
        found = [] if told is None else told.as_json()["documents"]
        click.echo(json.dumps({"revision": done, "documents": found}, ensure_ascii=False))
        return
    if told is None:
        click.echo("Nothing would change." if dry_run else "Nothing changed.")
        return
    for line in told_lines(told, at_most=20):
        click.echo(line)
    number = told.revision.position.number
    click.echo("Dry run: nothing was changed." if dry_run else f"Took back {stretch} as revision {number}.")
