"""What was read from helper files into the database: judged whole, written in one transaction, or not at all."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from policyd.errors import PolicyInvalid
from policyd.errors import Problem as PlacedProblem
from policyd.store import rows as store
from policyd.store.notices import notices_of
from policyd.store.pool import Connection
from policyd.store.shaping import other_providers
from policyd.store.tables import TABLES
from policyd.transfer.findings import Checked, Note, Problem, Row
from policyd.transfer.reading import Transfer


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
    tables: Mapping[str, Counts] = field(default_factory=dict)
    changes: tuple[store.RowChange, ...] = ()
    notes: tuple[Note, ...] = ()
    warnings: tuple[str, ...] = ()
    """What the database had to say about the changes."""


async def import_rows(
    connection: Connection, transfer: Transfer, *, dry_run: bool, actor: str | None, reason: str
) -> ImportReport:
    """Stores what the files come to, and reports it. Raises `PolicyInvalid` with everything that stands against it."""
    warnings: list[str] = []

    def hear(severity: str, message: str, hint: str | None) -> None:
        if severity == "WARNING":
            warnings.append(f"{message}. {hint}" if hint else message)

    async with (
        notices_of(connection, hear),
        store.one_change(connection, actor=actor, reason=reason, keep=not dry_run),
    ):
        dangling = await _check(connection, transfer)
        wanted, base_notes = await _without_present_bases(connection, transfer.rows)
        await store.write_rows(connection, _by_table(wanted))
        host_address = [transfer.host_address] if transfer.host_address is not None else []
        if host_address and not await store.allow_host_address(connection):
            host_address = []
        staying = await _staying_providers(connection, wanted)
        changes = await store.changes_so_far(connection)
    if not dry_run:
        await store.analyze(connection, {change.table for change in changes})
    return ImportReport(
        dry_run=dry_run,
        revision=changes[0].revision if changes else None,
        tables=_counts(wanted, changes),
        changes=tuple(changes),
        notes=(*transfer.notes, *dangling, *base_notes, *staying, *host_address),
        warnings=tuple(warnings),
    )


async def _staying_providers(connection: Connection, rows: Sequence[Row]) -> list[Note]:
    """A note about providers of shaping that are not in the files: where several match, their order decides."""
    imported = {str(row.values["name"]): row.origin for row in rows if row.table == "shaping_provider"}
    names = await other_providers(connection, imported) if imported else []
    sentence = f"other providers stay ({', '.join(names)}): where one of them matches too, position says which of them wins"
    return [Note(topic="surprise", origin=next(iter(imported.values())), sentence=sentence)] if names else []


async def _check(connection: Connection, transfer: Transfer) -> list[Note]:
    """
    What is named and not there, though nothing depends on it.

    Raises `PolicyInvalid` with every problem of every file, in the order of the files.
    """
    problems = [*transfer.problems, *await _judged(connection, transfer.checks)]
    dangling: list[Note] = []
    for table in ("egress_source", "egress_pool", "tenant"):
        made = {row.values["name"] for row in transfer.rows if row.table == table}
        wanted = [each for each in transfer.references if each.table == table and each.name not in made]
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


async def _without_present_bases(connection: Connection, rows: Sequence[Row]) -> tuple[list[Row], list[Note]]:
    """The rows without the base rows that are there already, and a note about each that is made."""
    if not any(row.only_if_missing for row in rows):
        return list(rows), []
    absent: dict[str, set[str]] = {}
    for table in ("egress_source", "egress_pool"):
        names = {str(row.values["name"]) for row in rows if row.table == table and row.only_if_missing}
        absent[table] = await store.missing_names(connection, table, names)
    absent["egress_pool_entry"] = absent["egress_pool"]
    kept, notes = [], []
    for row in rows:
        name = str(row.values["name" if "name" in row.values else "pool"]) if row.only_if_missing else ""
        if row.only_if_missing and name not in absent[row.table]:
            continue
        kept.append(replace(row, only_if_missing=False))
        if row.only_if_missing and "name" in row.values:
            what = row.table.replace("_", " ")
            sentence = (
                f"{what} '{name}' was not there yet: it is made for all nodes too, with the same values"
            )
            notes.append(Note(topic="base row", origin=row.origin, sentence=sentence))
    return kept, notes


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
