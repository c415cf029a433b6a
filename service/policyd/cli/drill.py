"""`policyd drill`: an outage on purpose, for a while, to see what nodes do in one."""

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.showing import counted, lasting
from policyd.cli.waiting import duration, names_of
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import DatabaseUnavailable, PolicydError
from policyd.operate.drill_watch import Watched, choose, watch
from policyd.operate.node_progress import readings
from policyd.policy.drill import KINDS, LONGEST
from policyd.store.drills import DrillRow, begin_drill, end_drills
from policyd.store.nodes import read_states

NOT_PASSED = 7
_EVERY = 1.0
_BACK_WITHIN = 45.0
"""Seconds: nodes report twice a minute when nothing is the matter."""
Show = Callable[[Sequence[Watched]], None]


@click.command("drill", short_help="Let lookups fail on purpose, for a while, and watch what nodes do.")
@click.option("--outage", metavar="DURATION", help="How long, at most 1h: 30s, 5m.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(KINDS),
    help="Only lookups of this kind; repeatable. Default: everything that nodes ask.",
)
@click.option(
    "--node", "--nodes", "given", multiple=True, metavar="NAME,…", help="Only for these nodes; repeatable."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--end", "ends", is_flag=True, help="End the drills that are on, whoever started them.")
@configured
@click.pass_context
def drill(
    context: click.Context,
    loaded: Loaded,
    *,
    outage: str | None,
    kinds: tuple[str, ...],
    given: tuple[str, ...],
    yes: bool,
    ends: bool,
) -> None:
    """
    Make lookups fail at every replica, as if nobody answered, and show what nodes do: policyd drill --outage 5m

    It ends by itself, on ctrl-C, and, if this command is killed, when its time is over. Mail goes on with what nodes
    know; what they never asked for waits. Ends with status 0 when every node answered everything and is back, 7 when
    not, 130 on ctrl-C. Only members of policyd_owner may.
    """
    config = loaded.config
    if ends:
        run(_end_all(config))
        return
    if outage is None:
        raise click.UsageError("say how long: --outage 5m")
    seconds, names = duration(outage, option="--outage"), names_of(given)
    if not 1 <= seconds <= LONGEST:
        raise click.BadParameter("1s to 1h", param_hint="--outage")
    watched = run(_choose(config, names))
    if not yes:
        _ask(watched, kinds, names, seconds)
    context.exit(run(_conduct(config, watched, kinds=kinds, names=names, seconds=seconds)))


async def _end_all(config: Config) -> None:
    async with person(config, purpose="drill") as connection:
        ended = await end_drills(connection)
    click.echo(f"ended {', '.join(f'drill {number}' for number in ended)}" if ended else "no drill is on")


async def _choose(config: Config, names: Sequence[str]) -> list[Watched]:
    async with person(config, purpose="drill", statement_timeout=None) as connection:
        watched = choose(await read_states(connection), names)
    if not watched:
        raise PolicydError(
            "no node has reported within ten minutes: nothing would be seen", hint="policyd nodes"
        )
    return watched


def _ask(watched: Sequence[Watched], kinds: Sequence[str], names: Sequence[str], seconds: float) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody is there to ask: say --yes")
    click.confirm(
        f"For {lasting(seconds)}, {_what(kinds)} will fail for {_whom(watched, names)}. Go on?", abort=True
    )


def _what(kinds: Sequence[str]) -> str:
    return f"every lookup of {', '.join(kinds)}" if kinds else "everything that nodes ask"


def _whom(watched: Sequence[Watched], names: Sequence[str]) -> str:
    if names:
        return ", ".join(names)
    return f"whoever asks, {counted(len(watched), 'live node')} among them"


async def _conduct(
    config: Config, watched: list[Watched], *, kinds: Sequence[str], names: Sequence[str], seconds: float
) -> int:
    with _signals() as told:  # from before there is anything to be ended
        async with person(config, purpose="drill", statement_timeout=None) as connection:
            try:
                row = await begin_drill(connection, kinds=kinds or None, nodes=names or None, seconds=seconds)
            except DatabaseUnavailable as error:
                raise DatabaseUnavailable(
                    str(error), hint="it may have begun all the same: policyd drill --end ends it"
                ) from error
        click.echo(
            f"drill {row.number}: until {row.until.astimezone():%H:%M:%S}, {_what(kinds)} fails for"
            f" {_whom(watched, names)}; ctrl-C ends it"
        )
        follow = partial(_follow, config, watched)
        with _display() as show:
            interrupted = await _until(told, follow(show, ended_at=None, seconds=seconds))
            ended_at = time.monotonic()
            await _end(config, row)
            if not interrupted:
                click.echo("over; waiting until the nodes are back")
                interrupted = await _until(told, follow(show, ended_at=ended_at, seconds=_BACK_WITHIN))
    passed = _tell_verdict(watched, in_full=not interrupted)
    return 130 if interrupted else 0 if passed else NOT_PASSED


async def _follow(
    config: Config, watched: list[Watched], show: Show, *, ended_at: float | None, seconds: float
) -> None:
    """Keep *watched* up to date for so many seconds; after the end only until everybody is back."""
    connect = partial(person, config, purpose="drill", statement_timeout=None)
    over_at = time.monotonic() + seconds
    async with aclosing(readings(connect, read_states, every=_EVERY)) as all_readings:
        async for reading in all_readings:
            now = time.monotonic()
            if isinstance(reading, DatabaseUnavailable):
                click.echo(f"policyd: {reading}", err=True)
            else:
                states = {state.node_id: state for state in reading}
                ended_for = None if ended_at is None else now - ended_at
                watched[:] = [
                    watch(each, states.get(each.node, each.state), ended_for=ended_for) for each in watched
                ]
                show(watched)
            if now >= over_at or (
                ended_at is not None and all(each.back_after is not None for each in watched)
            ):
                return


@contextlib.contextmanager
def _signals() -> Iterator[asyncio.Event]:
    """Set when somebody wants an end of it: by ctrl-C, SIGTERM, or by closing the terminal."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    is_main = threading.current_thread() is threading.main_thread()  # signals reach no other
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if is_main else ()
    for number in signals:
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _until(told: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether *work* was given up because somebody told so."""
    doing, telling = asyncio.ensure_future(work), asyncio.ensure_future(told.wait())
    await asyncio.wait({doing, telling}, return_when=asyncio.FIRST_COMPLETED)
    for task in (doing, telling):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await doing
    return told.is_set()


async def _end(config: Config, row: DrillRow) -> None:
    try:
        async with person(config, purpose="drill", statement_timeout=None) as connection:
            await end_drills(connection, row.number)
    except DatabaseUnavailable as error:
        click.echo(
            f"policyd: {error}; the drill ends by itself at {row.until.astimezone():%H:%M:%S}", err=True
        )


@contextlib.contextmanager
def _display() -> Iterator[Show]:
    """Shows how it goes: as a table that changes where a person looks, else as a line for whoever changed."""
    if not sys.stdout.isatty():
        yield _lines()
        return
    with Live(console=Console(), auto_refresh=False) as live:
        yield lambda watched: live.update(_table(watched), refresh=True)


def _lines() -> Show:
    said: dict[str, str] = {}

    def show(watched: Sequence[Watched]) -> None:
        for each in watched:
            line = f"{each.node}: {each.refused} failed, {each.hits} hits, {each.stale} stale, {each.unknown} unknown"
            if each.reports and said.get(each.node) != line:
                click.echo(line)
                said[each.node] = line

    return show


def _table(watched: Sequence[Watched]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("node", "seen", "in touch", "failed", "hits", "stale", "unknown"):
        table.add_column(name)
    for each in watched:
        in_touch = "yes" if each.state.in_touch else "no"
        numbers = (each.refused, each.hits, each.stale, each.unknown)
        table.add_row(each.node, f"{lasting(each.state.silent_for)} ago", in_touch, *map(str, numbers))
    return table


def _tell_verdict(watched: Sequence[Watched], *, in_full: bool) -> bool:
    """Say of each node what it did; whether the drill was passed."""
    for each in watched:
        numbers = f"{each.stale} stale, {each.unknown} unknown"
        problem = each.problem if in_full or each.unknown or not each.reports else None
        noticed = "" if each.refused else ", and asked for nothing that failed"
        back = "" if each.back_after is None else f", back after {each.back_after:.0f} s"
        click.echo(f"{each.node}: {problem or f'answered everything{noticed}{back}'} ({numbers})")
    passed = not any(each.problem for each in watched) and any(each.refused for each in watched)
    if not in_full:
        click.echo("ended early: no verdict")
    elif passed:
        click.echo("passed: everything was answered from what the nodes know")
    elif any(each.problem for each in watched):
        click.echo("not passed")
    else:
        click.echo("not passed: no node asked for anything that failed, so nothing was seen")
    return passed
