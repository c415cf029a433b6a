"""
`policy-extras.sources`: egress sources, and the pools that choose among them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.contract.reference.files import Fields, File, table


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One line of a pool: the same source may stand in it more than once."""

    source: str
    weight: int | None


def sources(files: Iterable[File]) -> dict[str, Fields]:
    """Name → parameters of `kumo.make_egress_source`; a later file overrides field by field."""
    whole: dict[str, Fields] = {}
    for file in files:
        for name, fields in table(table(file).get("source")).items():
            whole.setdefault(name, {"name": name}).update(table(fields))
    return whole


def pools(files: Iterable[File]) -> dict[str, list[Member]]:
    """Name → members; what a later file lists is added to what an earlier one listed."""
    whole: dict[str, list[Member]] = {}
    for file in files:
        for name, members in table(table(file).get("pool")).items():
            listed = (
                Member(source=source, weight=_weight(table(fields).get("weight")))
                for source, fields in table(members).items()
            )
            whole.setdefault(name, []).extend(listed)
    return whole


def source(files: Iterable[File], name: str) -> Fields | None:
    """The parameters of one source, or None: kumod would fail to make it."""
    return sources(files).get(name)


def pool(files: Iterable[File], name: str) -> dict[str, int | None] | None:
    """
    Source → weight as policyd answers it: a source listed once keeps what was written (None for no weight), one listed
    more than once has the sum, where no weight counts as one.
    """
    members = pools(files).get(name)
    if members is None:
        return None
    by_source: dict[str, list[int | None]] = {}
    for member in members:
        by_source.setdefault(member.source, []).append(member.weight)
    return {name: weights[0] if len(weights) == 1 else _sum(weights) for name, weights in by_source.items()}


def _sum(weights: Iterable[int | None]) -> int:
    return sum(1 if weight is None else weight for weight in weights)


def _weight(value: object) -> int | None:
    if value is not None and not isinstance(value, int):
        raise TypeError(f"a weight is a whole number, not {value!r}")
    return value
