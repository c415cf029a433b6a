"""`policyd validate`: what is wrong with the policy as a whole."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.showing import counted
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.operate.finding import Severity
from policyd.operate.policy_checks import CHECKS
from policyd.operate.validating import Verdict, validate

_MANY = 10
_EVERYTHING = 1_000_000
_COLOURS: Mapping[Severity, str] = {"error": "red", "warning": "yellow", "note": "blue", "ok": "green"}


@click.command("validate", short_help="Look for what is wrong with the policy as a whole.")
@click.option("--strict", is_flag=True, help="Warnings end with status 1, too.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each finding, for other programs.")
@click.option(
    "--kumod",
    metavar="PATH",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Let the constructors of this kumod judge every document, too.",
)
@click.option(
    "--check",
    "only",
    metavar="NAME",
    multiple=True,
    type=click.Choice([check.name for check in CHECKS]),
    help="Only this check; repeatable.",
)
@click.option("--all", "everything", is_flag=True, help="Show every finding, not the first ten of a check.")
@configured
@click.pass_context
def validate_command(
    context: click.Context,
    loaded: Loaded,
    *,
    strict: bool,
    as_json: bool,
    kumod: Path | None,
    only: Sequence[str],
    everything: bool,
) -> None:
    """
    Look for what no table can check by itself, and say what it means and what to do.

    Pools that nothing can be sent from, tenants that nothing names, wildcards that are hidden, limits that contradict,
    providers that match nothing, signatures out of their time, and more; docs/validate.md lists it all. Changes nothing.

    Ends with status 1 if there is an error, with --strict for a warning, too; notes do not count.
    """
    most = _EVERYTHING if everything or as_json else _MANY
    verdicts = run(_verdicts(loaded.config, most, kumod, only))
    seen = Counter(finding.severity for verdict in verdicts for finding in verdict.findings)
    for verdict in verdicts:
        for line in _json_lines(verdict) if as_json else _lines(verdict):
            click.echo(line)
    if not as_json:
        click.echo(_summary(verdicts))
    context.exit(1 if seen["error"] or (strict and seen["warning"]) else 0)


async def _verdicts(config: Config, most: int, kumod: Path | None, only: Sequence[str]) -> list[Verdict]:
    async with person(config, purpose="validate") as connection:
        return [verdict async for verdict in validate(connection, most=most, kumod=kumod, only=only)]


def _json_lines(verdict: Verdict) -> Iterator[str]:
    if verdict.count is None:
        said = {"severity": "note", "check": verdict.check.name, "says": _not_looked_at(verdict)}
        yield json.dumps(said, ensure_ascii=False)
    for finding in verdict.findings:
        yield json.dumps(finding.as_json(), ensure_ascii=False)


def _lines(verdict: Verdict) -> Iterator[str]:
    check = verdict.check
    if verdict.count is None:
        yield f"{_mark('note')} {check.name}: {_not_looked_at(verdict)}"
        yield ""
    if not verdict.findings:
        return
    yield f"{_mark(verdict.findings[0].severity)} {check.name}: {check.means}"
    for finding in verdict.findings:
        milder = "" if finding.severity == verdict.findings[0].severity else f" ({finding.severity})"
        yield f"    {finding.document}: {finding.says}{milder}"
    if verdict.count is not None and verdict.count > len(verdict.findings):
        yield f"    … and {verdict.count - len(verdict.findings)} more (--all)"
    yield f"  next: {check.next_step}"
    yield ""


def _not_looked_at(verdict: Verdict) -> str:
    how_much = "not all of it looked at" if verdict.findings else "not looked at"
    return f"{how_much}, because this role may not read what it takes"


def _mark(severity: Severity) -> str:
    return click.style(severity, fg=_COLOURS[severity], bold=True) if sys.stdout.isatty() else severity


def _summary(verdicts: list[Verdict]) -> str:
    found: Counter[Severity] = Counter()
    for verdict in verdicts:
        found.update(finding.severity for finding in verdict.findings)
        if verdict.findings and verdict.count is not None:
            found[verdict.findings[-1].severity] += verdict.count - len(verdict.findings)
    said = [counted(found[each], each) for each in ("error", "warning", "note") if found[each]]
    return f"{', '.join(said)}." if said else "Nothing to say against this policy."
