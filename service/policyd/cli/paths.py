"""Paths of lookups, for commands that answer them without a service."""

import difflib

from policyd.api.asked import Target
from policyd.errors import PolicydError
from policyd.operate.hypothetical import Asked
from policyd.policy.kinds import KINDS

_BY_SEGMENT = {kind.segment: kind for kind in KINDS}


def asked_at(path: str) -> Asked:
    """The lookup that a path like /queue/gmail.com?tenant=acme asks for; PolicydError where it is none."""
    target = Target.parse("/" + path.removeprefix("/"))
    segment = target.segments[0]
    kind = _BY_SEGMENT.get(segment)
    if kind is None:
        near = difflib.get_close_matches(segment, _BY_SEGMENT, n=1)
        raise PolicydError(
            f"/{segment[:40]} is no lookup{f'; did you mean /{near[0]}?' if near else ''}",
            hint=f"lookups are /{', /'.join(_BY_SEGMENT)}",
        )
    if len(target.segments) != (1 if kind.key is None else 2):
        wanted = f"/{kind.segment}" if kind.key is None else f"/{kind.segment}/{kind.key.name.upper()}"
        raise PolicydError(f"{path} is no lookup: write {wanted}")
    key = target.segments[1] if kind.key is not None else None
    return Asked(kind=kind, lookup=kind.read(key, target.query))
