"""What happens to databases as a whole: copies of them, and one put in the place of another."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from policyd.store.pool import Connection
from tests.conftest import Postgres, connection_to


@dataclass(slots=True)
class Replaceable:
    """A database that others can take the place of, as a restore under the same name does."""

    postgres: Postgres
    dsn: str
    _made: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return urlsplit(self.dsn).path.removeprefix("/")

    async def copy(self) -> str:
        """Name of a copy of it as it is now; nobody may be connected to it."""
        async with self.postgres.administrator() as connection:
            return await self._create(connection, self.name)

    async def blank(self) -> str:
        """Name of a database with nothing in it."""
        async with self.postgres.administrator() as connection:
            return await self._create(connection, "template0")

    async def close_doors(self) -> None:
        """Let nobody in, and put out who is there: the first thing that somebody does who replaces a database."""
        async with self.postgres.administrator() as connection:
            await connection.execute(f"alter database {self.name} allow_connections false")
            await connection.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", self.name
            )

    async def replace_by(self, other: str) -> str:
        """Put *other* in its place at once; the name that the replaced one has now."""
        replaced = self._name()
        await self.close_doors()
        async with self.postgres.administrator() as connection, connection.transaction():
            await connection.execute(f"alter database {self.name} rename to {replaced}")
            await connection.execute(f"alter database {other} rename to {self.name}")
        async with self.postgres.administrator() as connection:
            await connection.execute(f"alter database {replaced} allow_connections true")
        return replaced

    @contextlib.asynccontextmanager
    async def connection(self, name: str = "") -> AsyncIterator[Connection]:
        """A connection to it, or to the one of *name*."""
        async with connection_to(self.postgres.dsn(name or self.name)) as connection:
            yield connection

    async def drop_others(self) -> None:
        for name in self._made:
            await self.postgres.drop(name)

    async def _create(self, connection: Connection, template: str) -> str:
        name = self._name()
        await connection.execute(f"create database {name} template {template}")
        return name

    def _name(self) -> str:
        name = f"policyd_test_{uuid.uuid4().hex[:12]}"
        self._made.append(name)
        return name
