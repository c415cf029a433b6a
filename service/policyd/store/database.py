"""The service's database: everything that it asks, each with a deadline, on connections of its own kind."""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from policyd.config import DatabaseConfig
from policyd.observe.events import BackendAnswered, Observer
from policyd.policy.node import NodeReport
from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.store import changes, documents, nodes
from policyd.store.pool import Connection, Connections, listening

CHANNEL = "policy"
BULK = 5_000
"""More changed documents of one kind than this are told as a floor."""
BATCH_STATEMENTS = 2
"""Statements for lookups that run at a time: one is read while the other one's answer is taken apart."""


@dataclass(frozen=True, slots=True)
class Log:
    """An open connection to the change log that hears notifications."""

    connection: Connection
    observe: Observer

    async def read(self, since: Position | None) -> changes.Reading:
        """What happened after *since*, up to the head."""
        began = time.perf_counter()
        reading = await changes.read_changes(self.connection, since, most_tags=BULK)
        self.observe(
            BackendAnswered(backend="postgresql", operation="changes", seconds=time.perf_counter() - began)
        )
        return reading


class Database:
    """PostgreSQL as the service asks it; every method raises DatabaseUnavailable when it does not answer."""

    def __init__(self, config: DatabaseConfig, observe: Observer) -> None:
        self._config = config
        self._observe = observe
        self._lookups = Connections(config, purpose="lookups", most=BATCH_STATEMENTS, observe=observe)
        self._questions = Connections(config, purpose="questions", most=config.connections, observe=observe)

    @asynccontextmanager
    async def log(self, wake: Callable[[], None]) -> AsyncIterator[Log]:
        """A connection to the change log; *wake* is called at notifications and when it is lost."""
        async with listening(self._config, CHANNEL, wake) as connection:
            yield Log(connection, self._observe)

    async def read_documents(self, tags: Iterable[str]) -> tuple[Position, Documents]:
        """The documents that exist among *tags*, and their snapshot's position."""
        async with self._lookups.use("documents") as connection:
            return await documents.read_documents(connection, tags)

    async def read_changes(self, since: Position) -> changes.Reading:
        """What happened after a position that the feed's own window does not reach back to."""
        async with self._questions.use("changes") as connection:
            return await changes.read_changes(connection, since, most_tags=BULK)

    async def holds_position(self, position: Position) -> bool:
        """Whether *position* is of this database's history."""
        async with self._questions.use("position") as connection:
            return await changes.holds_position(connection, position)

    async def read_names(self, kind: str, after: str, limit: int) -> tuple[Position, list[str]]:
        """A page of the tags of one kind's documents, and its snapshot's position."""
        async with self._questions.use("names") as connection:
            return await documents.read_names(connection, kind, after=after, limit=limit)

    async def write_report(self, report: NodeReport, token: str | None) -> None:
        """Keep what a node said of itself."""
        async with self._questions.use("node") as connection:
            await nodes.write_report(connection, report, token)

    async def close(self) -> None:
        """Close what is open."""
        await self._lookups.close()
        await self._questions.close()
