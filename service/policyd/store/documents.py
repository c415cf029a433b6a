"""Documents by tag, all kinds at once, with the position of the snapshot that they were read from."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from policyd.errors import DatabaseUnavailable
from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.policy.tags import kind_of
from policyd.store.migrate import refuse_breaking
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES

_HEAD_BRANCH, *_BRANCHES = QUERIES["documents"].split("\nunion all\n")
_BRANCH_OF: Final = {re.findall(r"policy\.(\w+)_document", branch)[0]: branch for branch in _BRANCHES}
KINDS: Final = tuple(_BRANCH_OF)
"""The kinds of documents that there are."""

EMPTY = "the log of policy is empty: this database is not restored yet"


async def read_documents(connection: Connection, tags: Iterable[str]) -> tuple[Position, Documents]:
    """
    The documents that exist among *tags* and the head of the log, in one statement and so in one snapshot.

    SchemaIncompatible where a newer policyd has changed what is read here into something else.
    """
    wanted: dict[str, list[str]] = {}
    for tag in tags:
        wanted.setdefault(kind_of(tag), []).append(tag)
    kinds = tuple(sorted(wanted))
    with translated():
        rows = await connection.fetch(_statement(kinds), *(wanted[kind] for kind in kinds))
    head = _head(rows)
    breaking = head["body"]
    refuse_breaking(None if breaking is None else int(breaking))
    return Position(head["number"], head["stamp"]), {
        row["tag"]: orjson.loads(row["body"]) for row in rows if row["tag"] is not None
    }


@lru_cache(maxsize=256)
def _statement(kinds: tuple[str, ...]) -> str:
    """The statement with the branches of *kinds* alone: empty ones take as long as reading what is wanted."""
    branches = [
        re.sub(r"\$\d+", f"${number}", _BRANCH_OF[kind]) for number, kind in enumerate(kinds, start=1)
    ]
    return "\nunion all\n".join([_HEAD_BRANCH, *branches])


async def read_names(
    connection: Connection, kind: str, *, after: str, limit: int
) -> tuple[Position, list[str]]:
    """At most *limit* tags of *kind*'s documents that come after the tag *after*, in a stable order, and the head."""
    with translated():
        rows = await connection.fetch(QUERIES["names"], kind, after, limit)
    head = _head(rows)
    refuse_breaking(head["breaking"])
    return Position(head["number"], head["stamp"]), [row["tag"] for row in rows if row["tag"] is not None]


def _head(rows: Sequence[Any]) -> Any:
    head = next((row for row in rows if row["tag"] is None), None)
    if head is None:
        raise DatabaseUnavailable(EMPTY, trouble="starting")
    return head
