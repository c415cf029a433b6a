"""
KumoMTA's map of domains beside policyd's: which names the two answer differently.

KumoMTA walks a trie from the right and does not go back: once an exact label matched, a wildcard above it is out of
reach. policyd answers with the nearest name. A file that was written with the one in mind deserves to hear about it.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from policyd.policy.names import domain_chain


@dataclass(frozen=True, slots=True)
class Trie:
    """The keys of one map, and every name that is an exact label on the way to one of them."""

    keys: Collection[str]
    labels: frozenset[str]

    def kumomta(self, name: str) -> str | None:
        """The key whose value KumoMTA's `kumo.domain_map` answers with."""
        parts = name.split(".")
        known = ""
        for start in range(len(parts) - 1, -1, -1):
            here = ".".join(parts[start:])
            if here not in self.labels:
                wildcard = f"*.{known}" if known else "*"
                return wildcard if wildcard in self.keys else None
            known = here
        return name if name in self.keys else None

    def policyd(self, name: str) -> str | None:
        """The key that policyd answers with: the nearest name."""
        return next((key for key in domain_chain(name) if key in self.keys), None)

    def doubtful_names(self) -> Iterator[str]:
        """One name for each way in which the two could differ: labels without a value, and what stands below labels."""
        if not any(key.startswith("*") for key in self.keys):
            return
        for label in sorted(self.labels):
            if label.startswith("*"):
                continue
            if label not in self.keys:
                yield label
            if f"*.{label}" not in self.keys:
                yield next(name for name in _below(label) if name not in self.labels)


def make_trie(keys: Collection[str]) -> Trie:
    """The map of these normalised names."""
    labels = (
        ".".join(parts[start:]) for parts in (key.split(".") for key in keys) for start in range(len(parts))
    )
    return Trie(keys=keys, labels=frozenset(labels))


def _below(label: str) -> Iterator[str]:
    number = 0
    while True:
        yield f"x{number or ''}.{label}"
        number += 1
