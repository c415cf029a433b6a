"""Sentences that explanations of several kinds tell alike."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from policyd.policy.asking import Json, Shown, Step
from policyd.policy.tags import parts_of


def nearest(asked: str, chain: Sequence[str], shown: Shown) -> Iterator[Step]:
    """Which document of a chain answers for *asked*, and which were looked for in vain before."""
    seen = [tag for tag in chain if tag in shown]
    hit = next((tag for tag in seen if shown[tag] is not None), None)
    before = seen if hit is None else seen[: seen.index(hit)]
    names = ", ".join(dict.fromkeys(parts_of(tag)[-1] for tag in before))
    if hit is None:
        yield Step(f"there is no row for {spoken(asked)}: none of {names}", counts=False)
    elif before:
        yield Step(
            f"the nearest row is that of {parts_of(hit)[-1]}; there is none for {names}", hit, counts=True
        )
    else:
        yield Step(f"there is a row for {parts_of(hit)[-1]} itself", hit, counts=True)


def spoken(name: str) -> str:
    """A name that may be empty, in a sentence."""
    return name or "the empty name (the null sender)"


def at(seconds: float) -> str:
    """A time for people: `2026-12-01 06:00 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def listed(names: Sequence[Json]) -> str:
    """Names in a sentence: `a, b and c`."""
    *most, last = [str(name) for name in names] or ["nobody"]
    return f"{', '.join(most)} and {last}" if most else last


def present(shown: Shown, tag: str) -> Mapping[str, Json]:
    """The document, or an empty one."""
    return shown.get(tag) or {}
