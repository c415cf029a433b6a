"""What tests of every tier share: one server for the session, one database for each test."""

import asyncio
import contextlib
import glob
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from policyd.config import DatabaseConfig, EmbeddedConfig
from policyd.store import embedded
from policyd.store.migrate import migrate
from policyd.store.pool import Connection, close, connect
from tests.chaos.beside import (
    chaos_run,
    pytest_collection_modifyitems,
    pytest_sessionstart,
    pytest_unconfigure,
)

__all__ = ["chaos_run", "pytest_collection_modifyitems", "pytest_sessionstart", "pytest_unconfigure"]

TEMPLATE = f"policyd_template_{uuid.uuid4().hex[:8]}"

# Thousands of databases come and go: what they were need not be kept.
SMALL = {"max_wal_size": "256MB", "min_wal_size": "80MB", "wal_level": "minimal", "max_wal_senders": "0"}

# The person's own service and database are none of a test's business. Workers of pytest-xdist get the environment
# of who starts them, and have to learn of a server to test with.
TEST_DSN = os.environ.pop("POLICYD_TEST_DSN", os.environ.get("TEST_DSN", ""))
if TEST_DSN:
    os.environ["TEST_DSN"] = TEST_DSN
for variable in list(os.environ):
    if variable.startswith(("POLICYD_", "PG", "VAULT_", "BAO_")):
        del os.environ[variable]


@contextlib.asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator[Connection]:
    connection = await connect(DatabaseConfig(dsn=dsn), purpose="test", statement_timeout=0)
    try:
        yield connection
    finally:
        await close(connection)


class Postgres:
    """A server to make databases in."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def dsn(self, database: str = "postgres") -> str:
        """DSN of one of its databases, as a superuser."""
        parts = urlsplit(self._dsn)
        return urlunsplit(parts._replace(path=f"/{database}"))

    @contextlib.asynccontextmanager
    async def administrator(self) -> AsyncIterator[Connection]:
        async with connection_to(self.dsn()) as connection:
            yield connection

    async def clone(self, template: str = TEMPLATE) -> str:
        """Name of a new database that is as the migrations left it, or as *template* is."""
        name = f"policyd_test_{uuid.uuid4().hex[:12]}"
        async with self.administrator() as connection:
            await connection.execute(f"create database {name} template {template} strategy file_copy")
        return name

    async def drop(self, name: str) -> None:
        async with self.administrator() as connection:
            await connection.execute(f"drop database if exists {name} with (force)")


@pytest.fixture(scope="session")
def state_directory() -> Iterator[Path]:
    """Directory that the user who runs PostgreSQL can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="policyd-test-", dir=in_memory()))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def in_memory() -> str | None:
    """A directory in memory, where there is one with room to spare."""
    # A clone of the template is 330 files: 40 ms in memory, 340 ms on a disk (ext4).
    shared = Path("/dev/shm")
    if not shared.is_dir() or not os.access(shared, os.W_OK):
        return None
    found = os.statvfs(shared)
    is_roomy = found.f_bavail * found.f_frsize >= 2 * 2**30
    return str(shared) if is_roomy and not found.f_flag & os.ST_NOEXEC else None


@pytest.fixture
def fresh_state(state_directory: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Path of a state directory of the test's own, which is not there yet."""
    name: str = request.node.name
    path = state_directory / name.removeprefix("test_")[:40]
    yield path
    for each in state_directory.glob(f"{glob.escape(path.name)}*"):
        shutil.rmtree(each)


@pytest.fixture(scope="session")
def postgres(state_directory: Path) -> Iterator[Postgres]:
    """Server with the migrated template database: an embedded one, or the one that POLICYD_TEST_DSN names."""
    with contextlib.ExitStack() as stack:
        dsn = TEST_DSN
        if not dsn:
            config = EmbeddedConfig(state=state_directory / "session")
            dsn = stack.enter_context(embedded.running(config, durable=False, settings=SMALL)).dsn("postgres")
        server = Postgres(dsn)
        with asyncio.Runner() as runner:
            runner.run(_make_template(server))
        yield server
        with asyncio.Runner() as runner:
            runner.run(server.drop(TEMPLATE))


async def _make_template(server: Postgres) -> None:
    async with server.administrator() as connection:
        await connection.execute(f"create database {TEMPLATE}")
    async with connection_to(server.dsn(TEMPLATE)) as connection:
        await migrate(connection)
        await connection.execute("vacuum analyze")


@pytest.fixture
async def dsn(postgres: Postgres) -> AsyncIterator[str]:
    """DSN of a fresh clone of the template, dropped afterwards."""
    name = await postgres.clone()
    yield postgres.dsn(name)
    await postgres.drop(name)


@pytest.fixture
async def empty_dsn(postgres: Postgres) -> AsyncIterator[str]:
    """DSN of a database that no migration has seen."""
    name = f"policyd_test_{uuid.uuid4().hex[:12]}"
    async with postgres.administrator() as connection:
        await connection.execute(f"create database {name} template template0")
    yield postgres.dsn(name)
    await postgres.drop(name)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Connection]:
    """Connection to that database as a superuser."""
    async with connection_to(dsn) as connection:
        yield connection
