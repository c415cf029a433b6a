"""`policyd nodes`: what each kumod last said of itself."""

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import click

from policyd.cli.configured import configured
from policyd.cli.connecting import person, run
from policyd.cli.showing import lasting, show_table
from policyd.config import Config
from policyd.config_loader import Loaded
from policyd.errors import DatabaseUnavailable, PolicydError
from policyd.operate.node_progress import readings
from policyd.policy.node import NodeState
from policyd.store.nodes import forget, read_states

_EVERY = 2.0
_CLEAR = "\x1b[H\x1b[2J"
_COLUMNS = (
    "node", "group", "state", "applied", "lag", "seen",
    "stale", "unknown", "refused", "kumomta", "client", "last error",
)  # fmt: skip


class _Listing(click.Group):
    """A group that lists, unless it is told something else."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_told = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if is_told else ["list", *args])


@click.group("nodes", cls=_Listing, short_help="What each kumod last said of itself.")
def nodes() -> None:
    """
    Show what each kumod last said of itself: policyd nodes [--watch] [--json].

    What it has applied, how its lookups went, and what went wrong last. A node that reported within ten minutes is live.
    Stale and unknown answers are counted since its kumod was started.
    """


@nodes.command("list")
@click.option("--watch", is_flag=True, help="Go on, every two seconds, until ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON, for other programs.")
@configured
def list_command(loaded: Loaded, *, watch: bool, as_json: bool) -> None:
    """List the nodes, which is what `policyd nodes` does without more."""
    run(_watch(loaded.config, as_json=as_json) if watch else _list(loaded.config, as_json=as_json))


@nodes.command("forget")
@click.argument("name")
@configured
def forget_command(loaded: Loaded, name: str) -> None:
    """Forget a node that is gone for good. One that lives is back with its next report, from whichever token."""

    async def work() -> bool:
        async with person(loaded.config, purpose="nodes") as connection:
            return await forget(connection, name)

    if not run(work()):
        raise PolicydError(f"there is no node {name}", hint="policyd nodes")
    click.echo(f"forgot {name}")


async def _list(config: Config, *, as_json: bool) -> None:
    async with person(config, purpose="nodes") as connection:
        _show(await read_states(connection), as_json=as_json)


async def _watch(config: Config, *, as_json: bool) -> None:
    connect = partial(person, config, purpose="nodes", statement_timeout=None)
    async with aclosing(readings(connect, read_states, every=_EVERY)) as all_readings:
        async for reading in all_readings:
            if isinstance(reading, DatabaseUnavailable):
                click.echo(f"policyd: {reading}", err=True)
                continue
            if sys.stdout.isatty() and not as_json:
                click.echo(_CLEAR, nl=False)
            _show(reading, as_json=as_json)


def _show(states: Sequence[NodeState], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([described(state) for state in states]))
    elif states:
        show_table(_COLUMNS, [_row(state) for state in states], unbroken=3)
    else:
        click.echo(
            "no node has reported yet; each does within seconds of its start, if its token has scope status"
        )


def described(state: NodeState) -> dict[str, Any]:
    """A node as JSON has it."""
    return {
        "node": state.node_id,
        "group": state.group,
        "token": state.token,
        "live": state.live,
        "applied": None if state.applied is None else str(state.applied),
        "of_this_history": state.is_ours,
        "revisions_behind": state.behind,
        "lag_seconds": 0.0 if state.waits_for is None else round(state.waits_for, 3),
        "first_seen": state.first_seen.isoformat(),
        "last_seen": state.last_seen.isoformat(),
        "answers": dict(state.counts),
        "kumomta_version": state.kumomta_version,
        "client_version": state.client_version,
        "last_error": state.error,
        "last_error_at": None if state.error_at is None else state.error_at.isoformat(),
    }


def lag(state: NodeState) -> str:
    """How far behind a node is, in words."""
    if state.waits_for is None:
        return "none"
    if state.applied is None:
        return f"nothing applied for {lasting(state.waits_for)}"
    if not state.is_ours:
        return f"another history for {lasting(state.waits_for)}"
    return f"{state.behind} revision{'' if state.behind == 1 else 's'}, {lasting(state.waits_for)}"


def _row(state: NodeState) -> tuple[object, ...]:
    # An error's age is told by how long the node has been known to have it, as of its last report.
    at = "" if state.error_at is None else f" ({state.error_at.isoformat(sep=' ', timespec='seconds')})"
    return (
        state.node_id,
        state.group,
        "live" if state.live else "silent",
        state.applied or "nothing",
        lag(state),
        f"{lasting(state.silent_for)} ago",
        *(state.counts.get(outcome, 0) for outcome in ("stale", "unknown", "refused")),
        state.kumomta_version,
        state.client_version,
        "" if state.error is None else f"{' '.join(state.error.split())}{at}",
    )
