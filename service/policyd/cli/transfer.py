"""`policyd import`: KumoMTA's own helper files into the database."""

from collections.abc import Sequence
from pathlib import Path

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run, whoever_this_is
from policyd.cli.import_report import report_lines
from policyd.config_loader import Loaded
from policyd.operate.helper_files import read_paths
from policyd.operate.importing import ImportReport, import_rows
from policyd.operate.key_check import with_keys_checked


@click.command("import")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--node-group",
    metavar="NAME",
    help="Sources and pools as this group of nodes has them, not as all nodes do.",
)
@click.option(
    "--listener-name",
    "listener_names",
    metavar="IP:PORT=NAME",
    multiple=True,
    help="Call a listener of the files by the name in its meta (policyd_listener).",
)
@click.option(
    "--no-default-files",
    is_flag=True,
    help="Nodes do not load KumoMTA's own shaping file: import what these files have in common with it.",
)
@click.option(
    "--keys",
    "key_directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the private keys of DKIM are, DIR/DOMAIN/SELECTOR.key: say which are missing or of no use.",
)
@click.option("--reason", metavar="TEXT", help="Why, for the history; by default the files' names.")
@click.option("--all", "everything", is_flag=True, help="Show every note and every row.")
@configured
def import_files(
    loaded: Loaded,
    *,
    paths: Sequence[str],
    dry_run: bool,
    node_group: str | None,
    listener_names: Sequence[str],
    no_default_files: bool,
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
    the files stay.
    """
    come_to = read_paths(
        paths,
        node_group=node_group,
        listener_names=_pairs(listener_names),
        packaged_shaping=not no_default_files,
        key_directory=None if key_directory is None else str(key_directory.absolute()),
        key_roots=loaded.config.keys,
    )
    why = reason or f"import of {', '.join(paths)}"

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


def _pairs(written: Sequence[str]) -> dict[str, str]:
    pairs = [each.rpartition("=") for each in written]
    if any(not address or not name for address, _, name in pairs):
        raise click.BadParameter("write IP:PORT=NAME", param_hint="--listener-name")
    return {address: name for address, _, name in pairs}
