"""Drills: outages on purpose, to see what nodes do in one."""

from dataclasses import dataclass

KINDS = (
    "listener_domain", "egress_source", "egress_pool", "tenant", "queue_settings", "queue",
    "dkim", "shaping", "webhooks", "auth",
)  # fmt: skip
"""What a drill may be limited to, as people say it: `dkim` is plans and keys, `shaping` both files."""
OTHERS = "others"
"""What no kind is, like the feed of changes: it fails only when everything does."""
LONGEST = 3600.0
"""Seconds, as in the table."""

_WORDS = {"dkim_key": "dkim", "shaping_json": "shaping", "shaping_toml": "shaping", "webhook": "webhooks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What fails, and for whom."""

    number: int
    kinds: frozenset[str] | None
    """None: everything."""
    nodes: frozenset[str] | None
    """None: whoever asks."""
    by: str

    def concerns(self, kind: str, node: str | None) -> bool:
        """Whether this is to fail when *node* asks it."""
        return (self.kinds is None or kind in self.kinds) and (self.nodes is None or node in self.nodes)


def drilled_as(kind: str) -> str:
    """What a drill calls a kind of lookup."""
    return _WORDS.get(kind, kind)
