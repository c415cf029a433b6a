"""policyd's resolvers against the reference models, without a database between them."""

from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.policy.asking import overlay
from policyd.policy.kinds import KINDS
from policyd.policy.lookup import Lookup
from policyd.policy.position import Position
from policyd.policy.resolving import Resolved, Resolving
from tests.contract.documents import documents
from tests.contract.questions import expected, path, said
from tests.contract.strategies import policies, questions_about

KIND_AT = {kind.segment: kind for kind in KINDS}


def lookup(asked: str) -> Lookup:
    name, _, query = asked.partition("?")
    segment, _, key = name.removeprefix("/").partition("/")
    return KIND_AT[segment].read(unquote(key), parse_qsl(query))


def resolve(asked: Lookup, shown) -> Resolved:
    resolving = Resolving(lambda: next(kind for kind in KINDS if kind.name == asked.kind).resolve(asked, 0.0))
    while (resolved := resolving.show(Position(1, "00000000"), shown)) is None:
        pass
    return resolved


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_resolvers_answer_as_the_nearest_name_models_do(data):
    compare(data)


@pytest.mark.soak
@settings(max_examples=5000, deadline=None)
@given(st.data())
def test_thousands_of_policies_are_answered_as_the_nearest_name_models_do(data):
    compare(data)


def compare(data: st.DataObject) -> None:
    policy = data.draw(policies())
    shown = documents(policy)
    for question in data.draw(st.lists(questions_about(policy), min_size=10, max_size=10)):
        layers = resolve(lookup(path(question)), shown).resolution.layers
        answered = overlay(layers) if layers else None
        assert said(question, answered) == expected(question, policy, "nearest"), question


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_pool_brings_its_sources_as_their_own_paths_answer_them(data):
    policy = data.draw(policies())
    shown = documents(policy)
    for name in policy["sources"][0].get("pool", {}):
        resolved = resolve(lookup(path({"kind": "egress_pool", "name": name})), shown)
        for part in resolved.resolution.brings:
            alone = resolve(lookup(part.path), shown)
            assert (part.layers, part.tags) == (alone.resolution.layers, alone.tags)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_path_of_a_normalised_question_is_canonical(data):
    policy = data.draw(policies())
    asked = data.draw(questions_about(policy))
    canonical = lookup(path(asked)).path
    assert lookup(canonical).path == canonical
    if asked.get("domain") is not None:
        asked = {**asked, "domain": lookup(canonical).key}
    assert path(asked) == canonical
