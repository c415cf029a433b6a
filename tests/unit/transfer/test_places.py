"""Rows keep the places that they have, as long as these make the order of the files."""

import pytest

from policyd.transfer.findings import Json, Origin, Row
from policyd.transfer.places import Record, in_their_places

HERE = Origin(file="shaping.toml")


def providers(*names: str) -> list[Row]:
    return [
        Row(table="shaping_provider", values={"name": name, "position": number}, origin=HERE)
        for number, name in enumerate(names, start=1)
    ]


def present(**places: int | None) -> dict[str, list[Record]]:
    return {"shaping_provider": [{"name": name, "position": place} for name, place in places.items()]}


@pytest.mark.parametrize(
    ("files", "there", "kept"),
    [
        ("ab", {"a": 10, "b": 20}, [10, 20]),
        ("ab", {"a": 10, "b": 10}, [10, 10]),
        ("ba", {"a": 10, "b": 10}, [1, 2]),
        ("ba", {"a": 10, "b": 20}, [1, 2]),
        ("abc", {"a": 10, "b": 20}, [10, 20, 21]),
        ("acb", {"a": 10, "b": 20}, [1, 2, 3]),
        ("ac", {"a": 10, "b": 20, "c": 30}, [10, 30]),
        ("ba", {"b": 3, "a": None}, [3, None]),
        ("bac", {"b": 3, "a": None}, [1, 2, 3]),
        ("ab", {}, [1, 2]),
    ],
)
def test_places_stay_where_they_make_the_order_of_the_files(
    files: str, there: dict[str, int | None], kept: list[int | None]
) -> None:
    placed = in_their_places(providers(*files), present(**there))
    assert [row.values["position"] for row in placed] == kept


def test_the_default_is_first_wherever_it_is_and_keeps_its_place() -> None:
    rows = [
        Row(table="shaping_domain", values={"domain": name, "position": place}, origin=HERE)
        for name, place in (("b.test", 1), ("default", None), ("a.test", 2))
    ]
    there: list[Record] = [
        {"domain": name, "position": place} for name, place in (("a.test", 9), ("b.test", 8), ("default", 99))
    ]
    placed = in_their_places(rows, {"shaping_domain": there})
    assert [(row.values["domain"], row.values["position"]) for row in placed] == [
        ("b.test", 8),
        ("default", 99),
        ("a.test", 9),
    ]


@pytest.mark.parametrize(
    ("count", "there", "kept"),
    [(2, [10, 20], [10, 20]), (3, [10, 20], [10, 20, 21]), (1, [10, 20], [10]), (2, [], [1, 2])],
)
def test_rules_take_the_places_that_there_are(count: int, there: list[int], kept: list[int]) -> None:
    def rule(position: Json) -> Row:
        values: dict[str, Json] = {"provider": "a", "position": position}
        return Row(table="shaping_provider_automation", values=values, origin=HERE)

    others: list[Record] = [{"provider": "b", "position": 77}]
    taken: list[Record] = [{"provider": "a", "position": each} for each in there]
    placed = in_their_places(
        [rule(number) for number in range(1, count + 1)], {"shaping_provider_automation": others + taken}
    )
    assert [row.values["position"] for row in placed] == kept
