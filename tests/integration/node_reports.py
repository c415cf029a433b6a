"""Nodes that have reported, commands that are run beside a test, and what became of them."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from click.testing import CliRunner, Result

from policyd.cli.main import policyd, status_of
from policyd.errors import PolicydError
from policyd.store.pool import Connection
from tests.integration.conftest import head

LONG_AGO = "now() - interval '1 day'"
Run = Callable[..., Coroutine[Any, Any, Result]]


def runs_against(dsn: str) -> Run:
    """Runs a command of policyd beside the test."""

    async def invoke(*arguments: str) -> Result:
        given = [*arguments, "--set", f"database.dsn={dsn}"]
        return await asyncio.to_thread(lambda: CliRunner().invoke(policyd, given))

    return invoke


def status(result: Result) -> int:
    return status_of(result.exception) if isinstance(result.exception, PolicydError) else result.exit_code


async def node(
    db: Connection, name: str, applied: str | None, *, seen: str = "now()", **columns: Any
) -> None:
    """Let a node have reported."""
    number, _, stamp = (applied or "").partition("-")
    await db.execute(
        "insert into policy.node (node_id, applied_number, applied_stamp, last_seen, counts, kumomta_version, last_error)"
        f" values ($1, $2, $3, {seen}, $4, $5, $6) on conflict (node_id) do update"
        " set applied_number = excluded.applied_number, applied_stamp = excluded.applied_stamp",
        name,
        int(number) if applied else None,
        stamp or None,
        json.dumps(columns.get("counts", {})),
        columns.get("version"),
        columns.get("error"),
    )


async def change(db: Connection, number: int = 1) -> str:
    """Commit something; the position of that."""
    await db.execute("insert into policy.listener_domain (domain) values ($1)", f"d{number}.example")
    return await head(db)
