"""`policyd export`: the database's policy as KumoMTA's own helper files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.import_report import cut_lines, note_lines
from policyd.cli.showing import counted
from policyd.config_loader import Loaded
from policyd.operate.exporting import Reading, read_policy, write_directory

_MANY = 20


@click.command("export")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Replace files of the same names in DIR; others stay.")
@click.option("--all", "everything", is_flag=True, help="Show every note.")
@configured
def export(loaded: Loaded, *, directory: Path, force: bool, everything: bool) -> None:
    """
    Write the policy as files: KumoMTA's own, and policyd_data.toml for what these have no words for.

    Importing them again changes nothing, and the same policy always makes the same files, so that they can be kept in a
    git repository: see policyd diff and policyd apply. Secrets, private keys and hashes are never in them.
    """

    async def work() -> Reading:
        async with person(loaded.config, purpose="export") as connection:
            return await read_policy(connection, loaded.config.keys)

    reading = run(work())
    write_directory(directory, reading.exported.files, force=force)
    for line in report_lines(reading, at_most=None if everything else _MANY):
        click.echo(line)
    click.echo(
        f"Wrote {counted(len(reading.exported.files), 'file')} to {directory}, as of {reading.position}."
    )


def report_lines(reading: Reading, *, at_most: int | None) -> Iterator[str]:
    """What the files do not say, and what KumoMTA makes of them otherwise than policyd."""
    exported, come_to = reading.exported, reading.exported.come_to
    if come_to.problems:
        yield from _section(
            "Importing these files would say (they hold what a file cannot, or this is a mistake of policyd)",
            [str(problem) for problem in come_to.problems],
            at_most,
        )
    yield from _section("Rows that come back from the files as others, or not at all", exported.lost, at_most)
    yield from note_lines([note for note in come_to.notes if note.topic == "trie"], at_most)
    if come_to.host_address is not None:
        heading = "Mail that KumoMTA sends from the host's own address, whatever policyd_data.toml says"
        yield from _section(heading, come_to.host_address.details, at_most)
    yield from _section(
        "Secrets that are asked for by name (event policyd.secret), which policyd:setup on each node gives",
        exported.secrets,
        at_most,
    )
    dkim = exported.dkim
    if dkim.elsewhere is not None:
        yield from _section(
            "Private keys that KumoMTA looks for in /opt/kumomta/etc/dkim, and policyd elsewhere",
            [dkim.elsewhere],
            at_most,
        )
    yield from _section("Signers whose key only policyd_data.toml can place", dkim.unplaced, at_most)
    yield from _section("Signers whose times KumoMTA does not obey", dkim.timed, at_most)
    yield from _section("Tenants in the default queue, which no file can have", exported.in_default, at_most)
    if exported.repeats_kumomta:
        yield "Shaping repeats rules of KumoMTA's own file: policyd_data.toml says no_default_files."
        yield ""
    hashes = [
        counted(number, noun)
        for number, noun in ((reading.credentials, "credential"), (reading.tokens, "token"))
        if number
    ]
    if hashes:
        yield f"Not exported, because they hold hashes: {' and '.join(hashes)}."


def _section(heading: str, lines: Sequence[str], at_most: int | None) -> Iterator[str]:
    if lines:
        yield from (heading, *cut_lines(lines, at_most), "")
