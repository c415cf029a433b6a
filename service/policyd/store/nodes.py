"""What nodes say of themselves."""

from collections.abc import Sequence

import asyncpg
import orjson

from policyd.errors import Forbidden
from policyd.policy.node import NodeReport, NodeState
from policyd.policy.position import Position
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


async def write_report(connection: Connection, report: NodeReport, token: str | None) -> None:
    """Keep *report*. Raises Forbidden when the name belongs to another token, or a thousand nodes are live."""
    applied = report.applied
    with translated():
        kept = await connection.fetchval(
            QUERIES["report_node"],
            report.node_id,
            report.group,
            token,
            report.kumomta_version,
            report.client_version,
            None if applied is None else applied.number,
            None if applied is None else applied.stamp,
            orjson.dumps(dict(report.counts)).decode(),
            report.error,
            report.in_touch,
        )
        if kept is not None:
            return
        owner = await connection.fetchrow(QUERIES["node_token"], report.node_id)
    raise Forbidden(
        token=token or "none",
        needed="fewer than 1000 live nodes"
        if owner is None
        else f"the token that node {report.node_id} reported with before ({owner['token'] or 'none'})",
    )


async def read_states(connection: Connection) -> list[NodeState]:
    """Every node that is known, by name."""
    with translated():
        return [_state(row) for row in await connection.fetch(QUERIES["node_states"])]


async def forget_silent(connection: Connection, seconds: float) -> Sequence[str]:
    """The names of those that had been silent for so long; they are forgotten now."""
    with translated():
        return [row["node_id"] for row in await connection.fetch(QUERIES["forget_nodes"], seconds)]


async def forget(connection: Connection, node_id: str) -> bool:
    """Whether there was such a node; now there is none."""
    with translated():
        return await connection.fetchval(QUERIES["forget_node"], node_id) is not None


def _state(row: asyncpg.Record) -> NodeState:
    number, stamp = row["applied_number"], row["applied_stamp"]
    return NodeState(
        node_id=row["node_id"],
        group=row["node_group"],
        token=row["token"],
        kumomta_version=row["kumomta_version"],
        client_version=row["client_version"],
        applied=None if number is None or stamp is None else Position(number, stamp),
        is_ours=row["is_ours"],
        behind=row["behind"],
        waits_for=row["waits_for"],
        live=row["live"],
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        silent_for=row["silent_for"],
        counts=_counts(row["counts"]),
        error=row["last_error"],
        error_at=row["last_error_at"],
        in_touch=row["in_touch"],
    )


def _counts(text: str) -> dict[str, int]:
    # Rows may be anybody's: what is no count is none.
    counts = orjson.loads(text)
    if not isinstance(counts, dict):
        return {}
    return {name: count for name, count in counts.items() if isinstance(count, int)}
