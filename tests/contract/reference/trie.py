"""
Which key of a domain map answers for a name.
"""

from collections.abc import Collection, Iterator
from typing import Literal, TypeAlias

Variant: TypeAlias = Literal["stock", "nearest"]

# Written out rather than computed: policyd must agree with the standard, not with the library that a test happens to use.
A_LABELS = {
    "bücher": "xn--bcher-kva",
    "münchen": "xn--mnchen-3ya",
    "例え": "xn--r8jz45g",
}


def matching_key(keys: Collection[str], name: str, variant: Variant) -> str | None:
    """The key whose entry answers for the name, or None."""
    return _stock(keys, name) if variant == "stock" else _nearest(keys, normalised(name))


def normalised(name: str) -> str:
    """The name as policyd looks it up: lower-case A-labels without the trailing dot."""
    lower = name.lower().removesuffix(".")
    return ".".join(A_LABELS.get(label, label) for label in lower.split("."))


def _stock(keys: Collection[str], name: str) -> str | None:
    """
    KumoMTA's walk from the right: exact labels as long as there are any, then one look at the `*` beside the missing label.

    There is no way back: `*.example.com` is out of reach below a label that exists only because of a longer key.
    """
    nodes = {suffix for key in keys for suffix in _suffixes(key)}
    here: tuple[str, ...] = ()
    for label in reversed(name.split(".")):
        if (label, *here) not in nodes:
            wildcard = ".".join(("*", *here))
            return wildcard if wildcard in keys else None
        here = (label, *here)
    return name if name in keys else None


def _nearest(keys: Collection[str], name: str) -> str | None:
    """The name itself, else `*` in place of as few of its labels as possible, but of one at least."""
    wildcards = (".".join(("*", *suffix)) for suffix in list(_suffixes(name))[1:])
    return next((key for key in (name, *wildcards, "*") if key in keys), None)


def _suffixes(name: str) -> Iterator[tuple[str, ...]]:
    labels = tuple(name.split("."))
    return (labels[start:] for start in range(len(labels)))


def cannot_backtrack(keys: Collection[str], name: str) -> bool:
    """
    Whether the stock trie misses a wildcard above the name because it walked down a label that only a longer key made.

    True exactly if the nearest wildcard hangs above the place where the walk of exact labels ended.
    """
    nearest = _nearest(keys, name)
    if nearest is None or nearest == name:
        return False
    nodes = {suffix for key in keys for suffix in _suffixes(key)}
    existing = max((len(suffix) for suffix in _suffixes(name) if suffix in nodes), default=0)
    hangs_at = len(nearest.split(".")) - 1
    return hangs_at < existing
