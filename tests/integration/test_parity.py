"""Files imported into a real database are answered as KumoMTA's own helpers answered them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from policyd.operate.importing import ImportReport, import_rows
from policyd.policy.asking import overlay
from policyd.policy.kinds import KINDS
from policyd.policy.resolving import resolve_with
from policyd.store.documents import read_documents
from policyd.store.pool import Connection
from tests.contract import recorded
from tests.contract.documents import documents
from tests.contract.importing import read
from tests.contract.questions import (
    asked_of_the_helper,
    expected,
    holds,
    path,
    plain_listener_domain,
    said,
)
from tests.contract.questions import recorded as in_our_form
from tests.contract.reach import within_reach
from tests.contract.reference.files import Fields, Policy
from tests.contract.strategies import policies, questions_about

ANSWERED = ("listener_domain", "queue", "egress_pool", "egress_source", "dkim")
KIND_AT = {kind.segment: kind for kind in KINDS}


@pytest.mark.parametrize("name", recorded.SETS)
async def test_imported_files_are_answered_as_kumod_answered_them_save_for_the_nearest_name(db, name):
    policy = recorded.files(name)
    async with imported(db, policy):
        for each in recorded.answers(name, *ANSWERED):
            answered = said(each.question, await answer(db, path(each.question)))
            if asked_of_the_helper(each.question, answered) != in_our_form(each.question, each.result):
                in_reach = within_reach(each.question, policy)
                assert in_reach != policy, each
                assert expected(each.question, in_reach, "stock") == answered, each


def soaked(most: int) -> settings:
    """
    Many policies in one database: each example is a transaction that is rolled back.

    A failure is not made smaller: over a database that takes minutes, and the difference names what it is about.
    """
    return settings(
        max_examples=most,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@soaked(40)
@given(st.data())
async def test_random_files_are_answered_as_the_models_answer(db, data):
    await compare(db, data)


@pytest.mark.soak
@soaked(3000)
@given(st.data())
async def test_thousands_of_random_files_are_answered_as_the_models_answer(db, data):
    await compare(db, data)


async def compare(db: Connection, data: st.DataObject) -> None:
    policy = data.draw(policies())
    async with imported(db, policy) as report:
        on_missing = (await answer(db, "/queue-settings") or {})["on_missing"]
        assert await stored(db, documents(policy)) == documents(policy, on_missing=on_missing)
        for question in data.draw(st.lists(questions_about(policy), min_size=8, max_size=8)):
            answered = await answer(db, path(question))
            assert said(question, answered) == expected(question, policy, "nearest"), (question, report.notes)
            if question["kind"] == "queue":
                assert answered is not None
                assert answered["hold"] == holds(question, policy, on_missing), question


@asynccontextmanager
async def imported(db: Connection, policy: Policy) -> AsyncIterator[ImportReport]:
    """The database with the policy in it, and afterwards without."""
    undo = db.transaction()
    await undo.start()
    try:
        report = await import_rows(db, read(policy), dry_run=False, actor=None, reason="parity")
        await db.execute("set constraints all immediate")
        yield report
    finally:
        await undo.rollback()


async def answer(db: Connection, asked: str) -> Any:
    """policyd's answer for a path, read over this connection; None is none."""
    name, _, query = asked.partition("?")
    segment, _, key = name.removeprefix("/").partition("/")
    kind = KIND_AT[segment]
    lookup = kind.read(unquote(key), parse_qsl(query))
    resolved = await resolve_with(
        lambda: kind.resolve(lookup, 0.0),
        lambda tags: read_documents(db, tags),
    )
    layers = resolved.resolution.layers
    return overlay(layers) if layers else None


async def stored(db: Connection, wanted: dict[str, Fields]) -> dict[str, Fields]:
    """The documents of these names, an empty list of a listener domain being none."""
    _, found = await read_documents(db, wanted)
    return {
        tag: plain_listener_domain(body) if tag.startswith("listener_domain/") else dict(body)
        for tag, body in found.items()
    }
