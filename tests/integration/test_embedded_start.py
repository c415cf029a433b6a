"""The embedded PostgreSQL: where it lives, who gets in, what is refused."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from policyd.config import DatabaseConfig, EmbeddedConfig
from policyd.errors import AlreadyRunning, EmbeddedUnavailable
from policyd.store import embedded
from policyd.store.embedded.binaries import programs
from policyd.store.embedded.layout import LONGEST_SOCKET_DIRECTORY
from policyd.store.embedded.server import running_dsn
from policyd.store.pool import close, connect

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")


async def ask(dsn: str, statement: str) -> object:
    connection = await connect(DatabaseConfig(dsn=dsn), purpose="test", statement_timeout=0)
    try:
        return await connection.fetchval(statement)
    finally:
        await close(connection)


@pytest.fixture
def state(fresh_state: Path) -> EmbeddedConfig:
    return EmbeddedConfig(state=fresh_state)


async def test_what_was_written_is_there_after_a_restart(state):
    with embedded.running(state, durable=False) as server:
        await ask(server.dsn(), "create table kept as select 7 as seven")
    with embedded.running(state, durable=False) as server:
        assert await ask(server.dsn(), "select seven from kept") == 7


async def test_it_is_durable_checksummed_and_without_tcp(state):
    with embedded.running(state) as server:
        assert await ask(server.dsn(), "show fsync") == "on"
        assert await ask(server.dsn(), "show data_checksums") == "on"
        assert await ask(server.dsn(), "show listen_addresses") == ""
        assert await ask(server.dsn(), "show server_encoding") == "UTF8"


async def test_variables_of_the_person_have_no_say(state, monkeypatch):
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGUSER", "somebody")
    with embedded.running(state, durable=False) as server:
        assert await ask(server.dsn(), "select current_user") == "postgres"


async def test_a_second_start_says_who_the_first_is(state):
    with embedded.running(state, durable=False) as server:
        with pytest.raises(AlreadyRunning) as caught, embedded.running(state, durable=False):
            pass
        assert caught.value.pid == os.getpid()
        assert f"process {os.getpid()}" in str(caught.value)
        assert await ask(server.dsn(), "select 1") == 1


async def test_a_running_server_is_found_by_its_state_directory(state):
    assert running_dsn(state) is None
    with embedded.running(state, durable=False) as server:
        assert running_dsn(state) == server.dsn()
    assert running_dsn(state) is None


async def test_only_the_owner_enters_the_data_and_the_socket_directory(state):
    with embedded.running(state, durable=False) as server:
        for path in (server.layout.data, server.layout.run):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((server.layout.run / ".s.PGSQL.5432").stat().st_mode) == 0o700


@as_root
async def test_not_even_the_account_that_runs_it_gets_in(state):
    with embedded.running(state, durable=False) as server:
        uid = server.layout.data.stat().st_uid
        assert uid != 0
        psql = programs(state.state, copied=True) / "psql"
        tried = subprocess.run(
            [psql, "-h", server.layout.run, "-U", "postgres", "-c", "select 1"],
            user=uid,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert tried.returncode != 0
        assert "Peer authentication failed" in tried.stderr


@as_root
def test_a_state_directory_that_the_account_cannot_reach_is_refused(fresh_state):
    closed = fresh_state
    closed.mkdir(mode=0o700)
    with (
        pytest.raises(EmbeddedUnavailable, match=f"cannot enter {closed}"),
        embedded.running(EmbeddedConfig(state=closed / "state")),
    ):
        pass
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_an_account_that_does_not_exist_is_refused(fresh_state):
    config = EmbeddedConfig(state=fresh_state, account="nosuchuser")
    with pytest.raises(EmbeddedUnavailable, match="no user nosuchuser"), embedded.running(config):
        pass


def test_modes_of_directories_that_were_there_stay(fresh_state):
    parent = fresh_state
    parent.mkdir(mode=0o755)
    parent.chmod(0o1775)
    with embedded.running(EmbeddedConfig(state=parent / "state"), durable=False):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o1775


async def test_a_path_too_long_for_a_socket_gets_a_short_private_directory(fresh_state):
    state = EmbeddedConfig(state=fresh_state / ("long" * 25) / "er")
    assert len(str(state.state / "run")) > LONGEST_SOCKET_DIRECTORY
    with embedded.running(state, durable=False) as server:
        assert await ask(server.dsn(), "select 1") == 1
        assert running_dsn(state) == server.dsn()
        short = server.layout.run.readlink()
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    with embedded.running(state, durable=False) as server:
        assert server.layout.run.readlink() == short
    short.chmod(0o755)
    with embedded.running(state, durable=False) as server:
        assert server.layout.run.readlink() != short, "somebody else could have put a socket there"
        server.layout.run.readlink()
    for left in (short, server.layout.run.readlink()):
        left.rmdir()


def test_data_of_another_major_version_is_refused_with_the_way_out(state):
    with embedded.running(state, durable=False) as server:
        version = server.layout.data / "PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(EmbeddedUnavailable) as caught, embedded.running(state, durable=False):
        pass
    assert "PostgreSQL 17" in str(caught.value)
    assert caught.value.hint is not None
    assert "pg_dump" in caught.value.hint


def test_a_setup_that_was_cut_off_is_begun_anew(state):
    state.state.mkdir(mode=0o711)
    half = state.state / "data.part-abcdefgh"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with embedded.running(state, durable=False) as server:
        assert server.layout.data.is_dir()
        assert not half.exists()


def test_a_server_that_cannot_start_says_why(state):
    with (
        pytest.raises(EmbeddedUnavailable, match="shared_buffers"),
        embedded.running(state, durable=False, settings={"shared_buffers": "lots"}),
    ):
        pass
    with embedded.running(state, durable=False) as server:
        assert server.pid is not None
