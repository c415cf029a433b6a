"""The file of imported shaping is loaded as the files themselves are: judged by the model that kumod's answers judged."""

import json
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from policyd.operate.importing import import_rows
from policyd.policy.asking import overlay
from policyd.policy.resolving import resolve_with
from policyd.policy.shaping import SHAPING_JSON, to_json, to_toml
from policyd.store.documents import read_documents
from policyd.store.pool import Connection
from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import Transfer, transfer
from tests.contract import recorded, shaping_files
from tests.contract.reference import shaping
from tests.contract.reference.files import File
from tests.contract.toml_writer import to_toml as written


@pytest.mark.parametrize("name", recorded.SETS)
async def test_the_file_of_imported_shaping_says_what_kumod_answered_from_the_files(
    db: Connection, name: str
) -> None:
    given_files = shaping_files.recorded_files(name)
    mx = shaping_files.with_absolute(shaping_files.recorded_exchangers(name))
    in_turns = shaping.load(given_files, mx)
    together = shaping.load(shaping_files.together_by_domain(given_files), mx)
    async with imported(db, given_files) as (come_to, served):
        loaded = shaping.load([served], mx)
    for each in recorded.answers(name, "shaping"):
        asked = each.question["domain"] or "", each.question["source"] or ""
        answered = shaping.path_config(loaded, mx, *asked)
        if answered != each.result["config"]:
            # Two domains of one MX, in turns: named by the import, and different in nothing else.
            assert answered == shaping.path_config(together, mx, *asked), each
            assert shaping.path_config(in_turns, mx, *asked) == each.result["config"]
            assert any("in turns" in str(note) for note in come_to.notes)


def soaked(most: int) -> settings:
    """As for the other kinds: each example is a transaction that is rolled back."""
    return settings(
        max_examples=most,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@soaked(60)
@given(shaping_files.files())
async def test_the_file_of_random_files_is_loaded_as_these_are(db: Connection, files: list[File]) -> None:
    await compare(db, files)


@pytest.mark.soak
@soaked(3000)
@given(shaping_files.files())
async def test_the_files_of_thousands_of_random_files_are_loaded_as_these_are(
    db: Connection, files: list[File]
) -> None:
    await compare(db, files)


@soaked(20)
@given(st.data())
async def test_the_file_can_be_imported_again_and_changes_nothing(
    db: Connection, data: st.DataObject
) -> None:
    async with imported(db, data.draw(shaping_files.files())) as (_, served):
        file = read_helper_file("again.toml", to_toml(served).decode(), "shaping")
        before = await db.fetchval("select count(*) from policy.change")
        await import_rows(db, transfer([file]), dry_run=False, actor=None, reason="again")
        assert await db.fetchval("select count(*) from policy.change") == before


async def compare(db: Connection, files: Sequence[File]) -> None:
    mx = shaping_files.with_absolute(shaping_files.EXCHANGERS)
    expected = shaping.load(shaping_files.together_by_domain(files), mx)
    async with imported(db, files) as (come_to, served):
        assert served == json.loads(to_json(served)) == tomllib.loads(to_toml(served).decode())
        loaded = shaping.load([served], mx)
        if not any("in turns" in str(note) for note in come_to.notes):
            expected = shaping.load(files, mx)
    for blocks, wanted in ((loaded.sites, expected.sites), (loaded.domains, expected.domains)):
        assert rules(blocks) == rules(wanted)
    assert rules(loaded.providers) == rules(expected.providers)
    for domain in (*shaping_files.DOMAINS, "x.c.test", "unknown.test"):
        for source in (*shaping_files.SOURCES[:2], "no-source"):
            answered = shaping.path_config(loaded, mx, domain, source)
            assert answered == shaping.path_config(expected, mx, domain, source), (domain, source)


def rules(blocks: Mapping[Any, shaping.Block]) -> dict[Any, list[object]]:
    """The automation of the blocks that have any."""
    return {key: block.automation for key, block in blocks.items() if block.automation}


@asynccontextmanager
async def imported(
    db: Connection, files: Sequence[File]
) -> AsyncIterator[tuple[Transfer, Mapping[str, Any]]]:
    """What the files come to, and /shaping.json of a database with them in it, and afterwards without."""
    come_to = transfer(
        [
            read_helper_file(f"shaping{number}.toml", written(file), "shaping")
            for number, file in enumerate(files, start=1)
        ]
    )
    undo = db.transaction()
    await undo.start()
    try:
        await import_rows(db, come_to, dry_run=False, actor=None, reason="parity")
        lookup = SHAPING_JSON.read(None, [])
        resolved = await resolve_with(
            lambda: SHAPING_JSON.resolve(lookup, 0.0), lambda tags: read_documents(db, tags)
        )
        yield come_to, overlay(resolved.resolution.layers)
    finally:
        await undo.rollback()
