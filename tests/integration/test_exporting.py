"""Policy as files and back: nothing is lost, and nothing changes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from policyd.config import KeyRootConfig
from policyd.operate.exporting import Reading, read_policy
from policyd.operate.importing import import_rows
from policyd.store.documents import KINDS
from policyd.store.pool import Connection
from policyd.transfer.exporting import Exported
from policyd.transfer.files import HelperFile, HelperKind, read_helper_file
from policyd.transfer.reading import Transfer, transfer
from tests.conftest import Postgres, connection_to
from tests.contract import recorded, shaping_files
from tests.contract.questions import asked_of_the_helper, expected, path, said
from tests.contract.questions import recorded as in_our_form
from tests.contract.reference.files import Fields, Policy
from tests.contract.strategies import policies, questions_about
from tests.contract.toml_writer import to_toml
from tests.integration.rows_at_random import WIPED, Write, story
from tests.integration.test_parity import answer

NOT_FOR_FILES = ("api_token", "smtp_credential", "dkim_key")
ROOTS = {"default": KeyRootConfig()}


@pytest.fixture
async def elsewhere(postgres: Postgres) -> AsyncIterator[Connection]:
    """Another database, with nothing in it but what the migrations put there."""
    name = await postgres.clone()
    async with connection_to(postgres.dsn(name)) as connection:
        yield connection
    await postgres.drop(name)


@asynccontextmanager
async def undone(db: Connection) -> AsyncIterator[None]:
    """Whatever happens meanwhile did not happen."""
    transaction = db.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def documents(db: Connection) -> Mapping[str, str]:
    """Everything that files can say, as the database has it, to the letter."""
    found: dict[str, str] = {}
    for kind in KINDS:
        if kind not in NOT_FOR_FILES:
            rows = await db.fetch(f"select tag, body::text from policy.{kind}_document")
            found |= {row["tag"]: row["body"] for row in rows}
    return found


def files_of(exported: Exported) -> list[HelperFile]:
    return [read_helper_file(name, text) for name, text in exported.files.items()]


def helper_files(policy: Policy, shaping: list[Fields]) -> list[HelperFile]:
    kinds: dict[HelperKind, list[Fields]] = {
        "listener_domains": policy["listener_domains"],
        "sources": policy["sources"],
        "queues": policy["queues"],
        "dkim": policy["dkim"],
        "shaping": shaping,
    }
    return [
        read_helper_file(f"{kind}{number}.toml", to_toml(file), kind)
        for kind, each in kinds.items()
        for number, file in enumerate(each)
    ]


async def put(db: Connection, come_to: Transfer, **options: Any) -> None:
    await db.execute("set constraints all deferred")  # as in a transaction of its own
    await import_rows(db, come_to, dry_run=False, actor=None, reason="a test", **options)


async def assert_nothing_lost(db: Connection, elsewhere: Connection) -> Reading:
    """The exported files change nothing here, and make the same policy where there is none."""
    reading = await read_policy(db, ROOTS)
    come_to = transfer(files_of(reading.exported), key_roots=ROOTS)
    assert come_to.problems == ()
    assert come_to.secrets == ()
    assert reading.exported.lost == ()
    before = await db.fetchval("select coalesce(max(ordinal), 0) from policy.change")
    await put(db, come_to, absent="delete")
    assert await db.fetch("select * from policy.change where ordinal > $1", before) == []
    async with undone(elsewhere):
        await put(elsewhere, come_to, absent="delete")
        assert await documents(elsewhere) == await documents(db)
        again = await read_policy(elsewhere, ROOTS)
        assert again.exported.files == reading.exported.files
    return reading


def soaked(most: int) -> settings:
    """As in test_parity: each example is a transaction that is rolled back."""
    return settings(
        max_examples=most,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@soaked(10)
@given(st.data())
async def test_random_files_are_exported_and_imported_without_a_difference(db, elsewhere, data):
    await compare(db, elsewhere, data)


@pytest.mark.soak
@soaked(1500)
@given(st.data())
async def test_thousands_of_random_files_are_exported_and_imported_without_a_difference(db, elsewhere, data):
    await compare(db, elsewhere, data)


async def compare(db: Connection, elsewhere: Connection, data: st.DataObject) -> None:
    policy = data.draw(policies())
    shaping = data.draw(shaping_files.files())
    async with undone(db):
        await put(db, transfer(helper_files(policy, shaping)))
        reading = await assert_nothing_lost(db, elsewhere)
        exported = parsed(reading.exported)
        for question in data.draw(st.lists(questions_about(policy), min_size=6, max_size=6)):
            answered = said(question, await answer(db, path(question)))
            assert expected(question, exported, "nearest") == answered, question


@pytest.mark.parametrize("name", recorded.SETS[::4])
async def test_what_was_recorded_of_kumods_helpers_they_would_answer_from_the_exported_files_too(
    db, elsewhere, name
):
    given_files = shaping_files.recorded_files(name)
    async with undone(db):
        await put(db, transfer(helper_files(recorded.files(name), given_files)))
        reading = await assert_nothing_lost(db, elsewhere)
        exported = parsed(reading.exported)
        for each in recorded.answers(
            name, "listener_domain", "queue", "egress_pool", "egress_source", "dkim"
        ):
            answered = said(each.question, await answer(db, path(each.question)))
            assert expected(each.question, exported, "nearest") == answered, each
            of_helper = expected(each.question, exported, "stock")
            assert asked_of_the_helper(each.question, of_helper) == in_our_form(each.question, each.result), (
                each
            )


def parsed(exported: Exported) -> Policy:
    """The exported files as the models take them."""
    by_kind: dict[str, Fields] = {file.kind: {**file.data} for file in files_of(exported)}
    return {
        "listener_domains": [by_kind["listener_domains"]],
        "sources": [by_kind["sources"]],
        "queues": [by_kind["queues"]],
        "dkim": [by_kind["dkim"]],
    }


@pytest.mark.parametrize("seed", range(3))
async def test_random_rows_are_exported_and_imported_without_a_difference(db, elsewhere, seed):
    await compare_rows(db, elsewhere, seed)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(0, 1000, 100))
async def test_thousands_of_random_rows_are_exported_and_imported_without_a_difference(db, elsewhere, start):
    for seed in range(start, start + 100):
        await compare_rows(db, elsewhere, seed)


async def compare_rows(db: Connection, elsewhere: Connection, seed: int) -> None:
    async with undone(db):
        await make_rows(db, seed)
        await assert_nothing_lost(db, elsewhere)


@pytest.mark.parametrize("seed", range(2))
async def test_files_that_are_applied_leave_nothing_of_what_was_there(db, elsewhere, seed):
    await replace_rows(db, elsewhere, seed)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(0, 500, 100))
async def test_thousands_of_files_that_are_applied_leave_nothing_of_what_was_there(db, elsewhere, start):
    for seed in range(start, start + 100):
        await replace_rows(db, elsewhere, seed)


async def replace_rows(db: Connection, elsewhere: Connection, seed: int) -> None:
    async with undone(db), undone(elsewhere):
        await make_rows(db, 2 * seed)
        await make_rows(elsewhere, 2 * seed + 1)
        wanted = await documents(elsewhere)
        reading = await read_policy(elsewhere, ROOTS)
        come_to = transfer(files_of(reading.exported), key_roots=ROOTS)
        await put(db, come_to, absent="delete")
        assert await documents(db) == wanted
        before = await db.fetchval("select coalesce(max(ordinal), 0) from policy.change")
        await put(db, come_to, absent="delete")
        assert await db.fetch("select * from policy.change where ordinal > $1", before) == []


async def make_rows(db: Connection, seed: int) -> None:
    """Rows as statements make them and files never would: places far apart, rows without an effect."""
    await db.execute(WIPED)
    for step in story(seed, holders=1, length=30):
        if isinstance(step, Write):
            for statement in step.statements:
                await attempt(db, statement)
    await db.execute(
        "delete from policy.smtp_credential; delete from policy.queue_tenant where domain = 'default'"
    )


async def attempt(db: Connection, statement: str) -> None:
    if statement in ("savepoint undone", "rollback to undone"):
        return
    try:
        await db.execute(f"savepoint each; {statement}; release each")
    except asyncpg.PostgresError:
        await db.execute("rollback to each")
