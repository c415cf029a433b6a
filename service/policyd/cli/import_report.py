"""What an import did, as lines for a person: counts, rows, and what is worth knowing."""

import json
from collections.abc import Iterator, Sequence

from policyd.operate.importing import Counts, ImportReport
from policyd.store.rows import RowChange
from policyd.transfer.findings import Note
from policyd.transfer.reading import Transfer

_MANY = 20

_TOPICS = {
    "not imported": "Files left out",
    "ignored": "Left out, because KumoMTA ignores it or policyd decides it",
    "normalised": "Names that became others",
    "surprise": "What KumoMTA makes of these files, in case it is not what was meant",
    "trie": "Names that policyd answers differently from KumoMTA",
    "host address": "Mail that leaves from the host's own address (so queue_settings.on_missing becomes stock)",
    "keys": "Private keys: mail of these waits until they are there and can be used",
    "base row": "Rows that were made for all nodes, because the group's need them",
}


def report_lines(report: ImportReport, come_to: Transfer, *, everything: bool = False) -> Iterator[str]:
    """The report. Long lists are cut unless *everything* is wanted; a dry run shows the rows that would change."""
    yield from note_lines(report.notes, None if everything else _MANY)
    if report.warnings:
        yield from ("Warnings of the database", *(f"  {warning}" for warning in report.warnings), "")
    if come_to.secrets:
        yield "Secrets are not imported: rows name them. Give them to each node, in policyd:setup:"
        yield from (f"  {line}" for line in come_to.secrets_line().split("\n"))
        yield ""
    if come_to.key_roots:
        yield "Private keys are not imported: rows name a key root. The service's configuration says where it is:"
        for root in come_to.key_roots:
            yield from (f"  {line}" for line in root.section())
        yield ""
    if report.changes and (report.dry_run or everything):
        yield "Rows"
        yield from cut_lines([_row(change) for change in report.changes], None if everything else _MANY)
        yield ""
    width = max((len(name) for name in report.tables), default=0)
    yield from (f"{name:<{width}}  {_counts(counts)}" for name, counts in report.tables.items())
    yield _outcome(report)


def _outcome(report: ImportReport) -> str:
    if report.revision is None:
        return "Nothing would change." if report.dry_run else "Nothing changed."
    return "Dry run: nothing was changed." if report.dry_run else f"Imported as revision {report.revision}."


def _counts(counts: Counts) -> str:
    said = (
        (counts.inserted, "new"),
        (counts.updated, "changed"),
        (counts.deleted, "deleted"),
        (counts.unchanged, "unchanged"),
    )
    return ", ".join(f"{number} {what}" for number, what in said if number)


def note_lines(notes: Sequence[Note], at_most: int | None) -> Iterator[str]:
    """The notes below a heading for each topic."""
    for topic, heading in _TOPICS.items():
        lines = [line for note in notes if note.topic == topic for line in _note(note, at_most)]
        if lines:
            yield from (heading, *cut_lines(lines, at_most), "")


def _note(note: Note, at_most: int | None) -> Iterator[str]:
    yield str(note)
    yield from cut_lines(list(note.details), None if at_most is None else at_most // 4)


def cut_lines(lines: Sequence[str], at_most: int | None) -> Iterator[str]:
    """The lines below a heading, of which those beyond *at_most* are only counted."""
    shown = lines if at_most is None else lines[:at_most]
    yield from (f"  {line}" for line in shown)
    if len(shown) < len(lines):
        yield f"  … and {len(lines) - len(shown)} more (--all)"


def _row(change: RowChange) -> str:
    row = " ".join([change.table, *(str(part) for name, part in change.key.items() if name != "singleton")])
    old, new = change.old or {}, change.new or {}
    match change.op:
        case "insert":
            fields = {
                name: value for name, value in new.items() if value is not None and name not in change.key
            }
            told = ", ".join(f"{name} {_shown(value)}" for name, value in fields.items())
            return f"+ {row}{f': {told}' if told else ''}"
        case "delete":
            return f"- {row}"
        case _:
            differing = [name for name in new if _shown(old.get(name)) != _shown(new[name])]
            told = ", ".join(f"{name} {_shown(old.get(name))} → {_shown(new[name])}" for name in differing)
            return f"~ {row}: {told}"


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
