"""Documents by tag, all kinds at once, with the position of the snapshot that they were read from."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from policyd.errors import DatabaseUnavailable
from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.policy.tags import kind_of
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES

KINDS = ("listener_domain", "egress_source", "egress_pool", "tenant", "queue_settings", "queue", "api_token", "shaping",
         "webhook", "smtp_credential", "dkim_settings", "dkim_domain", "dkim_signature", "dkim_key")  # fmt: skip
"""The kinds of documents, in the order of the query's parameters."""

EMPTY = "the log of policy is empty: this database is not restored yet"


async def read_documents(connection: Connection, tags: Iterable[str]) -> tuple[Position, Documents]:
    """The documents that exist among *tags* and the head of the log, in one statement and so in one snapshot."""
    wanted: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for tag in tags:
        wanted[kind_of(tag)].append(tag)
    with translated():
        rows = await connection.fetch(QUERIES["documents"], *wanted.values())
    return _head(rows), {row["tag"]: orjson.loads(row["body"]) for row in rows if row["tag"] is not None}


async def read_names(
    connection: Connection, kind: str, *, after: str, limit: int
) -> tuple[Position, list[str]]:
    """At most *limit* tags of *kind*'s documents that come after the tag *after*, in a stable order, and the head."""
    with translated():
        rows = await connection.fetch(QUERIES["names"], kind, after, limit)
    return _head(rows), [row["tag"] for row in rows if row["tag"] is not None]


def _head(rows: Sequence[Any]) -> Position:
    head = next((row for row in rows if row["tag"] is None), None)
    if head is None:
        raise DatabaseUnavailable(EMPTY)
    return Position(head["number"], head["stamp"])
