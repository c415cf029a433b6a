"""The reference models, judged by what a real kumod answered."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract import recorded
from tests.contract.questions import asked_of_the_helper, expected
from tests.contract.questions import recorded as in_our_form
from tests.contract.reach import within_reach
from tests.contract.reference import queue, sources
from tests.contract.reference.files import Fields, merged_deep
from tests.contract.reference.trie import cannot_backtrack, matching_key
from tests.contract.strategies import keys, names

KINDS = ("listener_domain", "queue", "egress_pool", "egress_source", "dkim")


@pytest.mark.parametrize("name", recorded.SETS)
def test_the_stock_models_answer_every_recorded_question(name):
    files = recorded.files(name)
    wrong = [
        (each.line, each.question, each.result, answered)
        for each in recorded.answers(name, *KINDS)
        if (answered := asked_of_the_helper(each.question, expected(each.question, files, "stock")))
        != in_our_form(each.question, each.result)
    ]
    assert wrong == []


def test_the_nearest_name_differs_only_where_the_stock_trie_cannot_go_back():
    found: Counter[str] = Counter()
    for name in recorded.SETS:
        files = recorded.files(name)
        for each in recorded.answers(name, *KINDS):
            stock, nearest = (expected(each.question, files, variant) for variant in ("stock", "nearest"))
            if asked_of_the_helper(each.question, nearest) != asked_of_the_helper(each.question, stock):
                in_reach = within_reach(each.question, files)
                assert in_reach != files, (name, each)
                assert expected(each.question, in_reach, "stock") == nearest, (name, each)
                found[each.question["kind"] or ""] += 1
    # Counted in the data, so that a set that lost its wildcards, or a model that lost its variant, is noticed.
    assert found == {"listener_domain": 118, "queue": 103, "dkim": 18}


@pytest.mark.parametrize(
    ("name", "stock", "nearest"),
    [
        ("example.com", "example.com", "example.com"),
        ("lemon.example.com", "*.example.com", "*.example.com"),
        ("lemon.cake.example.com", "*.example.com", "*.example.com"),
        ("woot.example.com", None, "*.example.com"),
        ("x.woot.example.com", None, "*.example.com"),
        ("a.woot.example.com", "a.woot.example.com", "a.woot.example.com"),
        ("other.com", None, "*"),
        ("other.org", "*", "*"),
        ("", "*", "*"),
        ("[192.0.2.1]", "*", "*"),
        ("Lemon.Example.COM.", "*", "*.example.com"),
    ],
)
def test_a_name_finds_its_key_as_described(name, stock, nearest):
    keys = {"*", "example.com", "*.example.com", "a.woot.example.com"}
    assert (matching_key(keys, name, "stock"), matching_key(keys, name, "nearest")) == (stock, nearest)


@given(st.sets(keys(), max_size=6), names())
def test_the_variants_differ_exactly_where_the_trie_cannot_go_back(known, name):
    differs = matching_key(known, name, "stock") != matching_key(known, name, "nearest")
    assert differs == cannot_backtrack(known, name)


def test_a_shorter_list_of_a_later_file_leaves_the_tail_of_the_earlier_one():
    files = [{"tenant": {"t": {"require_authz": ["a", "b"]}}}, {"tenant": {"t": {"require_authz": ["c"]}}}]
    assert merged_deep(files) == {"tenant": {"t": {"require_authz": ["c", "b"]}}}


def test_a_source_listed_twice_has_the_summed_weight_and_no_weight_counts_as_one():
    files: list[Fields] = [
        {"pool": {"p": {"twice": {}, "once": {}}}},
        {"pool": {"p": {"twice": {"weight": 4}}}},
    ]
    assert sources.pool(files, "p") == {"twice": 5, "once": None}


def test_a_wildcard_is_the_default_where_there_is_none():
    files = [{"queue": {"*": {"max_age": 1}, "example.com": {"retry_interval": 2}}}]
    answered = queue.answer(files, "example.com", None, None, "stock")
    assert answered.options == {"refresh_strategy": "Epoch", "max_age": 1, "retry_interval": 2}


def test_a_tenant_inside_the_default_is_no_tenant_anywhere_else():
    files = [{"queue": {"default": {"t": {"max_age": 1}}}}]
    assert queue.answer(files, "example.com", "t", None, "stock").options == {"refresh_strategy": "Epoch"}
    assert queue.answer(files, "default", "t", None, "stock").options == {
        "refresh_strategy": "Epoch",
        "max_age": 1,
    }


SETTINGS = {"tenant_header": "X-Tenant", "campaign_header": "X-Campaign", "default_tenant": "open"}
TENANTS = {"open": {}, "closed": {"require_authz": ["alice"]}, "nobody's": {"require_authz": []}}
FILES = [{**SETTINGS, "tenant": TENANTS, "queue": {"default": {"routing_domain": "route.example"}}}]


@pytest.mark.parametrize(
    ("headers", "authz_id", "verdict"),
    [
        ({}, None, ("open", None)),
        ({"X-Campaign": "c"}, None, ("open", "c")),
        ({"X-Tenant": "closed"}, "alice", ("closed", None)),
        ({"X-Tenant": "closed"}, None, "tenant 'closed' requires SMTP AUTH"),
        ({"X-Tenant": "closed"}, "bob", "authz_id 'bob' is not authorized to send as tenant 'closed'"),
        (
            {"X-Tenant": "nobody's"},
            "alice",
            "authz_id 'alice' is not authorized to send as tenant 'nobody's'",
        ),
        (
            {"X-Tenant": "gone"},
            "alice",
            "tenant 'gone' specified by 'X-Tenant' header is not defined in your queue config",
        ),
    ],
)
def test_apply_says_of_a_message_what_the_helper_says(headers, authz_id, verdict):
    match queue.apply(FILES, headers, "example.com", authz_id, "stock"):
        case queue.Rejected(reason=reason):
            assert reason == verdict
        case queue.Accepted(tenant=tenant, campaign=campaign, routing_domain=routing_domain):
            assert ((tenant, campaign), routing_domain) == (verdict, "route.example")
