"""The driver of one generator: one snapshot for every answer, and no endless starting again."""

import random

import pytest

from policyd.policy.asking import Layer, Resolution, Resolver, ask
from policyd.policy.position import Position
from policyd.policy.resolving import Resolved, Resolving

ONE, TWO, THREE = Position(1, "00000001"), Position(2, "00000002"), Position(3, "00000003")


def two_rounds() -> Resolver:
    first = yield ask("pointer")
    target = (first["pointer"] or {"to": "nowhere"})["to"]
    second = yield ask(target)
    return Resolution(layers=(Layer(target, {("value",): (second[target] or {}).get("value")}),))


def test_a_chain_is_recorded_up_to_its_first_hit() -> None:
    def resolver() -> Resolver:
        seen = yield ask("x", first_of=["c/1", "c/2", "c/3"])
        assert seen.hit == "c/2"
        with pytest.raises(KeyError):
            seen["c/3"]
        return Resolution(layers=())

    resolving = Resolving(resolver)
    assert resolving.wanted == ("x", "c/1", "c/2", "c/3")
    resolved = resolving.show(ONE, {"c/2": {}, "c/3": {}})
    assert resolved is not None
    assert resolved.tags == ("x", "c/1", "c/2")


def test_a_chain_without_a_hit_is_recorded_whole() -> None:
    def resolver() -> Resolver:
        seen = yield ask(first_of=["c/1", "c/2"])
        assert seen.hit is None
        return Resolution(layers=())

    resolved = Resolving(resolver).show(ONE, {})
    assert resolved is not None
    assert resolved.tags == ("c/1", "c/2")


def test_a_later_round_from_another_position_starts_again_asking_for_everything() -> None:
    resolving = Resolving(two_rounds)
    assert resolving.show(ONE, {"pointer": {"to": "old"}}) is None
    assert resolving.wanted == ("old",)
    assert resolving.show(TWO, {"old": {"value": 2}}) is None
    assert set(resolving.wanted) == {"pointer", "old"}
    resolved = resolving.show(THREE, {"pointer": {"to": "old"}, "old": {"value": 3}})
    assert resolved is not None
    assert (resolved.position, resolved.resolution.layers[0].fields) == (THREE, {("value",): 3})


def test_the_same_number_with_another_stamp_is_another_position() -> None:
    resolving = Resolving(two_rounds)
    resolving.show(ONE, {"pointer": {"to": "old"}})
    assert resolving.show(Position(1, "ffffffff"), {"old": {"value": 2}}) is None


@pytest.mark.parametrize("batch", range(10))
def test_an_answer_is_what_one_position_says_however_often_it_changes_meanwhile(batch: int) -> None:
    for seed in range(batch * 1000, batch * 1000 + 1000):
        _resolve_while_it_changes(random.Random(seed))


def _resolve_while_it_changes(choose: random.Random) -> None:
    names = [f"d/{n}" for n in range(6)]

    def follow() -> Resolver:
        path, at = [], names[0]
        for _ in range(4):
            seen = yield ask(at)
            path.append(Layer(at, {("to",): seen[at]}))
            if seen[at] is None:
                break
            at = (seen[at] or {})["to"]
        return Resolution(layers=tuple(path))

    def follow_in(state: dict[str, dict[str, str]]) -> tuple[Layer, ...]:
        resolved = Resolving(follow)
        answer: Resolved | None = None
        while answer is None:
            answer = resolved.show(ONE, state)
        return answer.resolution.layers

    state: dict[str, dict[str, str]] = {}
    states = [state]
    resolving = Resolving(follow)
    for _ in range(50):
        if choose.random() < 0.5:
            state = {name: {"to": choose.choice(names)} for name in names if choose.random() < 0.8}
            states.append(state)
        position = Position(len(states) - 1, "00000000")
        resolved = resolving.show(position, {tag: state[tag] for tag in resolving.wanted if tag in state})
        if resolved is not None:
            assert resolved.position == position
            assert resolved.resolution.layers == follow_in(state)
            return
    pytest.fail("fifty statements did not bring an answer about six documents")
