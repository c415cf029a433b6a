"""docs/mistakes.md, typed from top to bottom: what it says is what is seen."""

import asyncio
import contextlib
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from policyd.operate.first_run import import_example
from policyd.shipped import example_root
from policyd.store.pool import Connection
from tests.conftest import connection_to
from tests.integration.conftest import TOKEN, Run, Service, head, make_config, make_token, serving
from tests.integration.node_reports import node

PAGE = (Path(__file__).parents[2] / "docs/mistakes.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def typed() -> Iterator[tuple[str, list[str]]]:
    """Each command of the page with the lines below it."""
    lines = [line for block in BLOCK.findall(PAGE) for line in block.splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start].removeprefix("$ "), lines[start + 1 : end]


def alike(line: str) -> str:
    """A line without what differs from day to day."""
    line = re.sub(r"(\b\d+)-[0-9a-f]{8}\b", r"\1-STAMP", line)
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d \(\d+ \w+ ago\)", "TIME", line)
    line = re.sub(r" \(logged in as \w+\)", "", line)
    return " ".join(line.split())


def numbered(text: str, first: int) -> str:
    """The page's revisions as they are numbered here."""
    return re.sub(r"\b10([4-8])\b", lambda found: str(first + int(found[1]) - 4), text)


@contextlib.asynccontextmanager
async def a_node_that_follows(dsn: str) -> AsyncIterator[None]:
    """mx-1 reports again and again that it has applied what is newest."""

    async def follow() -> None:
        async with connection_to(dsn) as db:
            while True:
                await node(db, "mx-1", await head(db))
                await asyncio.sleep(0.05)

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


@contextlib.asynccontextmanager
async def a_site(dsn: str, db: Connection, environ: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """The example policy, a service that answers from it, and a node."""
    await import_example(db, example_root())
    await make_token(db)
    async with serving(make_config(dsn)) as service, a_node_that_follows(dsn):
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        for name, value in (("URL", service.url), ("ADMIN_URL", service.admin_url), ("TOKEN", TOKEN)):
            environ.setenv(f"POLICYD_CLIENT_{name}", value)
        yield service


def missing(expected: list[str], said: str) -> str | None:
    """The first of the page's lines that is not in what was said, in the same order."""
    seen = iter([alike(line) for line in said.splitlines()])
    for line in expected:
        begins, cut, _ = alike(line).partition("…")
        if begins and not any(each.startswith(begins) if cut else each == begins for each in seen):
            return line
    return None


async def test_the_page_is_what_happens(
    dsn: str, db: Connection, policyd: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = list(typed())
    assert len(commands) == 14
    first = 0
    async with a_site(dsn, db, monkeypatch) as service:
        for command, expected in commands:
            if "ticket 4711" in command and not first:
                first = int((await head(db)).split("-")[0])
            program, *arguments = shlex.split(numbered(command, first))
            if program == "echo":
                Path(arguments[2]).write_text(arguments[0], encoding="utf-8")
                continue
            status, out, err = await asyncio.to_thread(policyd, *arguments)
            refused = any(line.startswith("policyd: ") for line in expected)
            assert status == int(refused), (command, out, err)
            assert missing([numbered(line, first) for line in expected], out + err) is None, (out, err)
            await service.reach(await head(db))
