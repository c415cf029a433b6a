"""Many rows at once: judged, written and reported, one statement a table."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from policyd.store.pool import Connection, translated
from policyd.store.tables import TABLES

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
select c.revision, c."table", c.op, c.key::text as key, c.old::text as old, c.new::text as new
from policy.change as c
where c.revision = (
  select r.number
  from (select n.number, n.xid, n.at from policy.revision as n order by n.number desc limit 1) as r
  where r.xid = pg_current_xact_id_if_assigned() and r.at >= transaction_timestamp())
order by c.ordinal
"""

_DEFAULT_WITHOUT_POOL = """
select exists (select from policy.queue as q where q.domain = 'default' and q.egress_pool is null)
"""

_STOCK = """
update policy.queue_settings as s set on_missing = 'stock' where s.on_missing <> 'stock'
"""


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
    key: dict[str, Json]
    old: dict[str, Json] | None
    new: dict[str, Json] | None


@asynccontextmanager
async def one_change(
    connection: Connection, *, actor: str | None, reason: str, keep: bool
) -> AsyncIterator[None]:
    """A transaction that says who changes policy and why, mass changes included; rolled back unless it is to be kept."""
    settings = {"policy.actor": actor or "", "policy.reason": reason, "policy.allow_mass_change": reason}
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


async def write_rows(connection: Connection, rows: Mapping[str, Sequence[Record]]) -> None:
    """Writes rows by table; the children of a document that are not among them are deleted, other rows stay."""
    with translated():
        for table in TABLES:
            given = rows.get(table.name, ())
            if given:
                await connection.execute(table.upsert(), _array(given))
            if table.part_of is None:
                continue
            parent_table, called = table.part_of
            parent_key = next(each.key for each in TABLES if each.name == parent_table)
            if parents := rows.get(parent_table, ()):
                documents = [
                    {mine: parent[its] for mine, its in zip(called, parent_key, strict=bool(called))}
                    for parent in parents
                ]
                await connection.execute(table.delete_others(called), _array(documents), _array(given))
        # What is checked at the end is checked now, so that a dry run hears of it, too.
        await connection.execute("set constraints all immediate")


async def allow_host_address(connection: Connection) -> bool:
    """Whether mail without a pool leaves from the host's own address now: not where the default queue has a pool."""
    with translated():
        if not await connection.fetchval(_DEFAULT_WITHOUT_POOL):
            return False
        await connection.execute(_STOCK)
        return True


async def changes_so_far(connection: Connection) -> list[RowChange]:
    """What the transaction at hand has changed."""
    with translated():
        rows = await connection.fetch(_CHANGES)
    return [
        RowChange(
            revision=row["revision"],
            table=row["table"],
            op=row["op"],
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
    columns = next((each.key for each in TABLES if each.name == table), tuple(key))
    return {column: key[column] for column in columns}


def _array(records: Sequence[Record]) -> str:
    return json.dumps([dict(record) for record in records])
