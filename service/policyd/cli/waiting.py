"""`policyd wait`: until every node lives by a revision."""

import time
from contextlib import aclosing
from functools import partial

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.nodes import lag
from policyd.cli.showing import lasting
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import DatabaseUnavailable
from policyd.operate.node_progress import Progress, find_revision, progress, readings
from policyd.policy.node import NodeState
from policyd.policy.position import Position
from policyd.store.nodes import read_states
from policyd.store.pool import Connection
from policyd.units import Seconds, parse_duration

NOBODY, NOT_YET = 5, 6
_EVERY = 0.25


@click.command("wait", short_help="Wait until every live node has applied a revision.")
@click.argument("revision", required=False)
@click.option(
    "--nodes",
    "--node",
    "given",
    multiple=True,
    metavar="NAME,…",
    help="These, live or not, instead of all live ones; repeatable.",
)
@click.option("--timeout", default="60s", show_default=True, help="How long to wait at most; 0 only looks.")
@configured
@click.pass_context
def wait(
    context: click.Context, loaded: Loaded, *, revision: str | None, given: tuple[str, ...], timeout: str
) -> None:
    """
    Wait until every live node has applied REVISION, a number or a position like 105-3f9a12bc; by default the newest.

    A node is live if it reported within ten minutes. Ends with status 0 when all have it, 6 when the time ran out before,
    5 when there is no live node, 1 when there is no such revision, 3 when PostgreSQL does not answer.
    """
    names = names_of(given)
    seconds = duration(timeout, option="--timeout")
    context.exit(run(_wait(loaded.config, revision, names, seconds)))


def names_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an option that may be repeated, and holds several between commas."""
    return tuple(dict.fromkeys(name for each in given for name in each.replace(",", " ").split()))


def duration(written: str, *, option: str) -> Seconds:
    """The duration that an option gives."""
    try:
        return parse_duration(written)
    except ValueError as error:
        raise click.BadParameter(f"{written!r} {error}", param_hint=option) from None


async def _wait(config: Config, written: str | None, names: tuple[str, ...], seconds: float) -> int:
    connect = partial(person, config, purpose="wait", statement_timeout=None)
    revision: Position | None = None

    async def read(connection: Connection) -> Progress:
        nonlocal revision
        # Again each time: a database that is restored meanwhile may not hold it any more.
        revision = await find_revision(connection, written if revision is None else str(revision))
        return progress(await read_states(connection), revision, names)

    began = time.monotonic()
    told: set[str] | None = None
    found: Progress | None = None
    lost: DatabaseUnavailable | None = None
    async with aclosing(readings(connect, read, every=_EVERY)) as all_readings:
        async for reading in all_readings:
            waited = time.monotonic() - began
            if not isinstance(reading, DatabaseUnavailable):
                found, lost = reading, None
                if found.is_nobody:
                    click.echo(f"no node has reported within ten minutes: nobody to wait for at {revision}")
                    return NOBODY
                told = _tell(found, told, revision, waited)
                if found.is_complete:
                    return 0
            elif found is None:
                raise reading
            else:
                if lost is None:
                    click.echo(f"policyd: {reading}; waiting for PostgreSQL too", err=True)
                lost = reading
            if waited >= seconds:
                break
    if lost is not None:
        raise lost
    for each in () if found is None else _missing(found):
        click.echo(f"not within {seconds:g} s: {each}", err=True)
    return NOT_YET


def _tell(found: Progress, told: set[str] | None, revision: Position | None, waited: float) -> set[str]:
    """Say who is waited for, first, and then who has arrived since it was said last; who is said to have it."""
    there = {state.node_id for state in found.there}
    if told is None:
        for state in found.left_out:
            click.echo(f"not waiting for {state.node_id}: silent for {lasting(state.silent_for)}")
        if not found.is_complete:
            click.echo(f"waiting for {revision}: {'; '.join(_missing(found))}")
    else:
        for name in sorted(there - told):
            click.echo(f"{name} has it, after {waited:.1f} s")
    if found.is_complete:
        click.echo(f"{revision} is applied by {', '.join(sorted(there))}")
    return there | (told or set())


def _missing(found: Progress) -> list[str]:
    return [
        *(_where(state) for state in found.missing),
        *(f"{name} (has never reported)" for name in found.unheard),
    ]


def _where(state: NodeState) -> str:
    seen = f"seen {lasting(state.silent_for)} ago"
    if not state.is_ours:
        return f"{state.node_id} ({lag(state)}, {seen})"
    return f"{state.node_id} (at {state.applied}, {seen})"
