"""Every command and snippet of the documentation, run where it can be, and judged where it cannot."""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import click
import lupa.lua54
import pytest
from click.testing import CliRunner

from policyd.cli.main import policyd
from policyd.config_loader import load
from policyd.operate.first_run import import_example, make_examples, make_keys
from policyd.operate.helper_files import read_paths
from policyd.shipped import example_root
from tests.conftest import Postgres, connection_to
from tests.docs.pages import ROOT, WRITTEN, blocks, typed
from tests.integration.conftest import TOKEN, make_config, make_token, serving

ELSEWHERE = {
    *(
        "sudo",
        "systemctl",
        "make",
        "bao",
        "vault",
        "createdb",
        "pg_dump",
        "pg_restore",
        "psql",
        "apt",
        "docker",
    ),
    *("kumod", "python3", "promtool", "man", "dig", "git"),
}
"""What needs another machine than a test has: only what of policyd is in it is judged."""
PLACES = {
    "/opt/kumomta/etc/policy": str(example_root()),
}
"""Where a reader's files are, and where a test's are."""
BEFORE = ("sudo", "env", "(umask", "077")
"""What may stand before a command."""
TOUCHING = ("serve", "up", "migrate", "drill", "wait")
"""Commands of policyd that need more than one database with nobody on it: other tests are about them."""

TOML = [(page, block) for page in WRITTEN for block in blocks(page, "toml")]
LUA = [(page, block) for page in WRITTEN for block in blocks(page, "lua")]
SQL = [(page, block) for page in WRITTEN for block in blocks(page, "sql")]
CONSOLES = [page for page in WRITTEN if blocks(page, "console") and page.name != "mistakes.md"]
"""Pages with something to type; mistakes.md has a test of its own, which types all of it and reads what it says."""


def named(value: object) -> str | None:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None


@pytest.mark.parametrize(("page", "block"), TOML, ids=named)
def test_toml_is_a_configuration_or_the_file_of_policy_that_its_first_line_names(page, block, tmp_path):
    name = re.match(r"# (\w+\.toml)\b", block.text)
    file = tmp_path / (name[1] if name else "policyd.toml")
    file.write_text(block.text)
    file.chmod(0o600)
    if name is None:
        load(environ={"HOME": str(tmp_path)}, file=file)
    else:
        assert not read_paths([str(example_root()), str(file)]).problems


def test_the_configuration_of_the_tutorial_is_one(tmp_path):
    load(environ={"HOME": str(tmp_path)}, file=ROOT / "docs/tutorial.toml")


@pytest.mark.parametrize(("page", "block"), LUA, ids=named)
def test_lua_compiles(page, block):
    runtime = lupa.lua54.LuaRuntime()
    compiled = runtime.eval("function(text) return load(text) end")(
        block.text.replace("…,", "").replace("…", "")
    )
    assert not isinstance(compiled, tuple), compiled


@pytest.mark.parametrize(("page", "block"), SQL, ids=named)
async def test_sql_is_taken(page, block, example):
    """All but what creates a database, which no transaction can do; roles are gone with it."""
    statements = re.sub(r"^create database .*;.*$", "", block.text, flags=re.MULTILINE)
    statements = re.sub(
        r"^create role policyd_(owner|editor|service|reader) .*$", "", statements, flags=re.MULTILINE
    )
    async with connection_to(example) as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            if "grant policyd_editor to alice" in statements:
                await connection.execute("create role alice")
            if statements.strip():
                await connection.execute(statements)
        finally:
            await transaction.rollback()


@pytest.mark.parametrize("page", CONSOLES, ids=named)
def test_a_command_of_policyds_has_the_options_that_a_page_gives_it(page):
    for line, command in commands(page):
        for words in policyds(command):
            context = click.Context(policyd, info_name="policyd")
            found: click.Command = policyd
            while isinstance(found, click.Group) and words:
                name = words.pop(0)
                inner = found.get_command(context, name)
                if (
                    inner is None and found is not policyd
                ):  # `policyd history tenant/acme`: the group answers itself
                    break
                assert inner is not None, f"{page.name}:{line}: there is no command {name}"
                found = inner
            known = {name for each in parameters(found) for name in (*each.opts, *each.secondary_opts)}
            given = {word.split("=")[0] for word in words if word.startswith("--") and word != "--"}
            assert given <= known | {"--help"}, f"{page.name}:{line}: {given - known}"


@pytest.mark.parametrize("page", CONSOLES, ids=named)
async def test_what_a_page_types_works(page, example, keys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runnable = [(line, command) for line, command in commands(page) if runs_here(command)]
    if not runnable:
        pytest.skip("nothing on it can be typed on a machine without systemd, Vault and kumod")
    async with serving(make_config(example, keys=keys)) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "POLICYD_DATABASE_DSN": example,
            "POLICYD_CLIENT_URL": service.url,
            "POLICYD_CLIENT_ADMIN_URL": service.admin_url,
            "POLICYD_CLIENT_TOKEN": TOKEN,
        }
        for line, command in runnable:
            for theirs, ours in PLACES.items():
                command = command.replace(theirs, ours)  # noqa: PLW2901
            status, said = await run(command, environ, tmp_path)
            assert status in statuses(command), f"{page.name}:{line}: {command}\n{said}"


async def run(command: str, environ: dict[str, str], directory: Path) -> tuple[int, str]:
    """Status and output; what is policyd alone runs in this process, because a new one takes half a second to begin."""
    words = shlex.split(command, comments=True)
    if words[0] == "policyd" and not re.search(r"[|<>&]", command):
        done = await asyncio.to_thread(CliRunner(env=environ).invoke, policyd, words[1:])
        return done.exit_code, f"{done.output}{done.exception or ''}"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command,
        cwd=directory, env=environ, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode()


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    """Of a command; of a group that was given no command of its own, those of all that it has."""
    yield from command.params
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from inner.params


def commands(page: Path) -> Iterator[tuple[int, str]]:
    for block in blocks(page, "console"):
        yield from typed(block)


def policyds(command: str) -> list[list[str]]:
    """The arguments of each policyd in a command line."""
    found = []
    for part in re.split(r"[|;&]{1,2}|>", command):
        words = shlex.split(part, comments=True)
        while words and (words[0] in BEFORE or re.match(r"[A-Z_]+=", words[0])):
            words.pop(0)
        if words[:1] == ["-u"]:
            words = words[2:]
        if words and Path(words[0]).name == "policyd" and words[1:]:
            found.append(words[1:])
    return found


def runs_here(command: str) -> bool:
    first = shlex.split(command, comments=True)[0].split("=")[0]
    if first in ELSEWHERE or first.startswith("POLICYD_"):
        return False
    assert first in {"policyd", "openssl", "export", "curl", "rm", "(umask"}, (
        f"say in this test what {first} is: {command}"
    )
    return first != "curl" and not any(words[0] in TOUCHING for words in policyds(command))


def statuses(command: str) -> set[int]:
    """With what a command of a page may end: `doctor` may find what a test has not got."""
    words = next(iter(policyds(command)), [""])
    return {"doctor": {0, 1}}.get(words[0], {0})


@pytest.fixture(scope="module")
def imported(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a database with the example policy, a token, the nodes that pages talk of, and nothing else."""

    async def make() -> str:
        name = await postgres.clone()
        async with connection_to(postgres.dsn(name)) as connection:
            await import_example(connection, example_root())
            await make_examples(connection, tmp_path_factory.mktemp("made") / "credential.json")
            await make_token(connection)
            for node in ("mx-1", "mx-2", "mx-3"):
                await connection.execute(
                    "insert into policy.node (node_id, token, applied_number, applied_stamp)"
                    " select $1, 'test', number, stamp from policy.revision order by number desc limit 1",
                    node,
                )
        return name

    name = asyncio.run(make())
    yield name
    asyncio.run(postgres.drop(name))


@pytest.fixture
async def example(postgres: Postgres, imported: str) -> AsyncIterator[str]:
    """DSN of a copy of it, for one page."""
    name = await postgres.clone(imported)
    yield postgres.dsn(name)
    await postgres.drop(name)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private keys of the example."""
    directory = tmp_path_factory.mktemp("keys")
    make_keys(example_root(), directory)
    return directory
