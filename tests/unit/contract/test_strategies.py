"""The drawn cases are what everything else takes them for."""

import json
import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.questions import expected, path
from tests.contract.reference import queue, sources
from tests.contract.strategies import POOLS, SOURCES, policies, questions_about
from tests.contract.toml_writer import to_toml


@settings(max_examples=30, deadline=None)
@given(policies())
def test_a_policy_survives_both_formats_of_the_helpers(policy):
    for files in (policy["listener_domains"], policy["sources"], policy["queues"]):
        for file in files:
            assert tomllib.loads(to_toml(file)) == file
            assert json.loads(json.dumps(file)) == file


@settings(max_examples=30, deadline=None)
@given(policies())
def test_what_a_policy_names_it_defines(policy):
    pools = {name: sources.pool(policy["sources"], name) for name in POOLS}
    defined = {name for name, entries in pools.items() if entries is not None}
    members = {name for entries in pools.values() for name in entries or {}}
    assert members <= sources.sources(policy["sources"]).keys() <= set(SOURCES)
    default_tenant = queue.settings(policy["queues"]).get("default_tenant")
    for tenant in [default_tenant] if isinstance(default_tenant, str) else []:
        answered = queue.answer(policy["queues"], "a", tenant, None, "nearest")
        assert answered.tenant_known
        assert answered.options.get("egress_pool", "unspecified") in {*defined, "unspecified"}


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_every_question_has_a_path_and_an_answer_of_either_variant(data):
    policy = data.draw(policies())
    question = data.draw(questions_about(policy))
    assert path(question).startswith("/")
    for variant in ("stock", "nearest"):
        expected(question, policy, variant)
