"""Databases with as many listener domains as a row of the table needs, on an embedded PostgreSQL of their own."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from policyd.config import DatabaseConfig, EmbeddedConfig
from policyd.policy.token import hash_secret
from policyd.store import embedded
from policyd.store.embedded import Server
from policyd.store.migrate import migrate
from policyd.store.pool import Connection, close, connect

TOKEN = "bench.0123456789abcdefghijklmnopqrstuv"
_COLUMNS = ("domain", "relay_to", "relay_from", "log_oob")
_EMPTY = "bench_empty"
_SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    # What is measured is measured between vacuums that the bench asks for.
    "autovacuum": "off",
}


@contextlib.asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator[Connection]:
    """A connection without deadlines."""
    connection = await connect(DatabaseConfig(dsn=dsn), purpose="bench", statement_timeout=0)
    try:
        yield connection
    finally:
        await close(connection)


class Databases:
    """Makes databases by the number of their rows, each once."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: dict[str, str] = {}
        self.load_seconds: dict[int, float] = {}
        self.dkim_load_seconds = 0.0

    async def empty(self) -> None:
        """Migrate the database that the others are copies of."""
        async with connection_to(self._server.dsn("postgres")) as connection:
            await connection.execute(f"create database {_EMPTY}")
        async with connection_to(self._server.dsn(_EMPTY)) as connection:
            await migrate(connection)
            name, secret = TOKEN.split(".")
            await connection.execute(
                "insert into policy.api_token (name, sha256, scopes) values ($1, $2, array['lookup', 'status', 'dkim'])",
                name,
                hash_secret(secret),
            )

    async def with_rows(self, rows: int, suffix: str = "") -> str:
        """DSN of the database with *rows* listener domains (another one for each *suffix*)."""
        name = f"bench_{rows}{suffix}"
        if name not in self._made:
            async with connection_to(self._server.dsn("postgres")) as connection:
                await connection.execute(f"create database {name} template {_EMPTY} strategy file_copy")
            self._made[name] = self._server.dsn(name)
            await self._fill(self._made[name], rows)
        return self._made[name]

    async def with_dkim(self, rows: int, keys: int) -> str:
        """DSN of a database with *rows* domains that sign with *keys* shared keys."""
        name = f"bench_dkim_{rows}"
        if name not in self._made:
            async with connection_to(self._server.dsn("postgres")) as connection:
                await connection.execute(f"create database {name} template {_EMPTY} strategy file_copy")
            self._made[name] = self._server.dsn(name)
            async with connection_to(self._made[name]) as connection:
                began = time.perf_counter()
                await connection.copy_records_to_table(
                    "dkim_domain",
                    schema_name="policy",
                    columns=("domain", "selector", "key_name"),
                    records=((f"d{n:08d}.example.com", "s1", f"shared/k{n % keys}") for n in range(rows)),
                )
                self.dkim_load_seconds = time.perf_counter() - began
                await connection.execute("vacuum analyze")
        return self._made[name]

    async def _fill(self, dsn: str, rows: int) -> None:
        async with connection_to(dsn) as connection:
            began = time.perf_counter()
            await connection.copy_records_to_table(
                "listener_domain", schema_name="policy", columns=_COLUMNS, records=_domains(rows)
            )
            self.load_seconds[rows] = time.perf_counter() - began
            await connection.execute("vacuum analyze")


@contextlib.contextmanager
def databases() -> Iterator[Databases]:
    """An embedded server in a temporary directory, not durable: disks are not what is measured."""
    state = Path(tempfile.mkdtemp(prefix="policyd-bench-"))
    state.chmod(0o711)
    try:
        with embedded.running(
            EmbeddedConfig(state=state / "state"), durable=False, settings=_SETTINGS
        ) as server:
            yield Databases(server)
    finally:
        shutil.rmtree(state)


def _domains(rows: int) -> Iterator[tuple[str, bool, list[str], str]]:
    for number in range(rows):
        yield f"d{number:08d}.example.com", True, ["192.0.2.0/24", "198.51.100.0/24"], "LogThenDrop"
