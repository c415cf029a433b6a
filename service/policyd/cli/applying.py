"""`policyd diff` and `policyd apply`: files that say what the policy is, such as those of a git repository."""

import json
from typing import Any

import click

from policyd.cli.connecting import person, run, whoever_this_is
from policyd.cli.difference_report import difference_lines
from policyd.cli.file_options import Files, with_files
from policyd.cli.import_report import note_lines
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import Conflict
from policyd.operate.importing import Absent, ImportReport, import_rows

DIFFERENT = 5
_MANY = 20
_GUARD = "mass_changes_need_a_reason"


@click.command()
@with_files
@click.option("--files-only", is_flag=True, help="Say nothing of what is in the database alone.")
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@click.option("--all", "everything", is_flag=True, help="Show every field and every note.")
@click.pass_context
def diff(
    context: click.Context,
    loaded: Loaded,
    files: Files,
    *,
    files_only: bool,
    as_json: bool,
    everything: bool,
) -> None:
    """
    Show in what the database differs from files, by document and field, and whom that touches.

    The database is to become what the files say: + is in the files alone, - in the database alone, ~ is different. A kind
    of which there is no file is not compared. Changes nothing, and reads the files as policyd import does.

    Ends with status 0 when nothing differs, 5 when something does, 1 when the files cannot be taken.
    """
    absent: Absent = "stay" if files_only or files.node_group is not None else "tell"
    report = _work(loaded.config, files, dry_run=True, absent=absent, reason=None)
    _show(report, as_json=as_json, everything=everything, pruned=False)
    context.exit(DIFFERENT if report.differences else 0)


@click.command()
@with_files
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option(
    "--prune", is_flag=True, help="Delete what is not in the files, of the kinds that there are files of."
)
@click.option(
    "--reason",
    metavar="TEXT",
    help="Why, for the history. Without it, a change of more than 100 rows and a tenth of a table is refused.",
)
@click.option("--json", "as_json", is_flag=True, help="For other programs.")
@click.option("--all", "everything", is_flag=True, help="Show every field and every note.")
def apply(
    loaded: Loaded,
    files: Files,
    *,
    dry_run: bool,
    prune: bool,
    reason: str | None,
    as_json: bool,
    everything: bool,
) -> None:
    """
    Make the policy what files say, in one transaction and as one revision; doing it again changes nothing.

    Files are read as policyd import reads them, policyd_data.toml among them. Credentials and tokens are never touched.
    With --prune, what is not in the files goes: listener domains, if there is a file of them, and so on; never what no
    file can say.
    """
    if prune and files.node_group is not None:
        raise click.BadParameter(
            "of one group's files nobody can tell what the others have", param_hint="--prune"
        )
    report = _work(loaded.config, files, dry_run=dry_run, absent="delete" if prune else "stay", reason=reason)
    _show(report, as_json=as_json, everything=everything, pruned=prune)
    if not as_json:
        click.echo(_outcome(report))


def _work(config: Config, files: Files, *, dry_run: bool, absent: Absent, reason: str | None) -> ImportReport:
    come_to = files.read(config)

    async def work() -> ImportReport:
        async with person(config, purpose="apply") as connection:
            return await import_rows(
                connection,
                come_to,
                dry_run=dry_run,
                actor=whoever_this_is(),
                reason=reason or f"apply of {files}",
                absent=absent,
                # Whoever only looks is to see everything.
                many=dry_run or reason is not None,
                with_reach=True,
            )

    try:
        return run(work())
    except Conflict as error:
        if error.constraint != _GUARD:
            raise
        raise Conflict(
            error.constraint,
            str(error),
            hint="if that is meant, say why: --reason TEXT; policyd diff shows it",
        ) from error


def _show(report: ImportReport, *, as_json: bool, everything: bool, pruned: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_json(report), ensure_ascii=False))
        return
    for line in difference_lines(report, at_most=None if everything else _MANY, pruned=pruned):
        click.echo(line)
    if everything:
        for line in note_lines(report.notes, None):
            click.echo(line)
    for warning in report.warnings:
        click.echo(f"WARNING: {warning}", err=True)


def _as_json(report: ImportReport) -> dict[str, Any]:
    reach = report.reach
    return {
        "revision": None if report.dry_run else report.revision,
        "differences": [each.as_json() for each in report.differences],
        "touches": None
        if reach is None
        else {"domains": reach.domains, "tenants": reach.tenants, "everybody": list(reach.everybody)},
        "warnings": list(report.warnings),
    }


def _outcome(report: ImportReport) -> str:
    if report.revision is None:
        return "Nothing would change." if report.dry_run else "Nothing changed."
    return "Dry run: nothing was changed." if report.dry_run else f"Applied as revision {report.revision}."
