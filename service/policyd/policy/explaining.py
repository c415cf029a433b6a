"""Why an answer is what it is: each field, where it came from, and what it overrode."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from policyd.policy.asking import Field, Json, Layer, Resolution, Resolver, overlay
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.narrators import NARRATORS
from policyd.policy.resolving import Resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One field of an answer: its value and source, and what lost to it, nearest first."""

    field: str
    value: Json
    source: str
    overridden: tuple[tuple[str, Json], ...]


def explaining(kind: Kind, lookup: Lookup, now: float) -> Resolver:
    """The kind's own generator, whose answer brings along how it came about."""
    shown: dict[str, Mapping[str, Json] | None] = {}
    resolution = yield from _shown_to(kind.resolve(lookup, now), shown)
    narrate = NARRATORS.get(kind.name)
    if narrate is None:
        return resolution
    return replace(resolution, steps=tuple(narrate(lookup, now, shown, resolution)))


def _shown_to(resolver: Resolver, shown: dict[str, Mapping[str, Json] | None]) -> Resolver:
    """The same generator; *shown* is filled with what it is shown."""
    asked = next(resolver)
    while True:
        seen = yield asked
        shown |= seen.documents
        try:
            asked = resolver.send(seen)
        except StopIteration as finished:
            resolution: Resolution = finished.value
            return resolution


def explain(layers: Sequence[Layer]) -> tuple[Explained, ...]:
    """The fields that *layers* make together, in the order in which they first appear."""
    given: dict[Field, list[tuple[str, Json]]] = {}
    for layer in layers:
        for name, value in layer.fields.items():
            given.setdefault(name, []).insert(0, (layer.source, value))
    return tuple(
        Explained(field=".".join(name), value=values[0][1], source=values[0][0], overridden=tuple(values[1:]))
        for name, values in given.items()
    )


def explanation(path: str, resolved: Resolved) -> dict[str, Any]:
    """What `policyd explain` shows, as JSON: the answer field by field, and every document that was looked for."""
    layers = resolved.resolution.layers
    return {
        "path": path,
        "position": str(resolved.position),
        "found": bool(layers),
        "answer": overlay(layers),
        "fields": [
            {
                "field": each.field,
                "value": each.value,
                "from": each.source,
                "overrode": [{"from": source, "value": value} for source, value in each.overridden],
            }
            for each in explain(layers)
        ],
        "steps": [
            {"says": step.says, "document": step.document, "counts": step.counts}
            for step in resolved.resolution.steps
        ],
        "looked_for": [{"document": tag, "exists": tag in resolved.present} for tag in resolved.tags],
        "brings": [part.path for part in resolved.resolution.brings],
    }
