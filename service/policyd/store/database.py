"""The service's database: everything that it asks, each with a deadline, on connections of its own kind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from policyd.config import DatabaseConfig
from policyd.errors import DatabaseUnavailable, MigrationFailed, SchemaIncompatible, StatementRefused
from policyd.observe.events import BackendAnswered, Observer
from policyd.policy.dkim import Place
from policyd.policy.node import NodeReport, NodeState
from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.store import changes, dkim_keys, documents, nodes
from policyd.store.migrate import check_schema
from policyd.store.pool import Connection, Connections, listening, refuse_read_only
from policyd.store.retention import Pruned, prune_some

CHANNEL = "policy"
BULK = 5_000
"""More changed documents of one kind than this are told as a floor."""
BATCH_STATEMENTS = 2
"""Statements for lookups that run at a time: one is read while the other one's answer is taken apart."""
_UNMIGRATED = " (its schema is not this policyd's: run policyd migrate)"
_REMEDIES = {
    "42501": " (the role that policyd logs in as has to be a member of policyd_service)",
    "3F000": _UNMIGRATED,
    "42P01": _UNMIGRATED,
    "42703": _UNMIGRATED,
    "42883": _UNMIGRATED,
}
"""What mends a refusal, by its SQLSTATE: a right, a schema, table, column or function is missing."""


@dataclass(frozen=True, slots=True)
class Log:
    """An open connection to the change log that hears notifications."""

    connection: Connection
    observe: Observer

    async def read(self, since: Position | None) -> changes.Reading:
        """What happened after *since*, up to the head; DatabaseUnavailable when this is no primary any more."""
        began = time.perf_counter()
        reading = await changes.read_changes(self.connection, since, most_tags=BULK)
        refuse_read_only(self.connection)
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
        with _asking_again_may_help():
            async with listening(self._config, CHANNEL, wake) as connection:
                # A service may have started without PostgreSQL, and a restore may bring another schema.
                await check_schema(connection)
                # The feed decides which server is followed: after a failover nothing may still ask the other one.
                self._lookups.renew()
                self._questions.renew()
                yield Log(connection, self._observe)

    async def read_documents(self, tags: Iterable[str]) -> tuple[Position, Documents]:
        """The documents that exist among *tags*, and their snapshot's position."""
        async with self._use(self._lookups, "documents") as connection:
            return await documents.read_documents(connection, tags)

    async def read_changes(self, since: Position) -> changes.Reading:
        """What happened after a position that the feed's own window does not reach back to."""
        async with self._use(self._questions, "changes") as connection:
            return await changes.read_changes(connection, since, most_tags=BULK)

    async def holds_position(self, position: Position) -> bool:
        """Whether *position* is of this database's history."""
        async with self._use(self._questions, "position") as connection:
            return await changes.holds_position(connection, position)

    async def read_names(self, kind: str, after: str, limit: int) -> tuple[Position, list[str]]:
        """A page of the tags of one kind's documents, and its snapshot's position."""
        async with self._use(self._questions, "names") as connection:
            return await documents.read_names(connection, kind, after=after, limit=limit)

    async def write_report(self, report: NodeReport, token: str | None) -> None:
        """Keep what a node said of itself."""
        async with self._use(self._questions, "node") as connection:
            await nodes.write_report(connection, report, token)

    async def read_nodes(self) -> Sequence[NodeState]:
        """What every node said last."""
        async with self._use(self._questions, "nodes") as connection:
            return await nodes.read_states(connection)

    async def forget_silent_nodes(self, seconds: float) -> Sequence[str]:
        """Forget the nodes that have been silent for so long; their names."""
        async with self._use(self._questions, "nodes") as connection:
            return await nodes.forget_silent(connection, seconds)

    async def prune_history(self, keep: float, most: int) -> Pruned | None:
        """Delete at most *most* rows of the log older than *keep* seconds; None while another replica is at it."""
        async with self._use(self._questions, "prune") as connection:
            return await prune_some(connection, keep=keep, most=most)

    async def note_dkim_key(
        self, place: Place, key_id: str, algorithm: str, known: str | None
    ) -> dict[str, str]:
        """Note the key read at a place by who knew *known* there; what is known there then."""
        async with self._use(self._questions, "key") as connection:
            return await dkim_keys.note(connection, place, key_id, algorithm, known)

    async def known_dkim_key(self, place: Place) -> str | None:
        """The key_id that is known at a place."""
        _, found = await self.read_documents([place.tag])
        return found[place.tag]["key_id"] if place.tag in found else None

    async def count_dkim_keys(self, root: str) -> int:
        """How many keys of a root have been seen."""
        async with self._use(self._questions, "key") as connection:
            return await dkim_keys.count(connection, root)

    async def seen_dkim_keys(self, root: str, after: str, limit: int) -> list[tuple[str, str]]:
        """A page of the keys of a root that have been seen: names and key_ids, after a name."""
        async with self._use(self._questions, "key") as connection:
            return await dkim_keys.page(connection, root, after=after, limit=limit)

    @asynccontextmanager
    async def _use(self, connections: Connections, operation: str) -> AsyncIterator[Connection]:
        with _asking_again_may_help():
            async with connections.use(operation) as connection:
                yield connection

    async def close(self) -> None:
        """Close what is open."""
        await asyncio.gather(self._lookups.close(), self._questions.close())


@contextmanager
def _asking_again_may_help() -> Iterator[None]:
    """
    Raise DatabaseUnavailable for what PostgreSQL refuses, too, and for a schema that cannot be used.

    What the service asks is right wherever there is policy; so a refusal is about the database, which is being
    replaced, restored, migrated or locked up by somebody. That must end neither the service nor the answers that it has.
    """
    try:
        yield
    except (SchemaIncompatible, MigrationFailed) as error:
        raise DatabaseUnavailable(
            f"{error}: {error.hint}" if error.hint else str(error), trouble="schema"
        ) from error
    except StatementRefused as error:
        remedy = _REMEDIES.get(error.sqlstate, "")
        raise DatabaseUnavailable(
            f"PostgreSQL refuses what policyd needs: {error.args[0]}{remedy}", trouble="refused"
        ) from error
