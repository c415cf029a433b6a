"""Imported files, through the service and the Lua modules, make of kumod what KumoMTA's own helpers make of it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract import recorded
from tests.contract.questions import asked_of_the_helper, expected, holds, plain_listener_domain
from tests.contract.questions import recorded as in_our_form
from tests.contract.reach import within_reach
from tests.contract.reference import listener_domains, queue
from tests.contract.reference.files import Policy
from tests.contract.strategies import AUTHZ, Question, names_near, policies, questions_about
from tests.lua import parity_node
from tests.lua.parity_node import ANSWERED, HOLD, MODULES, PEER

ON_MISSING = "select on_missing from policy.queue_settings"


@pytest.mark.parametrize("name", recorded.SETS)
async def test_a_node_makes_of_imported_files_what_kumod_recorded_save_for_what_is_named(site, name):
    policy = recorded.files(name)
    await parity_node.replace(site.db, policy)
    on_missing = await site.db.fetchval(ON_MISSING)
    node = await site.node(MODULES)
    for each in recorded.answers(name, *ANSWERED):
        answered = await answer(node, each.question)
        if answered == in_our_form(each.question, each.result):
            continue
        if each.question["kind"] == "queue" and holds(each.question, policy, on_missing):
            # Mail that cannot come in: of a tenant without a row, or of none where there is a default.
            assert answered == {"options": HOLD}, each
            continue
        in_reach = within_reach(each.question, policy)
        assert in_reach != policy, each
        assert asked_of_the_helper(each.question, expected(each.question, in_reach, "stock")) == answered, (
            each
        )


def soaked(most: int) -> settings:
    """Many policies one after the other on one node, which must not answer with what it knew of the one before."""
    return settings(
        max_examples=most,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
        print_blob=True,
    )


@pytest.fixture
async def node(site):
    return await site.node(MODULES)


@soaked(12)
@given(st.data())
async def test_a_node_makes_of_random_files_what_the_models_make_of_them(site, node, data):
    await compare(site, node, data)


@pytest.mark.soak
@soaked(1000)
@given(st.data())
async def test_a_node_makes_of_thousands_of_random_files_what_the_models_make_of_them(site, node, data):
    await compare(site, node, data)


async def compare(site, node, data: st.DataObject) -> None:
    policy = data.draw(policies())
    await parity_node.replace(site.db, policy)
    on_missing = await site.db.fetchval(ON_MISSING)
    await site.caught_up(node)
    for question in data.draw(st.lists(questions_about(policy), min_size=10, max_size=10)):
        if question["kind"] == "dkim":
            continue
        wanted = asked_of_the_helper(question, expected(question, policy, "nearest"))
        if question["kind"] == "queue" and holds(question, policy, on_missing):
            wanted = {"options": HOLD}
        assert await answer(node, question) == wanted, question
    for _ in range(3):
        await compare_login(node, policy, data)
        await compare_apply(node, policy, data)


async def answer(node, question: Question) -> Any:
    """What the node's handlers give to kumod, in the form of the models'."""
    answered = in_our_form(question, await parity_node.given(node, question))
    return plain_listener_domain(answered) if question["kind"] == "listener_domain" and answered else answered


async def compare_login(node, policy: Policy, data: st.DataObject) -> None:
    """Whoever has logged in may relay where the files say so."""
    known = {
        key for domains in listener_domains.merged(policy["listener_domains"]).values() for key in domains
    }
    question = {"kind": "listener_domain", "domain": data.draw(names_near(known)), "listener": "127.0.0.1:25"}
    authz_id = data.draw(st.sampled_from([*AUTHZ, "eve"]))
    wanted = expected(question, policy, "nearest")
    allowed: Any = (wanted or {}).get("relay_from_authz", ())
    if authz_id in allowed:
        wanted = {**(wanted or {}), "relay_from": [PEER]}
    made = await parity_node.given(node, question, authz_id=authz_id)
    assert (made and plain_listener_domain(made)) == listener_domains.parameters(wanted), (question, authz_id)


async def compare_apply(node, policy: Policy, data: st.DataObject) -> None:
    """A message is refused, or gets its tenant, campaign and routing domain, as the model says."""
    mail = data.draw(parity_node.mails(policy))
    wanted = queue.apply(policy["queues"], mail.headers, mail.domain, mail.authz_id, "nearest")
    assert await parity_node.applied(node, mail.message(node.clock)) == wanted, mail
