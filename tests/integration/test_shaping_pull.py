"""`policyd shaping pull`: a file that is whole, checked, and there in an outage."""

import asyncio
import json
import os
import time
import tomllib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from policyd.cli import shaping
from policyd.cli.main import policyd, status_of
from policyd.errors import PolicydError, PolicyInvalid
from policyd.operate.shaping_file import check_shaping, replace_shaping
from policyd.store.pool import Connection
from tests.integration.conftest import TOKEN, Service, head

NOBODY = "http://127.0.0.1:9"


async def pull(file: Path, url: str, token: str = TOKEN) -> Result:
    def invoke() -> Result:
        arguments = ["shaping", "pull", str(file), "--url", url, "--set", f"client.token={token}"]
        return CliRunner().invoke(policyd, arguments)

    return await asyncio.to_thread(invoke)  # the command has a loop of its own


def status(result: Result) -> int:
    return status_of(result.exception) if isinstance(result.exception, PolicydError) else result.exit_code


@asynccontextmanager
async def answering(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[str]:
    """Something else than policyd at a URL."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that holds nothing but what is pulled."""
    path = tmp_path / "pulled"
    path.mkdir()
    return path


async def test_the_file_follows_the_rows_and_the_status_says_whether_it_changed(
    service: Service, db: Connection, directory: Path
) -> None:
    await db.execute(
        "insert into policy.shaping_domain (domain, options) values ('a.test', '{\"smtp_port\": 26}')"
    )
    await service.reach(await head(db))
    as_json, as_toml = directory / "shaping.json", directory / "shaping.toml"
    for file in (as_json, as_toml):
        assert [status(await pull(file, service.url)) for _ in range(2)] == [0, 5]
    said = {"a.test": {"smtp_port": 26}}
    assert json.loads(as_json.read_text()) == tomllib.loads(as_toml.read_text()) == said
    await db.execute("update policy.shaping_domain set mx_rollup = false")
    await service.reach(await head(db))
    assert [status(await pull(as_json, service.url)) for _ in range(2)] == [0, 5]
    assert json.loads(as_json.read_text())["a.test"]["mx_rollup"] is False
    assert sorted(path.name for path in directory.iterdir()) == ["shaping.json", "shaping.toml"]


async def test_an_outage_a_wrong_token_and_a_stranger_leave_the_file_as_it_is(
    service: Service, directory: Path
) -> None:
    file = directory / "shaping.json"
    file.write_text('{"default": {}}')

    def page(request: web.Request) -> web.Response:
        return web.Response(text="<html>", headers={})

    def moved(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": service.url + request.path})

    def stale(request: web.Request) -> web.Response:
        return web.Response(text="{}", headers={"Policy-Position": "1-00000000", "Policy-Stale": "true"})

    def broken(request: web.Request) -> web.Response:
        return web.Response(text='{"a.test": {"automation": 1}}', headers={"Policy-Position": "1-00000000"})

    assert status(await pull(file, NOBODY)) == 3
    assert status(await pull(file, service.url, token="nobody.0123456789abcdef0123")) == 1
    for answer, expected in ((page, 3), (moved, 1), (stale, 3), (broken, 1)):
        async with answering(answer) as url:
            assert status(await pull(file, url)) == expected, answer
    assert file.read_text() == '{"default": {}}'
    assert [path.name for path in directory.iterdir()] == ["shaping.json"]


async def test_it_goes_on_pulling_through_an_outage(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shaping.json"
    urls = iter([NOBODY, service.url, service.url])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    pull_once = shaping._pull
    monkeypatch.setattr(
        shaping, "_pull", lambda url, token, path: pull_once(next(urls) + "/shaping.json", token, path)
    )

    def invoke() -> Result:
        arguments = ["shaping", "pull", str(file), "--every", "30s", "--set", f"client.token={TOKEN}"]
        return CliRunner().invoke(policyd, arguments)

    result = await asyncio.to_thread(invoke)
    assert slept == [30, 30, 30]
    assert "does not answer" in result.stderr
    assert result.stdout.count("new") == 1
    assert file.read_text() == "{}\n"


async def test_a_stale_answer_is_better_than_no_file(tmp_path: Path) -> None:
    def stale(request: web.Request) -> web.Response:
        return web.Response(text="{}", headers={"Policy-Position": "1-00000000", "Policy-Stale": "true"})

    async with answering(stale) as url:
        assert status(await pull(tmp_path / "shaping.json", url)) == 0


@pytest.mark.parametrize("path", ["/shaping.json", "/shaping.toml"])
async def test_a_person_can_look_at_the_file(service: Service, db: Connection, path: str) -> None:
    await db.execute("insert into policy.shaping_domain (domain, mx_rollup) values ('a.test', false)")
    await service.reach(await head(db))

    def invoke() -> Result:
        settings = [f"client.url={service.url}", f"client.token={TOKEN}"]
        options = [part for setting in settings for part in ("--set", setting)]
        return CliRunner().invoke(policyd, ["lookup", path, *options])

    result = await asyncio.to_thread(invoke)
    assert result.exit_code == 0, result.output
    assert "a.test" in result.output
    assert "mx_rollup" in result.output


def test_a_file_of_another_ending_is_a_mistake_on_the_command_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(policyd, ["shaping", "pull", str(tmp_path / "shaping.txt")])
    assert (result.exit_code, ".json or .toml" in result.output) == (2, True)


def test_mode_and_link_stay_and_the_first_file_can_be_read_by_others(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "shaping.json"
    assert replace_shaping(real, b"1")
    assert real.stat().st_mode & 0o777 == 0o644
    real.chmod(0o640)
    link.symlink_to(real)
    assert replace_shaping(link, b"2")
    assert (link.is_symlink(), real.read_bytes(), real.stat().st_mode & 0o777) == (True, b"2", 0o640)
    before = real.stat()
    assert not replace_shaping(link, b"2")
    assert real.stat().st_ino == before.st_ino


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "shaping.json"
    file.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_shaping(file, b"new")
    assert (file.read_bytes(), [path.name for path in tmp_path.iterdir()]) == (b"old", ["shaping.json"])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("s.json", b"{"),
        ("s.json", b"{} // why not"),
        ("s.json", b"\xff"),
        ("s.json", b'{"a.test": {"smtp_port": null}}'),
        ("s.json", b"[]"),
        ("s.json", b'{"a.test": {"smtp_port": NaN}}'),
        ("s.toml", b"a = "),
        ("s.toml", b"[provider.p]\nmatch = [{ X = 'y' }]"),
        ("s.toml", b"[[default.automation]]\nregex = 'x'"),
    ],
)  # fmt: skip
def test_what_the_loader_could_not_read_is_not_taken(name: str, data: bytes) -> None:
    with pytest.raises(PolicyInvalid):
        check_shaping(name, data)


def test_what_the_service_writes_is_taken() -> None:
    check_shaping("s.json", b"{}\n")
    check_shaping("s.toml", b"")
