"""What a node says of itself: observed, not policy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from policyd.errors import LookupInvalid
from policyd.policy.position import Position

_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME = "1 to 64 letters, digits, dots, underscores and hyphens"
_LONGEST_NAME = _LONGEST_VERSION = 64
_LONGEST_ERROR = 1_000
_MOST_COUNTS = 100
OUTCOMES = ("fetched", "stored", "stale", "unknown", "refused")
"""What a node counts: answers from the service, from its own store, old ones for want of a newer, none, and unusable ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """A node's status: what it has applied, what it runs, and how its lookups went."""

    node_id: str
    applied: Position | None
    group: str | None
    kumomta_version: str | None
    client_version: str | None
    counts: Mapping[str, int]
    error: str | None
    in_touch: bool
    """Whether it learns what changes; one that does not can hardly say so, save in a drill."""

    @classmethod
    def parse(cls, node_id: str, body: Any) -> "NodeReport":
        """
        The report in a request's JSON *body*; LookupInvalid names what is wrong.

        What is not known here is left out: in an upgrade, newer clients say more to services that are older than they.
        """
        if not _NODE_ID.fullmatch(node_id):
            raise _invalid("id", f"is {node_id[:80]!r}", _NAME)
        if not isinstance(body, dict):
            raise _invalid("body", "is not an object", "a JSON object")
        return cls(
            node_id=node_id,
            applied=_position(body.get("applied")),
            group=_group(body.get("group")),
            kumomta_version=_text(body, "kumomta_version", _LONGEST_VERSION),
            client_version=_text(body, "client_version", _LONGEST_VERSION),
            counts=_counts(body.get("counts", {})),
            error=_text(body, "error", _LONGEST_ERROR),
            in_touch=_truth(body.get("in_touch", True)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """What a node said last, held against the log. Durations are in seconds, by the database's clock."""

    node_id: str
    group: str | None
    token: str | None
    kumomta_version: str | None
    client_version: str | None
    applied: Position | None
    is_ours: bool
    """Whether *applied* is a position of this log."""
    behind: int | None
    """How many revisions it has yet to apply; None where that cannot be told."""
    waits_for: float | None
    """For how long there has been something that it has not applied; None: it has everything."""
    live: bool
    first_seen: datetime
    last_seen: datetime
    silent_for: float
    counts: Mapping[str, int]
    error: str | None
    error_at: datetime | None
    in_touch: bool

    def has(self, number: int) -> bool:
        """Whether it has applied revision *number* of this log."""
        return self.is_ours and self.applied is not None and self.applied.number >= number


def _position(written: Any) -> Position | None:
    if written is None:
        return None
    try:
        return Position.parse(written if isinstance(written, str) else "")
    except ValueError as error:
        raise _invalid("applied", "cannot be read", str(error)) from None


def _group(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _NODE_ID.fullmatch(value)):
        raise _invalid("group", "is not the name of a node group", _NAME)
    return value


def _text(body: Mapping[str, Any], key: str, longest: int) -> str | None:
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise _invalid(key, "is not such a text", f"text of at most {longest} characters without NUL")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid("in_touch", "is neither true nor false", "true or false")
    return value


def _counts(value: Any) -> Mapping[str, int]:
    allowed = f"an object of at most {_MOST_COUNTS} non-negative whole numbers"
    if not isinstance(value, dict) or len(value) > _MOST_COUNTS:
        raise _invalid("counts", "cannot be read", allowed)
    counts = {}
    for name, count in value.items():
        # Lua's arithmetic makes 3.0 of a count, and JSON knows no difference.
        whole = isinstance(count, int) or (isinstance(count, float) and count.is_integer())
        if not whole or isinstance(count, bool) or not 0 <= count < 2**63:
            raise _invalid("counts", f"holds {name[:64]!r} that is none", allowed)
        if len(name) > _LONGEST_NAME or "\x00" in name:
            raise _invalid("counts", f"holds the name {name[:80]!r}", f"at most {_LONGEST_NAME} characters")
        counts[name] = int(count)
    return counts


def _invalid(parameter: str, problem: str, allowed: str) -> LookupInvalid:
    return LookupInvalid(parameter=parameter, problem=problem, allowed=allowed)
