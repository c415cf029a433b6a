"""
How KumoMTA merges several files of one kind: the parts that more than one helper uses.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import TypeAlias, TypedDict

Fields: TypeAlias = dict[str, object]
File: TypeAlias = Mapping[str, object]


class Policy(TypedDict):
    """The files of one installation, each kind in the order in which KumoMTA loads them."""

    listener_domains: list[Fields]
    sources: list[Fields]
    queues: list[Fields]
    dkim: list[Fields]


def table(value: object) -> Fields:
    """The value as a table of its own; absent is empty, anything but a table is a mistake in the test's data."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"a table is needed here, not {value!r}")
    return {str(key): deepcopy(item) for key, item in value.items()}


def merged_deep(files: Iterable[File]) -> Fields:
    """
    All files as one: tables merge key by key at every depth, and so do lists, because Lua's lists are tables.

    A later shorter list leaves the tail of the earlier one in place.
    """
    whole: Fields = {}
    for file in files:
        whole = _over(whole, table(file))
    return whole


def _over(lower: Fields, upper: Fields) -> Fields:
    return {
        **lower,
        **{key: _one_over(lower.get(key), value) for key, value in upper.items()},
    }


def _one_over(lower: object, upper: object) -> object:
    if isinstance(lower, dict) and isinstance(upper, dict):
        return _over(lower, upper)
    if isinstance(lower, list) and isinstance(upper, list):
        together = [_one_over(old, new) for old, new in zip(lower, upper, strict=False)]
        return [*together, *upper[len(lower) :], *lower[len(upper) :]]
    return upper
