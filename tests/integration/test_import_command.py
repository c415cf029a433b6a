"""`policyd import` as an operator runs it."""

import asyncio
import os
import re
from pathlib import Path

import asyncpg
import pytest
from click.testing import CliRunner, Result

from policyd.cli.transfer import import_files
from policyd.errors import ConfigError, PolicyInvalid
from tests.integration.signing import KeyFiles
from tests.unit.keys.pems import ed25519_pem, rsa_pem

ROOT = Path(__file__).parents[2]


async def run(dsn: str, *arguments: str | Path) -> Result:
    def invoke() -> Result:
        return CliRunner().invoke(
            import_files, [f"--set=database.dsn={dsn}", *(str(each) for each in arguments)]
        )

    return await asyncio.to_thread(invoke)  # the command has a loop of its own


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "listener_domains.json").write_text('{ // comments are fine\n "a.com": {"relay_to": true} }')
    (tmp_path / "sources.toml").write_text(
        '[source."s"]\nsocks5_proxy_username = "me"\nsocks5_proxy_password = "canary"'
    )
    (tmp_path / "queues.toml").write_text('[queue."*.b.com"]\nmax_age = 60\n[queue."x.y.b.com"]\n')
    (tmp_path / "shaping.toml").write_text('["gmail.com"]\nmx_rollup = true')
    (tmp_path / "README.md").write_text("not for policyd")
    (tmp_path / "other.json").write_text("[]")
    return tmp_path


async def test_a_directory_is_imported_and_what_is_left_out_is_said(dsn: str, directory: Path) -> None:
    result = await run(dsn, directory)
    assert result.exit_code == 0, result.output
    assert "Imported as revision " in result.output
    assert "other.json: left out:" in result.output
    assert "shaping_domain" in result.output
    assert "on_missing becomes stock" in result.output
    assert "y.b.com: KumoMTA answers nothing but the default, policyd answers *.b.com" in result.output
    assert "['socks5_proxy_password_s'] = '…'," in result.output
    assert "canary" not in result.output
    assert "README" not in result.output
    again = await run(dsn, directory)
    assert "Nothing changed." in again.output


async def test_a_dry_run_shows_the_rows_and_keeps_none(
    dsn: str, directory: Path, db: asyncpg.Connection
) -> None:
    result = await run(dsn, "--dry-run", directory)
    assert "+ listener_domain * a.com: relay_to true" in result.output
    assert "Dry run: nothing was changed." in result.output
    assert await db.fetchval("select count(*) from policy.listener_domain") == 0
    await run(dsn, directory)
    (directory / "listener_domains.json").write_text('{"a.com": {"relay_to": false}}')
    result = await run(dsn, "--dry-run", directory)
    assert "~ listener_domain * a.com: relay_to true → false" in result.output


async def test_a_kind_can_be_said(dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('["a.com"]\n')
    result = await run(dsn, path)
    assert isinstance(result.exception, PolicyInvalid)
    assert f"say it: KIND={path}" in str(result.exception)
    assert (await run(dsn, f"listener_domains={path}")).exit_code == 0


async def test_files_that_cannot_be_read_are_all_named(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "sources.toml").write_text("[source")
    (tmp_path / "queues.toml").write_bytes(b"\xff")
    (tmp_path / "empty").mkdir()
    result = await run(dsn, tmp_path / "nowhere.toml", tmp_path, tmp_path / "empty")
    assert isinstance(result.exception, PolicyInvalid)
    where = [Path(problem.where).name for problem in result.exception.problems]
    assert sorted(where) == ["empty", "nowhere.toml", "queues.toml", "sources.toml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
async def test_a_directory_that_may_not_be_read_is_a_problem_too(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    result = await run(dsn, tmp_path / "closed")
    assert f"{tmp_path / 'closed'}: cannot be read: Permission denied" in str(result.exception)


async def test_long_lists_are_cut_unless_all_is_asked_for(dsn: str, tmp_path: Path) -> None:
    path = tmp_path / "listener_domains.toml"
    path.write_text("".join(f'["d{i}.com"]\nrelay_to = true\nttl = 5\n' for i in range(50)))
    assert "… and 30 more (--all)" in (await run(dsn, "--dry-run", path)).output
    assert "+ listener_domain * d49.com" in (await run(dsn, "--dry-run", "--all", path)).output


async def test_a_listener_is_given_its_name(dsn: str, tmp_path: Path, db: asyncpg.Connection) -> None:
    path = tmp_path / "listener_domains.toml"
    path.write_text('[listener."[::1]:25"."a.com"]\n')
    assert (await run(dsn, "--listener-name", "[::1]:25=mx", path)).exit_code == 0
    assert await db.fetchval("select listener from policy.listener_domain") == "mx"
    assert "IP:PORT=NAME" in (await run(dsn, "--listener-name", "mx", path)).output


async def test_without_a_database_it_says_what_to_start(tmp_path: Path) -> None:
    arguments = [f"--state={tmp_path}", str(ROOT / "deploy/example")]
    result = await asyncio.to_thread(CliRunner().invoke, import_files, arguments)
    assert isinstance(result.exception, ConfigError)
    assert "policyd up" in (result.exception.hint or "")


async def test_keys_that_are_missing_or_of_no_use_are_named_and_the_root_to_configure(
    dsn: str, tmp_path: Path
) -> None:
    keys = KeyFiles(tmp_path / "keys")
    keys.write("a.com/s1", ed25519_pem())
    keys.write("b.com/s1", ed25519_pem())
    keys.write("c.com/s1", b"canary")
    foreign = KeyFiles(tmp_path / "elsewhere")
    foreign.write("f", rsa_pem())
    (tmp_path / "dkim_data.toml").write_text(
        f"""
        [base]
        selector = "s1"
        headers = ["From"]
        [domain."a.com"]
        [domain."b.com"]
        algo = "sha256"
        [domain."c.com"]
        [domain."d.com"]
        [domain."*.e.com"]
        [domain."f.com"]
        filename = "{tmp_path}/elsewhere/f.key"
        [domain."g.com"]
        filename = "{tmp_path}/keys/a.com/s1.key"
        """
    )
    result = await run(dsn, "--keys", keys.directory, tmp_path / "dkim_data.toml")
    assert result.exit_code == 0, result.output
    assert 'domain."b.com": ' in result.output
    assert "s1.key is for ed25519, and algo is sha256" in result.output
    assert "private key default:c.com/s1 cannot be read" in result.output
    assert f'domain."d.com": there is no {keys.directory}/d.com/s1.key' in result.output
    for fine in ("a.com", "*.e.com", "f.com", "g.com"):
        assert (
            f'domain."{fine}": ' not in result.output.partition("Private keys: mail")[2].partition("\n\n")[0]
        )
    assert f'  [keys.default]\n  dir = "{keys.directory}"' in result.output
    assert re.search(rf'\[keys\.[a-z0-9-]+\]\n  dir = "{tmp_path}/elsewhere"', result.output)
    assert "canary" not in result.output
    known = await run(dsn, f"--set=keys.default.dir={keys.directory}", "--keys", keys.directory, tmp_path)
    assert "[keys.default]" not in known.output
