"""`policyd doctor`: what is wrong with this installation, or about to be."""

import json
import sys
from dataclasses import asdict
from functools import partial

import aiohttp
import click

from policyd.cli.asking import why_not
from policyd.cli.configured import configured
from policyd.cli.connecting import person, run, with_example_keys
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.operate.doctor import examine
from policyd.operate.finding import Finding

_MARKS = {"ok": ("✓", "green"), "note": ("·", "blue"), "warning": ("!", "yellow"), "error": ("✗", "red")}
_TIMEOUT = aiohttp.ClientTimeout(total=5)


@click.command("doctor", short_help="Look for what is wrong, or about to be, and say what to do.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each finding, for other programs.")
@click.option(
    "--keys",
    "most_keys",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Private keys to look at, at most.",
)
@configured
@click.pass_context
def doctor(context: click.Context, loaded: Loaded, *, as_json: bool, most_keys: int) -> None:
    """
    Look for what is wrong with this installation, or about to be, and say what to do.

    The configuration, the service, PostgreSQL and the schema, tokens, nodes, Vault and private keys. Nothing is changed.
    Run it with the configuration that policyd serve has, as the user that it runs as. Ends with status 1 if something is
    wrong; warnings and notes do not count.
    """
    findings = run(_examine(loaded, most_keys=most_keys, as_json=as_json))
    context.exit(1 if any(finding.severity == "error" for finding in findings) else 0)


async def _examine(loaded: Loaded, *, most_keys: int, as_json: bool) -> list[Finding]:
    config = loaded.config
    if config.database.is_embedded:
        config = with_example_keys(loaded, config)
    # Where an embedded PostgreSQL would keep its files is nobody's setting.
    given = [origin for key, origin in loaded.origins.items() if key != "embedded.state"]
    where = sorted({origin.partition(",")[0] for origin in given})
    findings = [Finding("configuration", "ok", f"{len(given)} settings from {', '.join(where) or 'nowhere'}")]
    _show(findings[0], as_json=as_json)
    connect = partial(person, config, purpose="doctor", statement_timeout=None)
    findings.append(await _service(config))
    _show(findings[-1], as_json=as_json)
    async for finding in examine(config, connect, most_keys=most_keys):
        findings.append(finding)
        _show(finding, as_json=as_json)
    return findings


async def _service(config: Config) -> Finding:
    """Whether a service answers where this host would ask one."""
    url = config.client.admin_url.rstrip("/") + "/readyz"
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as response:
            ready = response.status
    except (aiohttp.ClientError, TimeoutError) as error:
        return Finding(
            "service",
            "warning",
            f"{url} does not answer: {why_not(error)}",
            "systemctl status policyd; client.admin_url says where it is: of policyd@1 it is http://127.0.0.1:9081",
        )
    if ready != 200:
        return Finding(
            "service", "error", f"{url} says that it cannot answer anything yet", "its log says why"
        )
    return Finding("service", "ok", f"{url} is ready")


def _show(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(finding)))
        return
    mark, colour = _MARKS[finding.severity]
    shown = click.style(mark, fg=colour, bold=True) if sys.stdout.isatty() else f"{mark} {finding.severity:7}"
    click.echo(f"{shown} {finding.area}: {finding.says}")
    if finding.next_step and finding.severity != "ok":
        click.echo(f"    next: {finding.next_step}")
