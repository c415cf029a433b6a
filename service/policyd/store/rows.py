"""
Many rows at once: judged, written and reported, one statement a table.

The statements are made here from the tables' columns, because thirteen of the same shape would hide the one that differs.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from policyd.store.pool import Connection, translated
from policyd.transfer.sources import SOURCE_COLUMNS

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Record: TypeAlias = Mapping[str, Json]

_QUEUE = ("egress_pool", "routing_domain", "options")
_RULE = ("regex", "action", "threshold", "duration", "match_internal")
_SETTINGS = (
    "scheduling_header",
    "tenant_header",
    "campaign_header",
    "remove_tenant_header",
    "remove_campaign_header",
    "default_tenant",
)

# Windows of time, and the settings' key root, are policyd's own: no file speaks of them, so none changes them.
_DKIM = ("selector", "headers", "header_canonicalization", "body_canonicalization", "over_sign", "expiration")
_KEY_PLACE = ("key_root", "key_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns that can be written, and for a table of children how they name the document that they belong to."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    part_of: tuple[str, tuple[str, ...]] | None = None
    """The parent's table, and its key as this table calls it: a document is replaced with all its children. A parent of
    one row is called nothing."""

    def upsert(self) -> str:
        """Writes the rows of one JSON array; a row that would stay what it is, to the letter, is not touched."""
        written = ", ".join((*self.key, *self.columns))
        new = ", ".join(f"excluded.{column}" for column in self.columns)
        # As text, because in jsonb 5 and 5.0 are one value, and KumoMTA takes only the first for an integer.
        differs = " or ".join(f"t.{c}::text is distinct from excluded.{c}::text" for c in self.columns)
        change = (
            f"update set ({', '.join(self.columns)}) = row({new}) where {differs}"
            if self.columns
            else "nothing"
        )
        return (
            f"insert into policy.{self.name} as t ({written})"  # noqa: S608 -- all names are of TABLES
            f" select {written} from jsonb_populate_recordset(null::policy.{self.name}, $1::text::jsonb)"
            f" on conflict ({', '.join(self.key)}) do {change}"
        )

    def delete_others(self, parent: tuple[str, ...]) -> str:
        """Deletes the children of the documents in one JSON array that are not among the rows in another one."""
        given = f"jsonb_populate_recordset(null::policy.{self.name}, ${{}}::text::jsonb)"
        same_parent = " and ".join(f"d.{column} = t.{column}" for column in parent) or "true"
        same_row = " and ".join(f"n.{column} = t.{column}" for column in self.key)
        return (
            f"delete from policy.{self.name} as t using {given.format(1)} as d"  # noqa: S608 -- as above
            f" where {same_parent} and not exists (select from {given.format(2)} as n where {same_row})"
        )


TABLES = (  # a table comes after those that its foreign keys point at
    Table(name="egress_source", key=("name",), columns=SOURCE_COLUMNS),
    Table(name="egress_source_group", key=("name", "node_group"), columns=SOURCE_COLUMNS),
    Table(name="egress_pool", key=("name",)),
    Table(
        name="egress_pool_entry",
        key=("pool", "source"),
        columns=("weight",),
        part_of=("egress_pool", ("pool",)),
    ),
    Table(name="egress_pool_group", key=("name", "node_group")),
    Table(
        name="egress_pool_group_entry",
        key=("pool", "node_group", "source"),
        columns=("weight",),
        part_of=("egress_pool_group", ("pool", "node_group")),
    ),
    Table(
        name="tenant",
        key=("name",),
        columns=("egress_pool", "require_authz", "overall_max_message_rate", "options"),
    ),
    Table(
        name="tenant_campaign",
        key=("tenant", "campaign"),
        columns=("overall_max_message_rate",),
        part_of=("tenant", ("tenant",)),
    ),
    Table(name="queue", key=("domain",), columns=_QUEUE),
    Table(name="queue_tenant", key=("domain", "tenant"), columns=_QUEUE),
    Table(name="queue_campaign", key=("domain", "tenant", "campaign"), columns=_QUEUE),
    Table(name="queue_settings", key=("singleton",), columns=_SETTINGS),
    Table(
        name="listener_domain",
        key=("listener", "domain"),
        columns=("relay_to", "relay_from", "relay_from_authz", "log_oob", "log_arf"),
    ),
    Table(name="dkim_settings", key=("singleton",), columns=_DKIM),
    Table(
        name="dkim_signature", key=("name",), columns=("domain", "policy", "algorithm", *_DKIM, *_KEY_PLACE)
    ),
    Table(
        name="dkim_additional_signature",
        key=("position",),
        columns=("signature",),
        part_of=("dkim_settings", ()),
    ),
    Table(name="dkim_domain", key=("domain",), columns=("algorithm", *_DKIM, *_KEY_PLACE)),
    Table(
        name="shaping_provider",
        key=("name",),
        columns=(
            "position",
            "replace_base",
            "provider_connection_limit",
            "provider_max_message_rate",
            "options",
        ),
    ),
    Table(
        name="shaping_provider_match",
        key=("provider", "rule", "value"),
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_provider_source",
        key=("provider", "source"),
        columns=("provider_source_selection_rate", "options"),
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_provider_automation",
        key=("provider", "position"),
        columns=_RULE,
        part_of=("shaping_provider", ("provider",)),
    ),
    Table(
        name="shaping_domain",
        key=("domain",),
        columns=("position", "mx_rollup", "replace_base", "options"),
    ),
    Table(
        name="shaping_domain_source",
        key=("domain", "source"),
        columns=("options",),
        part_of=("shaping_domain", ("domain",)),
    ),
    Table(
        name="shaping_domain_automation",
        key=("domain", "position"),
        columns=_RULE,
        part_of=("shaping_domain", ("domain",)),
    ),
)

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
