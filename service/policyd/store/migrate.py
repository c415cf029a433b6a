"""The schema's numbered files, applied one by one; two replicas that start together do it once."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import asyncpg

from policyd.errors import MigrationFailed, SchemaIncompatible, StatementRefused
from policyd.shipped import sql_root
from policyd.store.pool import Connection, translated
from policyd.store.queries import QUERIES

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_BREAKING = "--! breaking-change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of sql/."""

    number: int
    name: str
    sql: str

    @property
    def is_breaking(self) -> bool:
        """Whether a policyd that does not know this file must not use a database that has had it."""
        return self.sql.startswith(_BREAKING)


def shipped_migrations(root: Path | None = None) -> tuple[Migration, ...]:
    """Every migration that this policyd brings, in order."""
    found = sorted(path for path in (root or sql_root()).iterdir() if _FILE_NAME.fullmatch(path.name))
    migrations = tuple(
        Migration(number=int(path.name[:4]), name=path.name, sql=path.read_text(encoding="utf-8"))
        for path in found
    )
    numbers = [migration.number for migration in migrations]
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"two files of {root or sql_root()} have the same number")
    return migrations


async def migrate(
    connection: Connection,
    migrations: Iterable[Migration] | None = None,
    *,
    report: Callable[[Migration], None] = lambda _: None,
) -> list[Migration]:
    """Those that were applied now, each in a transaction of its own; *report* hears of each when it is committed."""
    wanted = tuple(shipped_migrations() if migrations is None else migrations)
    with translated():
        await _prepare(connection)
        _refuse_newer(await _applied(connection), wanted)
    done = []
    for migration in wanted:
        if await _apply(connection, migration):
            report(migration)
            done.append(migration)
    return done


async def _prepare(connection: Connection) -> None:
    try:
        async with connection.transaction():
            await connection.execute(QUERIES["prepare_migrations"])
    except asyncpg.InsufficientPrivilegeError as error:
        raise StatementRefused(
            error.message or "permission denied",
            sqlstate="42501",
            hint=f"the database belongs to {await connection.fetchval(QUERIES['database_owner'])}: migrate as that role",
        ) from error


async def check_schema(connection: Connection, migrations: Iterable[Migration] | None = None) -> None:
    """Nothing where this policyd can use the database as it is; else SchemaIncompatible."""
    wanted = tuple(shipped_migrations() if migrations is None else migrations)
    newest = max((migration.number for migration in wanted), default=0)
    with translated():
        exists = await connection.fetchval(QUERIES["is_migrated"])
        applied = await _applied(connection) if exists else {}
    _refuse_newer(applied, wanted)
    missing = min((each.number for each in wanted if each.number not in applied), default=None)
    if missing is not None:
        found = max((number for number in applied if number < missing), default=0)
        raise SchemaIncompatible(found=found, supported=newest)


def refuse_breaking(number: int | None) -> None:
    """Raise SchemaIncompatible where the newest breaking migration of a database is one that this policyd does not bring."""
    known = _shipped_numbers()
    if number is not None and number not in known:
        raise SchemaIncompatible(found=number, supported=max(known))


@cache
def _shipped_numbers() -> frozenset[int]:
    return frozenset(migration.number for migration in shipped_migrations())


async def _applied(connection: Connection) -> dict[int, tuple[str, bool]]:
    rows = await connection.fetch(QUERIES["applied_migrations"])
    return {row["number"]: (row["name"], row["breaking"]) for row in rows}


def _refuse_newer(applied: dict[int, tuple[str, bool]], wanted: tuple[Migration, ...]) -> None:
    known = {migration.number: migration for migration in wanted}
    for number, (name, is_breaking) in sorted(applied.items()):
        if number in known and known[number].name != name:
            raise MigrationFailed(
                name=known[number].name,
                message=f"this database has had another file of that number, {name}",
                hint="another build of policyd has migrated it: install that one, or one that came after it",
            )
        if number not in known and is_breaking:
            raise SchemaIncompatible(found=number, supported=max(known, default=0), name=name)


async def _apply(connection: Connection, migration: Migration) -> bool:
    with translated():
        async with connection.transaction():
            # The number first: the primary key makes a second replica wait here, and then find it taken.
            claimed = await connection.fetchval(
                QUERIES["claim_migration"], migration.number, migration.name, migration.is_breaking
            )
            if claimed is None:
                return False
            try:
                await connection.execute(migration.sql)
            except asyncpg.PostgresError as error:
                if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError):
                    raise
                raise MigrationFailed(name=_place(migration, error), message=str(error)) from error
    return True


def _place(migration: Migration, error: asyncpg.PostgresError) -> str:
    position = getattr(error, "position", None)
    if not position:
        return migration.name
    return f"{migration.name}, line {migration.sql.count(chr(10), 0, int(position)) + 1},"
