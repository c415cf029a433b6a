"""After kill -9 of policyd, of PostgreSQL, or of both: the next start works, and nobody else's process is touched."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from policyd.config import DatabaseConfig, EmbeddedConfig
from policyd.errors import DatabaseUnavailable, EmbeddedUnavailable
from policyd.store import embedded
from policyd.store.embedded.binaries import programs
from policyd.store.embedded.leftovers import ended, processes
from policyd.store.embedded.server import running_dsn
from policyd.store.pool import close, connect

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are recognised in /proc")

# A policyd that runs the database until it is told to stop, or killed.
POLICYD = """
import sys
from pathlib import Path
from policyd.config import EmbeddedConfig
from policyd.store import embedded
from policyd.store.embedded import server
if "--orphan" in sys.argv:
    launch = server.launch
    server.launch = lambda *a, **k: launch(*a, **{**k, "on_our_death": 0})
with embedded.running(EmbeddedConfig(state=Path(sys.argv[1])), durable=False) as running:
    print(running.pid, flush=True)
    sys.stdin.read()
"""


class Policyd:
    """Another policyd, with the handles of its processes."""

    def __init__(self, state: Path, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", POLICYD, str(state), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.server = int(_stream(self.process.stdout).readline())
        self.server_handle = os.pidfd_open(self.server)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        _stream(self.process.stdin).close()
        self.process.wait()
        _stream(self.process.stdout).close()
        os.close(self.server_handle)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


@contextlib.contextmanager
def another_policyd(config: EmbeddedConfig, *flags: str) -> Iterator[Policyd]:
    policyd = Policyd(config.state, *flags)
    try:
        yield policyd
    finally:
        policyd.close()


@pytest.fixture
def state(fresh_state: Path) -> EmbeddedConfig:
    return EmbeddedConfig(state=fresh_state)


@contextlib.contextmanager
def bystander(config: EmbeddedConfig, *, cwd: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the user who runs PostgreSQL that has nothing to do with us."""
    owner = (config.state / "data").stat().st_uid
    process = subprocess.Popen(["sleep", "600"], user=owner, cwd=cwd or "/")
    try:
        yield process
        assert process.poll() is None, "somebody else's process was ended"
    finally:
        process.kill()
        process.wait()


async def ask(dsn: str, statement: str) -> object:
    connection = await connect(DatabaseConfig(dsn=dsn), purpose="test", statement_timeout=0)
    try:
        return await connection.fetchval(statement)
    finally:
        await close(connection)


async def it_starts(config: EmbeddedConfig) -> None:
    with embedded.running(config, durable=False) as server:
        assert await ask(server.dsn(), "select 1") == 1


async def test_killing_policyd_ends_the_database_by_itself(state):
    with another_policyd(state) as policyd:
        policyd.kill()
        assert ended(policyd.server_handle, 10)
    await it_starts(state)


async def test_an_orphaned_server_is_stopped_by_the_next_start(state):
    with another_policyd(state, "--orphan") as policyd:
        policyd.kill()
        assert not ended(policyd.server_handle, 0.2)
        await it_starts(state)
        assert ended(policyd.server_handle, 0)


async def test_killing_the_server_leaves_nothing_that_stops_the_next_start(state):
    with another_policyd(state) as policyd:
        os.kill(policyd.server, signal.SIGKILL)
    await it_starts(state)


async def test_killing_both_at_once_leaves_nothing_that_stops_the_next_start(state):
    with another_policyd(state) as policyd:
        os.kill(policyd.server, signal.SIGKILL)
        policyd.kill()
        await it_starts(state)


async def test_policyd_notices_that_its_server_was_killed(state):
    with embedded.running(state, durable=False) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert await asyncio.wait_for(server.ended(), 10) == -signal.SIGKILL
        server.start()
        assert await ask(server.dsn(), "select 1") == 1


async def test_a_backend_that_outlives_its_server_does_not_stop_the_next_start(state):
    with another_policyd(state, "--orphan") as policyd:
        dsn = running_dsn(state)
        assert dsn is not None
        connection = await connect(DatabaseConfig(dsn=dsn), purpose="test", statement_timeout=0)
        busy = asyncio.create_task(connection.execute("do $$ begin loop end loop; end $$"))
        backend = os.pidfd_open(connection.get_server_pid())
        await asyncio.sleep(0)
        os.kill(policyd.server, signal.SIGKILL)
        policyd.kill()
        await it_starts(state)
        assert ended(backend, 0)
        os.close(backend)
        with pytest.raises(Exception, match="connection"):
            await busy


async def test_a_number_that_somebody_else_has_by_now_is_left_alone(state):
    await it_starts(state)
    with bystander(state) as process:
        pid_file = state.state / "data" / "postmaster.pid"
        pid_file.write_text(f"{process.pid}\n{pid_file.parent}\n1\n5432\n/nowhere\n\n 1 1\nready\n")
        await it_starts(state)


async def test_a_shell_in_the_data_directory_is_left_alone(state):
    await it_starts(state)
    with bystander(state, cwd=state.state / "data"):
        assert list(processes(state.state / "data")) == []
        await it_starts(state)


async def test_a_server_that_somebody_started_by_hand_is_named_and_left_alone(state):
    with embedded.running(state, durable=False) as server:
        data, owner = server.layout.data, server.layout.data.stat().st_uid
        binaries = programs(state.state, copied=os.geteuid() == 0)
    by_hand = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-c", "listen_addresses=", "-k", state.state / "run"],
        user=owner,
        cwd="/",
        stderr=subprocess.DEVNULL,
    )
    try:
        while not list(processes(data)):
            select.select([], [], [], 0.01)
        with (
            pytest.raises(EmbeddedUnavailable, match=f"process {by_hand.pid} uses .* did not start it"),
            embedded.running(state, durable=False),
        ):
            pass
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait()
    await it_starts(state)


async def test_a_stopped_server_does_not_answer(state):
    with embedded.running(state, durable=False) as server:
        dsn = server.dsn()
    with pytest.raises(DatabaseUnavailable):
        await ask(dsn, "select 1")
