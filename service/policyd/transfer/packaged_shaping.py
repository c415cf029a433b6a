"""
What KumoMTA's own shaping file says already, by digest: nodes load that file first, and its rules would count twice.

The digests are of the files of 2025.05 to 2026.08, whose rules are the same; the file of a newer KumoMTA that changes a
rule is then one whose old rule an import keeps.
"""

import hashlib
import json
from collections.abc import Mapping

from policyd.transfer.findings import Json

FILES = frozenset(
    (
        "5ee3f32ed85ad0e680ebdb5d9cf7f34e37015822cbe171134826f8cf46aedfc8",
        "25f929ab3aa074fb0e55c5c5feb8f543a23e1fb982c76a98da62975ff9a9c32f",
        "e5a3925c92e6fe5fb08d58e1a7a18877c68efc8801951be59bee26834b4be347",
    )
)
RULES = frozenset(
    (
        "2662b0ffae9693a497c6e405e0681b008933c3bf9309b66fd51f5daddb00d002",
        "1ee72831e8f5343a9f1f46afb318ad3a1ae437953d35c8d1e15fbf057cdbdf34",
        "fcbeb81a4978602e2cb638023963d4b1bc4648f829d1d9f5fa5df7981432f106",
        "745d3ceaa977608b2a166b0f0134acf87c7bf893bc35c55eb888165135ea0d93",
    )
)
PROVIDERS = frozenset(
    ("google", "yahoo", "outlook", "office365", "office365-dane", "apple", "mimecast", "orange")
)


def is_packaged_file(data: Mapping[str, Json]) -> bool:
    """Whether a file says what KumoMTA's own one says, whatever its comments."""
    return digest(dict(data)) in FILES


def is_packaged_rule(kind: str, name: str, rule: Mapping[str, Json]) -> bool:
    """Whether KumoMTA's own file has this rule (as columns of its row) in the section of this kind and name."""
    return digest({"kind": kind, "name": name, **rule}) in RULES


def digest(data: Json) -> str:
    """The SHA-256 of what the data says, however it was written."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
