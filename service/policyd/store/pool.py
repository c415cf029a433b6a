"""
Connections to PostgreSQL, and the one place where its driver's errors become ours.

A few connections are each used by one statement at a time: asyncpg's own pool starves some waiters for hundreds of
milliseconds when more ask than there are connections, and resets a connection after every use.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from policyd.config import DatabaseConfig
from policyd.errors import ConfigError, Conflict, DatabaseUnavailable, StatementRefused, Trouble
from policyd.observe.events import BackendAnswered, Observer
from policyd.pauses import jittered
from policyd.store.hosts import Host, first_of, hosts_of

if TYPE_CHECKING:
    from asyncpg import Record

    Connection: TypeAlias = asyncpg.Connection[Record]
else:
    Connection: TypeAlias = asyncpg.Connection

_GONE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TargetServerAttributeNotMatched,
)
"""What asking again later, or asking another host, may mend."""

_TROUBLES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Trouble], ...] = (
    ((asyncpg.TargetServerAttributeNotMatched, asyncpg.ReadOnlySQLTransactionError), "read-only"),
    (asyncpg.InsufficientResourcesError, "full"),
    (asyncpg.CannotConnectNowError, "starting"),
    ((asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError), "login"),
    ((TimeoutError, asyncpg.QueryCanceledError), "timeout"),
)
"""The first that an error is an instance of; whatever else is gone is unreachable."""

_NOT_LET_IN = (
    ConnectionError,
    FileNotFoundError,
    socket.gaierror,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.25
"""Seconds between two attempts to open a connection after one that failed."""
_WHERE = (
    "is it running? database.dsn (POLICYD_DATABASE_DSN) says where PostgreSQL is and who logs in;"
    " policyd config says who set that"
)
_ROLES = (
    "log in as a member of policyd_owner (everything), policyd_editor (rows) or policyd_reader;"
    " sql/README.md says who may do what"
)
REFERS = "the row that it names has to be there first, and to stay as long as others name it"
_NEXT: Final[tuple[tuple[type[Exception], str], ...]] = (
    (asyncpg.InsufficientPrivilegeError, _ROLES),
    (asyncpg.UndefinedColumnError, "\\d policy.TABLE in psql shows its columns (policyd sql alone is psql)"),
    (asyncpg.UndefinedTableError, "\\dt policy.* in psql shows the tables (policyd sql alone is psql)"),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the driver's errors as policyd's: DatabaseUnavailable, Conflict, StatementRefused."""
    try:
        yield
    except _GONE as error:
        raise DatabaseUnavailable(
            _sentence(error),
            trouble=next((trouble for kind, trouble in _TROUBLES if isinstance(error, kind)), "unreachable"),
            hint=_WHERE if isinstance(error, _NOT_LET_IN) else None,
        ) from error
    except asyncpg.IntegrityConstraintViolationError as error:
        # The detail of these two names a key; that of the others quotes the row, and whatever secret was put there.
        names_a_key = isinstance(error, asyncpg.UniqueViolationError | asyncpg.ForeignKeyViolationError)
        said = (error.message, error.detail if names_a_key else None)
        hint = error.hint or (REFERS if isinstance(error, asyncpg.ForeignKeyViolationError) else None)
        raise Conflict(
            error.constraint_name or "", ": ".join(part for part in said if part), hint=hint
        ) from error
    except asyncpg.PostgresError as error:
        raise StatementRefused(
            error.message or type(error).__name__,
            sqlstate=error.sqlstate or "",
            detail=error.detail,
            hint=error.hint or next((hint for kind, hint in _NEXT if isinstance(error, kind)), None),
        ) from error


async def connect(
    config: DatabaseConfig,
    *,
    purpose: str,
    statement_timeout: float | None = None,
    index_only: bool = False,
) -> Connection:
    """
    A connection to the primary, named after its *purpose* in pg_stat_activity.

    *index_only* is for the service's own statements: one prepared while a table was empty would otherwise scan a
    million rows after an import. Their plans do not depend on what is asked, either; PostgreSQL would make them anew
    each time, which takes several times as long as reading. Without *statement_timeout* the configured one holds; 0
    means none.
    """
    seconds = config.statement_timeout if statement_timeout is None else statement_timeout
    settings = {
        "application_name": f"policyd {purpose}",
        "statement_timeout": str(round(seconds * 1000)),
        "jit": "off",
    }
    if index_only:
        settings |= {
            "enable_seqscan": "off",
            "max_parallel_workers_per_gather": "0",
            "plan_cache_mode": "force_generic_plan",
        }

    async def dial(host: Host | None) -> Connection:
        with translated():
            connection: Connection = await asyncpg.connect(
                config.dsn or None,
                host=None if host is None else host.name,
                port=None if host is None else host.port,
                password=config.password or None,
                timeout=config.connect_timeout,
                # The server's own timeout answers first; this one is for a server that answers nothing.
                command_timeout=seconds + 1 if seconds else None,
                server_settings=settings,
                target_session_attrs=SessionAttribute.read_write,
            )
            return connection

    try:
        hosts = hosts_of(config.dsn, os.environ)
        return await (first_of(hosts, dial, asyncpg.Connection.terminate) if hosts else dial(None))
    except ValueError as error:
        raise _unusable(error) from None


def refuse_read_only(connection: Connection) -> None:
    """
    Raise DatabaseUnavailable where the server of *connection* has said meanwhile that it takes no writes any more.

    So begins many a failover: what it holds is soon not what others write, and nobody could vouch for it.
    """
    reported = connection.get_settings()
    names = ("default_transaction_read_only", "in_hot_standby")
    if any(getattr(reported, name, "off") == "on" for name in names):
        raise DatabaseUnavailable(
            "PostgreSQL takes no more writes: it has become read-only", trouble="read-only"
        )


async def close(connection: Connection) -> None:
    """Close *connection* if the server is there to hear of it, else drop it."""
    try:
        await connection.close(timeout=1)
    except (*_GONE, asyncpg.PostgresError):
        connection.terminate()


class Connections:
    """At most *most* connections, opened when first needed, opened anew after an error."""

    def __init__(self, config: DatabaseConfig, *, purpose: str, most: int, observe: Observer) -> None:
        self._config = config
        self._purpose = purpose
        self._observe = observe
        self._free = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._era = 0
        self._pause = 0.0
        self._dial_from = 0.0

    @asynccontextmanager
    async def use(self, operation: str) -> AsyncIterator[Connection]:
        """A connection for one statement; DatabaseUnavailable when none can be had in time."""
        if self._free.locked():
            with translated():
                async with asyncio.timeout(self._config.connect_timeout):
                    await self._free.acquire()
        else:
            await self._free.acquire()
        try:
            era = self._era
            connection = await self._take()
            began = time.perf_counter()
            try:
                yield connection
            except BaseException:
                connection.terminate()
                raise
            if era == self._era:
                self._idle.append(connection)
            else:
                connection.terminate()
            self._observe(
                BackendAnswered(
                    backend="postgresql", operation=operation, seconds=time.perf_counter() - began
                )
            )
        finally:
            self._free.release()

    def renew(self) -> None:
        """Use no connection again that is open now."""
        self._era += 1
        self._pause = self._dial_from = 0.0
        while self._idle:
            self._idle.pop().terminate()

    async def close(self) -> None:
        """Close what is idle; what is in use is closed by its user's end."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(close(connection) for connection in idle))

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        # Whoever comes while a server has no place left waits for the next attempt, and does not make one each.
        await asyncio.sleep(max(0.0, self._dial_from - time.monotonic()))
        try:
            connection = await connect(self._config, purpose=self._purpose, index_only=True)
        except DatabaseUnavailable:
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._dial_from = time.monotonic() + jittered(self._pause)
            raise
        self._pause = self._dial_from = 0.0
        return connection


@asynccontextmanager
async def listening(
    config: DatabaseConfig, channel: str, wake: Callable[[], None]
) -> AsyncIterator[Connection]:
    """A connection of its own that calls *wake* at each notification, and when it is lost."""
    connection = await connect(config, purpose="change feed", index_only=True)
    try:
        with translated():
            connection.add_termination_listener(lambda _: wake())
            await connection.add_listener(channel, lambda *_: wake())
        yield connection
    finally:
        with contextlib.suppress(DatabaseUnavailable):
            await close(connection)


def _unusable(error: ValueError) -> ConfigError:
    is_asyncpg_s = isinstance(error, asyncpg.ClientConfigurationError)
    if is_asyncpg_s and not str(error).startswith("invalid DSN"):
        return ConfigError(f"database.dsn cannot be used: {error}")
    # Others quote what they took for a scheme, a host or a port, and a password may stand there.
    return ConfigError(
        "database.dsn cannot be read",
        hint="write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and / @ : in a password as %2F %40 %3A",
    )


def _sentence(error: BaseException) -> str:
    """What went wrong, without what was asked: a DSN or a password never stands in it."""
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "no PostgreSQL there takes writes: it is a standby, or read-only"
    if isinstance(error, asyncpg.PostgresError) and error.message:
        return error.message
    if isinstance(error, TimeoutError):
        return "PostgreSQL did not answer in time"
    if isinstance(error, FileNotFoundError):
        return "PostgreSQL cannot be reached: its socket is not there"
    if isinstance(error, OSError):
        return f"PostgreSQL cannot be reached: {error.strerror or type(error).__name__}"
    return "the connection to PostgreSQL was lost"
