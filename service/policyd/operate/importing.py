"""What was read from helper files into the database: judged whole, written in one transaction, or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from policyd.errors import Conflict, PolicyInvalid
from policyd.errors import Problem as PlacedProblem
from policyd.operate.differences import DocumentChange, differences
from policyd.operate.differences import besides as in_database_alone
from policyd.operate.reach import Reach, read_reach
from policyd.store import rows as store
from policyd.store.notices import notices_of
from policyd.store.pool import REFERS, Connection
from policyd.store.shaping import other_providers
from policyd.store.tables import OF_KIND, TABLES
from policyd.transfer.dkim import USUAL_HEADERS
from policyd.transfer.findings import Checked, Note, Origin, Problem, Row
from policyd.transfer.places import NAMED, NUMBERED, in_their_places
from policyd.transfer.reading import Transfer
from policyd.transfer.sources import HOST_ADDRESS

Absent: TypeAlias = Literal["stay", "tell", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of one table."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import changed, or in a dry run what it would have changed."""

    dry_run: bool
    revision: int | None
    """None where nothing changed."""
    differences: tuple[DocumentChange, ...] = ()
    """The same by document; and what is in the database alone, if that was to be told."""
    reach: Reach | None = None
    tables: Mapping[str, Counts] = field(default_factory=dict)
    changes: tuple[store.RowChange, ...] = ()
    notes: tuple[Note, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the database had to say about the changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What was written, what there is to be said about it, and what is in the database alone."""

    rows: tuple[Row, ...]
    notes: tuple[Note, ...]
    besides: Mapping[str, Sequence[store.Record]]


_WHOLE = (
    "listener_domain",
    "egress_source",
    "egress_pool",
    "tenant",
    "queue",
    "dkim_domain",
    "shaping_domain",
    "shaping_provider",
    "webhook",
)
"""Tables of which all rows are not taken away for want of a word about it."""


async def import_rows(
    connection: Connection,
    transfer: Transfer,
    *,
    dry_run: bool,
    actor: str | None,
    reason: str,
    absent: Absent = "stay",
    many: bool = True,
    with_reach: bool = False,
) -> ImportReport:
    """
    Stores what the files come to, and reports it. Raises `PolicyInvalid` with everything that stands against it.

    *absent* is what becomes of rows that are not in the files, of the kinds that there are files of. Without *many*, a
    change of many rows at once is refused, and one that would leave a table empty. *with_reach*: how far it reaches is told, too.
    """
    warnings: list[str] = []

    def hear(severity: str, message: str, hint: str | None) -> None:
        if severity == "WARNING":
            warnings.append(f"{message}. {hint}" if hint else message)

    async with (
        notices_of(connection, hear),
        store.one_change(connection, actor=actor, reason=reason, keep=not dry_run, many=many),
    ):
        stored = await _store(connection, transfer, absent=absent, many=many)
        changes = await store.changes_so_far(connection)
        differing = [*differences(changes), *in_database_alone(stored.besides)]
        reach = await read_reach(connection, differing) if with_reach else None
    if not dry_run:
        await store.analyze(connection, {change.table for change in changes})
    return ImportReport(
        dry_run=dry_run,
        revision=changes[0].revision if changes else None,
        tables=_counts(stored.rows, changes),
        changes=tuple(changes),
        differences=tuple(differing),
        reach=reach,
        notes=(*transfer.notes, *stored.notes),
        warnings=tuple(warnings),
    )


async def _store(connection: Connection, transfer: Transfer, *, absent: Absent, many: bool) -> _Stored:
    """Everything that an import does, within a transaction."""
    dangling = await _check(connection, transfer, prune=absent == "delete")
    wanted, left, base_notes = await _without_present_bases(connection, transfer.rows)
    if absent != "stay":
        wanted += _settings_said_nowhere(transfer)
    present = await store.read_rows(connection, _ordered_tables(wanted))
    rows = _by_table(in_their_places(wanted, present))
    await store.write_rows(connection, rows, own="policyd" in transfer.kinds)
    host_address = await _set_own(connection, transfer)
    held = rows | {table: [*rows.get(table, ()), *more] for table, more in _by_table(left).items()}
    besides = {} if absent == "stay" else await store.rows_besides(connection, held, transfer.kinds)
    staying = []
    if absent == "delete":
        if not many:
            _refuse_emptying(held, besides)
        await _delete_besides(connection, held, transfer)
        besides = {}  # the log has them now
    else:
        staying = await _staying_providers(connection, wanted)
    await store.check_now(connection)
    notes = [*dangling, *base_notes, *staying, *host_address]
    return _Stored(rows=tuple(wanted), notes=tuple(notes), besides=besides)


def _refuse_emptying(
    rows: Mapping[str, Sequence[store.Record]], besides: Mapping[str, Sequence[store.Record]]
) -> None:
    """An empty file may be a mistake, and a small table has no other guard."""
    for table in _WHOLE:
        if besides.get(table) and not rows.get(table):
            raise Conflict(
                "mass_changes_need_a_reason",
                f"there is no {table.replace('_', ' ')} in the files, and pruning would delete all {len(besides[table])}",
            )


def _settings_said_nowhere(transfer: Transfer) -> list[Row]:
    """The settings of kinds whose files have none: as KumoMTA has them then."""
    said = {row.table for row in transfer.rows}
    origin = Origin(file="the files")
    rows = []
    if "queues" in transfer.kinds and "queue_settings" not in said:
        rows.append(Row(table="queue_settings", values={}, origin=origin))
    if "dkim" in transfer.kinds and "dkim_settings" not in said:
        rows.append(Row(table="dkim_settings", values={"headers": list(USUAL_HEADERS)}, origin=origin))
    return rows


def _ordered_tables(rows: Sequence[Row]) -> list[str]:
    return [table for table in (*NAMED, *NUMBERED) if any(row.table == table for row in rows)]


async def _set_own(connection: Connection, transfer: Transfer) -> list[Note]:
    """Settings that are not KumoMTA's: said by policyd's own file, or for want of it by what the others rely on."""
    on_missing, notes = transfer.on_missing, []
    if on_missing is None and transfer.host_address and not await store.default_has_pool(connection):
        on_missing, notes = "stock", [transfer.host_address]
    await store.set_own(connection, on_missing=on_missing, key_root=transfer.key_root)
    return list[Note](notes)


async def _delete_besides(
    connection: Connection, rows: Mapping[str, list[store.Record]], transfer: Transfer
) -> None:
    try:
        await store.delete_besides(connection, rows, transfer.kinds)
    except Conflict as error:
        if error.hint not in (None, REFERS):
            raise
        hint = "what is not in the files is still needed: add it to them, or take away first what needs it"
        raise Conflict(error.constraint, str(error), hint=hint) from error


async def _staying_providers(connection: Connection, rows: Sequence[Row]) -> list[Note]:
    """A note about providers of shaping that are not in the files: where several match, their order decides."""
    imported = {str(row.values["name"]): row.origin for row in rows if row.table == "shaping_provider"}
    names = await other_providers(connection, imported) if imported else []
    sentence = f"other providers stay ({', '.join(names)}): where one of them matches too, position says which of them wins"
    return [Note(topic="surprise", origin=next(iter(imported.values())), sentence=sentence)] if names else []


async def _check(connection: Connection, transfer: Transfer, *, prune: bool) -> list[Note]:
    """
    What is named and not there, though nothing depends on it; with *prune*, what files are given of has to be in them.

    Raises `PolicyInvalid` with every problem of every file, in the order of the files.
    """
    problems = [*transfer.problems, *await _judged(connection, transfer.checks)]
    dangling: list[Note] = []
    for table in ("egress_source", "egress_pool", "tenant"):
        made = {row.values["name"] for row in transfer.rows if row.table == table}
        wanted = [each for each in transfer.references if each.table == table and each.name not in made]
        held_by = next(kind for kind, tables in OF_KIND.items() if table in tables)
        if prune and held_by in transfer.kinds:
            missing = {each.name for each in wanted} - {HOST_ADDRESS}
        else:
            missing = await store.missing_names(connection, table, {each.name for each in wanted})
        problems += [each.problem() for each in wanted if each.name in missing and each.required]
        dangling += [each.note() for each in wanted if each.name in missing and not each.required]
    if problems:
        files = [*(each.origin.file for each in transfer.rows), *(each.origin.file for each in problems)]
        order = {file: place for place, file in enumerate(dict.fromkeys(files))}
        unique = dict.fromkeys(problems)
        in_order = sorted(unique, key=lambda each: (order[each.origin.file], each.origin.line or 0))
        raise PolicyInvalid(
            [PlacedProblem(where=str(each.origin), sentence=each.sentence) for each in in_order],
            hint="correct the files and import them again: nothing was imported",
        )
    return dangling


async def _judged(connection: Connection, checks: Sequence[Checked]) -> list[Problem]:
    """What the database says against the records. Large files repeat themselves, so each is judged once."""
    alike: dict[tuple[str, str], list[Checked]] = {}
    for check in checks:
        alike.setdefault((check.object, json.dumps(check.record)), []).append(check)
    groups = list(alike.values())
    faults = await store.judge(connection, [(group[0].object, group[0].record) for group in groups])
    return [
        Problem(origin=check.origins.get(fault.field or "", check.origin), sentence=fault.sentence)
        for fault in faults
        for check in groups[fault.index]
    ]


async def _without_present_bases(
    connection: Connection, rows: Sequence[Row]
) -> tuple[list[Row], list[Row], list[Note]]:
    """The rows without the base rows that are there already, or that another file makes; those; and notes of what is made."""
    bases = [row for row in rows if row.only_if_missing]
    if not bases:
        return list(rows), [], []
    made: dict[tuple[str, str], tuple[str, ...]] = {}
    for table in ("egress_source", "egress_pool"):
        names = [str(row.values["name"]) for row in bases if row.table == table]
        of_files = {str(row.values["name"]) for row in rows if row.table == table and not row.only_if_missing}
        absent = await store.missing_names(connection, table, set(names) - of_files)
        for row in bases:
            if row.table == table and row.values["name"] in absent:
                made.setdefault((table, str(row.values["name"])), row.origin.key)
    kept = [row for row in rows if not row.only_if_missing or _is_of(row, made)]
    notes = [
        Note(
            topic="base row",
            origin=row.origin,
            sentence=f"{row.table.replace('_', ' ')} '{row.values['name']}' was not there yet: it is made for all nodes"
            " too, with the same values",
        )
        for row in kept
        if row.only_if_missing and "name" in row.values
    ]
    left = [row for row in bases if not _is_of(row, made)]
    return [replace(row, only_if_missing=False) for row in kept], left, notes


def _is_of(row: Row, made: Mapping[tuple[str, str], tuple[str, ...]]) -> bool:
    """Whether a base row is one of those that are made, or an entry of one: several groups may want the same one."""
    table = "egress_pool" if row.table == "egress_pool_entry" else row.table
    key = made.get((table, str(row.values["name" if "name" in row.values else "pool"])))
    return key is not None and row.origin.key[: len(key)] == key


def _by_table(rows: Sequence[Row]) -> dict[str, list[store.Record]]:
    by_table: dict[str, list[store.Record]] = {}
    for row in rows:
        has_one_row = row.table in ("queue_settings", "dkim_settings")
        values = {"singleton": True, **row.values} if has_one_row else row.values
        by_table.setdefault(row.table, []).append(values)
    return by_table


def _counts(rows: Sequence[Row], changes: Sequence[store.RowChange]) -> dict[str, Counts]:
    """How many rows of each table became what. A row that was written twice counts once, as what happened first."""
    given: dict[str, int] = {}
    for row in rows:
        given[row.table] = given.get(row.table, 0) + 1
    ops: dict[str, dict[str, str]] = {}
    for change in changes:
        ops.setdefault(change.table, {}).setdefault(str(sorted(change.key.items())), change.op)

    def how_many(table: str, op: Literal["insert", "update", "delete"]) -> int:
        return list(ops.get(table, {}).values()).count(op)

    return {
        table.name: Counts(
            inserted=how_many(table.name, "insert"),
            updated=how_many(table.name, "update"),
            deleted=how_many(table.name, "delete"),
            unchanged=max(
                0, given.get(table.name, 0) - how_many(table.name, "insert") - how_many(table.name, "update")
            ),
        )
        for table in TABLES
        if table.name in given or table.name in ops
    }
