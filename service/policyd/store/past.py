"""Documents as they were at a revision, and as they would be after statements that are never committed."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import orjson
from asyncpg.transaction import Transaction

from policyd.policy.position import Position
from policyd.policy.resolving import Documents
from policyd.store.people import Result, execute
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES


@asynccontextmanager
async def one_snapshot(connection: Connection, *, timeout: float) -> AsyncIterator[None]:
    """Everything that is read meanwhile is of one moment; nothing is locked, and nothing can be written."""
    async with _undone(
        connection, connection.transaction(isolation="repeatable_read", readonly=True), timeout
    ):
        yield


@asynccontextmanager
async def nothing_kept(connection: Connection, *, timeout: float) -> AsyncIterator[None]:
    """
    A transaction that is rolled back however it ends; nobody else changes policy meanwhile.

    If this process dies, PostgreSQL finds out within a second, whatever it is at, and rolls back. No statement may take
    longer than *timeout*, nor may we.
    """
    async with _undone(connection, connection.transaction(isolation="read_committed"), timeout):
        with translated():
            await connection.execute(QUERIES["claim_turn"])
        yield


@asynccontextmanager
async def _undone(connection: Connection, transaction: Transaction, timeout: float) -> AsyncIterator[None]:
    milliseconds = str(round(timeout * 1000))
    settings = {
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        "client_connection_check_interval": "1000",
    }
    with translated():
        await transaction.start()
    try:
        with translated():
            for name, value in settings.items():
                await connection.execute("select set_config($1, $2, true)", name, value)
        yield
    finally:
        # Where the connection is lost there is nothing to roll back any more.
        with contextlib.suppress(Exception):
            await transaction.rollback()


async def read_documents_at(
    connection: Connection, position: Position, tags: Iterable[str]
) -> tuple[Position, Documents]:
    """The documents that there were among *tags* at a revision."""
    with translated():
        rows = await connection.fetch(QUERIES["documents_at"], position.number, list(tags))
    return position, {row["tag"]: orjson.loads(row["body"]) for row in rows}


async def try_out(connection: Connection, statements: Sequence[str]) -> list[Result]:
    """What statements give, one after the other."""
    return [await execute(connection, statement) for statement in statements]
