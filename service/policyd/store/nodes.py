"""What nodes say of themselves."""

import orjson

from policyd.errors import Forbidden
from policyd.policy.node import NodeReport
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


async def write_report(connection: Connection, report: NodeReport, token: str | None) -> None:
    """Keep *report*. Raises Forbidden when the name belongs to another token, or a thousand nodes are known."""
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
        )
    if kept is None:
        raise Forbidden(
            token=token or "none",
            needed=f"the token that node {report.node_id} reported with before, or fewer nodes",
        )
