"""Many rows at once: judged, written and reported, one statement a table."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from policyd.errors import DatabaseUnavailable
from policyd.policy.position import Position
from policyd.store.documents import EMPTY
from policyd.store.pool import Connection, translated
from policyd.store.tables import BY_NAME, OF_KIND, TABLES, Table

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Record: TypeAlias = Mapping[str, Json]

_JUDGE = """
select c.position, p.field, p.problem
from jsonb_array_elements($1::text::jsonb) with ordinality as c (item, position),
     policy.problems(c.item ->> 'object', c.item -> 'record') as p
order by c.position, p.field
"""

# The transaction holds the turn once it has changed anything, so its revision, if it has one, is the last.
_CHANGES = """
select c.revision, c."table", c.op, c.key::text as key, c.old::text as old, c.new::text as new, c.tags[1] as tag
from policy.change as c
where c.op <> 'floor' and c.revision = (
  select r.number
  from (select n.number, n.xid, n.at from policy.revision as n order by n.number desc limit 1) as r
  where r.xid = pg_current_xact_id_if_assigned() and r.at >= transaction_timestamp())
order by c.ordinal
"""

_DEFAULT_WITHOUT_POOL = """
select exists (select from policy.queue as q where q.domain = 'default' and q.egress_pool is null)
"""

_SET_OWN = """
with missing as (
  update policy.queue_settings as s set on_missing = $1 where s.on_missing <> $1::text
)
update policy.dkim_settings as s set key_root = $2 where s.key_root <> $2::text
"""

_HEAD = "select r.number, r.stamp from policy.revision as r order by r.number desc limit 1"

_HAS_INSECURE = "select exists (select from policy.webhook as w where w.insecure)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with one of the records that were judged: which one, and which field if it is one field's fault."""

    index: int
    field: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """One row that the transaction at hand changed, as the log has it."""

    revision: int
    table: str
    op: str
    tag: str
    """The document that it is, or is a part of."""
    key: dict[str, Json]
    old: dict[str, Json] | None
    new: dict[str, Json] | None


@asynccontextmanager
async def one_change(
    connection: Connection, *, actor: str | None, reason: str, keep: bool, many: bool = True
) -> AsyncIterator[None]:
    """
    A transaction that says who changes policy and why; rolled back unless it is to be kept.

    The reason is one for changes of *many* rows, too, unless those are to be refused.
    """
    settings = {"policy.actor": actor or "", "policy.reason": reason}
    if many:
        settings["policy.allow_mass_change"] = reason
    transaction = connection.transaction()
    with translated():
        await transaction.start()
        try:
            for name, value in settings.items():
                await connection.execute("select set_config($1, $2, true)", name, value)
            yield
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.commit() if keep else transaction.rollback())


async def judge(connection: Connection, records: Iterable[tuple[str, Record]]) -> list[Fault]:
    """What KumoMTA would refuse in records in its own spelling, each given with the object that it is for."""
    items = [{"object": kind, "record": dict(record)} for kind, record in records]
    with translated():
        rows = await connection.fetch(_JUDGE, json.dumps(items))
    return [Fault(index=row["position"] - 1, field=row["field"], sentence=row["problem"]) for row in rows]


async def missing_names(connection: Connection, table: str, names: Collection[str]) -> set[str]:
    """Those of the names that no row of the table has."""
    (known,) = [each for each in TABLES if each.name == table and each.key == ("name",)]
    statement = (
        "select w.name from unnest($1::text[]) as w (name)"  # noqa: S608 -- as above
        f" where not exists (select from policy.{known.name} as t where t.name = w.name)"
    )
    with translated():
        return {row["name"] for row in await connection.fetch(statement, sorted(names))}


async def read_rows(connection: Connection, tables: Iterable[str]) -> dict[str, list[dict[str, Json]]]:
    """All rows of the tables, each with all of its columns, in the order of their keys."""
    found: dict[str, list[dict[str, Json]]] = {}
    for name in tables:
        key = BY_NAME[name].key
        statement = f"select to_jsonb(t)::text from policy.{BY_NAME[name].name} as t"  # noqa: S608 -- as in tables
        with translated():
            rows = [json.loads(text) for (text,) in await connection.fetch(statement)]
        found[name] = sorted(rows, key=lambda row: [row[column] for column in key])
    return found


async def read_head(connection: Connection) -> Position:
    """The log's head."""
    with translated():
        row = await connection.fetchrow(_HEAD)
    if row is None:
        raise DatabaseUnavailable(EMPTY)
    return Position(row["number"], row["stamp"])


@asynccontextmanager
async def one_reading(connection: Connection) -> AsyncIterator[None]:
    """A transaction in which everything is read from one snapshot; where there is one already, that. Times are in UTC."""
    with translated():
        if connection.is_in_transaction():
            yield
            return
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # The same times are to be the same text, wherever it is read.
            await connection.execute("set local timezone to 'UTC'")
            yield


async def write_rows(
    connection: Connection, rows: Mapping[str, Sequence[Record]], *, own: bool = False
) -> None:
    """
    Writes rows by table; the children of a document that are not among them are deleted, other rows stay.

    With *own*, the columns that only policyd's own file speaks of are written, too.
    """
    with translated():
        for table in TABLES:
            given = rows.get(table.name, ())
            if given:
                columns = await _columns(connection, table, given, own=own)
                await connection.execute(table.upsert(columns), _array(given))
            if table.part_of is None:
                continue
            parent_table, called = table.part_of
            if parents := rows.get(parent_table, ()):
                parent_key = BY_NAME[parent_table].key
                documents = [
                    {mine: parent[its] for mine, its in zip(called, parent_key, strict=bool(called))}
                    for parent in parents
                ]
                await connection.execute(table.delete_others(called), _array(documents), _array(given))


async def _columns(
    connection: Connection, table: Table, rows: Sequence[Record], *, own: bool
) -> tuple[str, ...]:
    columns = (*table.columns, *(table.own if own else ()))
    if table.name != "webhook" or any(row["insecure"] for row in rows):
        return columns
    # Editors may not write it: it is left alone while nobody says it.
    if await connection.fetchval(_HAS_INSECURE):
        return columns
    return tuple(column for column in columns if column != "insecure")


async def rows_besides(
    connection: Connection, rows: Mapping[str, Sequence[Record]], kinds: Collection[str]
) -> dict[str, list[dict[str, Json]]]:
    """The rows that are not among these, of the tables that files of these kinds hold all of; as they are keyed."""
    found: dict[str, list[dict[str, Json]]] = {}
    for table in _held_by(kinds):
        statement = f"select t.tag, {', '.join(f't.{column}' for column in table.key)} {table.others()}"
        with translated():
            records = await connection.fetch(statement, _array(rows.get(table.name, ())))
        found[table.name] = [dict(record) for record in records]
    return found


async def delete_besides(
    connection: Connection, rows: Mapping[str, Sequence[Record]], kinds: Collection[str]
) -> None:
    """Deletes the rows that are not among these, of the tables that files of these kinds hold all of."""
    with translated():
        for table in _held_by(kinds):
            await connection.execute(f"delete {table.others()}", _array(rows.get(table.name, ())))


def _held_by(kinds: Collection[str]) -> list[Table]:
    return [BY_NAME[name] for kind, tables in OF_KIND.items() if kind in kinds for name in tables]


async def check_now(connection: Connection) -> None:
    """Checks now what is checked at the end, so that a dry run hears of it, too."""
    with translated():
        await connection.execute("set constraints all immediate")


async def default_has_pool(connection: Connection) -> bool:
    """Whether mail that nothing else names a pool for has one: that of the default queue."""
    with translated():
        return not await connection.fetchval(_DEFAULT_WITHOUT_POOL)


async def set_own(connection: Connection, *, on_missing: str | None, key_root: str | None) -> None:
    """Sets what only policyd's own file says of the settings; None leaves it as it is."""
    with translated():
        await connection.execute(_SET_OWN, on_missing, key_root)


async def changes_so_far(connection: Connection) -> list[RowChange]:
    """What the transaction at hand has changed."""
    with translated():
        rows = await connection.fetch(_CHANGES)
    return [
        RowChange(
            revision=row["revision"],
            table=row["table"],
            op=row["op"],
            tag=row["tag"],
            key=_ordered(row["table"], json.loads(row["key"])),
            old=None if row["old"] is None else json.loads(row["old"]),
            new=None if row["new"] is None else json.loads(row["new"]),
        )
        for row in rows
    ]


async def analyze(connection: Connection, tables: Collection[str]) -> None:
    """Counts the tables' rows anew, without which the planner believes that they are as empty as before."""
    if tables:
        names = ", ".join(f"policy.{table.name}" for table in TABLES if table.name in tables)
        with translated():
            await connection.execute(f"analyze {names}")


def _ordered(table: str, key: dict[str, Json]) -> dict[str, Json]:
    """The key in its table's order, which jsonb forgets."""
    columns = BY_NAME[table].key if table in BY_NAME else tuple(key)
    return {column: key[column] for column in columns}


def _array(records: Sequence[Record]) -> str:
    return json.dumps([dict(record) for record in records])
