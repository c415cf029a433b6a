"""
The places of ordered rows: those that the database has, wherever these make the order that the files want.

Files have an order and no numbers. A row that moves from place 20 to place 2 without overtaking anybody would be a
change that changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from policyd.transfer.findings import Json, Row

Record = Mapping[str, Json]

NAMED: Final = {"shaping_provider": "name", "shaping_domain": "domain"}
"""Tables whose rows are known by a name and have a place, or none: then they come last."""
NUMBERED: Final = {
    "shaping_provider_automation": "provider",
    "shaping_domain_automation": "domain",
    "dkim_additional_signature": None,
}
"""Tables whose rows are known by their place among those of one owner."""
FIRST: Final = ("shaping_domain", "default")
"""A row that is always the first, whatever its place."""


def in_their_places(rows: Sequence[Row], present: Mapping[str, Sequence[Record]]) -> list[Row]:
    """The rows with the places that *present* ones have, as far as that is the order in which they stand."""
    placed: dict[int, Row] = {}
    for table, name in NAMED.items():
        named = [(at, row) for at, row in enumerate(rows) if row.table == table]
        ours = [(at, row) for at, row in named if (table, row.values[name]) != FIRST]
        ours.sort(key=lambda each: _place(each[1].values))
        places = {str(row[name]): _number(row["position"]) for row in present.get(table, ())}
        # A place means nothing for the one that is always first.
        placed |= {
            at: _moved(row, places.get(str(row.values[name])))
            for at, row in named
            if (table, row.values[name]) == FIRST
        }
        kept = _kept([str(row.values[name]) for _, row in ours], places)
        if kept is not None:
            placed |= {at: _moved(row, place) for (at, row), place in zip(ours, kept, strict=True)}
    for table, owner in NUMBERED.items():
        for at, row, place in _renumbered(rows, table, owner, present.get(table, ())):
            placed[at] = _moved(row, place)
    return [placed.get(at, row) for at, row in enumerate(rows)]


def _kept(wanted: Sequence[str], places: Mapping[str, int | None]) -> list[int | None] | None:
    """A place for each of *wanted*; None where the present *places* would make another order."""
    before = [each for each in wanted if each in places]
    in_order = sorted(before, key=lambda each: (places[each] is None, places[each] or 0, each))
    if before != in_order or wanted[: len(before)] != before:
        return None
    kept = [places[each] for each in before]
    if len(before) == len(wanted):
        return kept
    # Whoever is new comes after all that are there: that takes a place, and one for everybody before.
    numbers = [number for number in kept if number is not None]
    if len(numbers) < len(kept):
        return None
    last = max(numbers, default=0)
    return [*kept, *(last + more for more in range(1, len(wanted) - len(before) + 1))]


def _renumbered(
    rows: Sequence[Row], table: str, owner: str | None, present: Sequence[Record]
) -> list[tuple[int, Row, int]]:
    """Each row of the table with the place of whoever stands there now, counted from the first."""
    places: dict[Json, list[int]] = {}
    for record in present:
        places.setdefault(None if owner is None else str(record[owner]), []).append(
            int(str(record["position"]))
        )
    ours = [(at, row) for at, row in enumerate(rows) if row.table == table]
    ours.sort(key=lambda each: _place(each[1].values))
    found = []
    taken: dict[Json, int] = {}
    for at, row in ours:
        whose = None if owner is None else str(row.values[owner])
        known = sorted(places.get(whose, ()))
        nth = taken.get(whose, 0)
        taken[whose] = nth + 1
        if not known:
            continue
        found.append((at, row, known[nth] if nth < len(known) else known[-1] + nth - len(known) + 1))
    return found


def _place(values: Mapping[str, Json]) -> int:
    number = _number(values["position"])
    return -1 if number is None else number


def _number(value: Json) -> int | None:
    return value if isinstance(value, int) else None


def _moved(row: Row, place: int | None) -> Row:
    return replace(row, values={**row.values, "position": place})
