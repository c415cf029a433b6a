"""`policyd import`: KumoMTA's own helper files into the database."""

from pathlib import Path

import click

from policyd.cli.connecting import person, run, whoever_this_is
from policyd.cli.file_options import Files, with_files
from policyd.cli.import_report import report_lines
from policyd.config_loader import Loaded
from policyd.operate.importing import ImportReport, import_rows
from policyd.operate.key_check import with_keys_checked


@click.command("import")
@with_files
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--keys",
    "key_directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the private keys of DKIM are, DIR/DOMAIN/SELECTOR.key: say which are missing or of no use.",
)
@click.option("--reason", metavar="TEXT", help="Why, for the history; by default the files' names.")
@click.option("--all", "everything", is_flag=True, help="Show every note and every row.")
def import_files(
    loaded: Loaded,
    files: Files,
    *,
    dry_run: bool,
    key_directory: Path | None,
    reason: str | None,
    everything: bool,
) -> None:
    """
    Import KumoMTA's helper files: listener_domains, sources, queues, dkim, shaping; and policyd_data.toml of policyd export.

    A PATH is a TOML file, a JSON file (comments allowed), or a directory of such files, which are taken by name. What a
    file is for is told by its content and name; where that is not enough, say KIND=PATH. Several files of a kind are
    merged in the order given, as KumoMTA merges them.

    Private keys are not imported, because none is ever in the database: rows name a key root and a name below it, and
    the service reads them where they are.

    Everything is imported in one transaction, or nothing, with all that is wrong said at once. Rows that are not in
    the files stay: policyd apply takes them away.
    """
    come_to = files.read(loaded.config, key_directory=key_directory)
    why = reason or f"import of {files}"

    if key_directory is not None:
        keys = loaded.config.keys
        come_to = run(with_keys_checked(come_to, key_directory.absolute(), keys))

    async def work() -> ImportReport:
        async with person(loaded.config, purpose="import") as connection:
            return await import_rows(
                connection, come_to, dry_run=dry_run, actor=whoever_this_is(), reason=why
            )

    for line in report_lines(run(work()), come_to, everything=everything):
        click.echo(line)
