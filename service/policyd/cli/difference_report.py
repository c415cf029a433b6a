"""Differences of documents as lines for a person: what became what, and whom it touches."""

import json
from collections.abc import Iterable, Iterator, Mapping

import click

from policyd.cli.import_report import cut_lines
from policyd.cli.showing import counted
from policyd.operate.differences import Change, DocumentChange, FieldChange
from policyd.operate.importing import ImportReport
from policyd.transfer.findings import Json

_MARKS: Mapping[Change, tuple[str, str]] = {
    "added": ("+", "green"),
    "changed": ("~", "yellow"),
    "removed": ("-", "red"),
}
_LONGEST = 120


def difference_lines(report: ImportReport, *, at_most: int | None, pruned: bool) -> Iterator[str]:
    """The differences, each with its fields, and how far they reach; long lists are cut."""
    reach = report.reach
    sentences = {} if reach is None else reach.sentences
    shown = report.differences if at_most is None else report.differences[: at_most * 5]
    for change in shown:
        yield from document_lines(change, sentences.get(change.name, ""), at_most=at_most)
    if len(shown) < len(report.differences):
        yield f"… and {len(report.differences) - len(shown)} more (--all)"
    alone = sum(each.change == "removed" for each in report.differences)
    if alone and not pruned:
        yield f"In the database alone: {alone}, which policyd apply leaves there; --prune deletes it."
    if report.differences and reach is not None:
        everybody = f", and everybody by {', '.join(reach.everybody)}" if reach.everybody else ""
        yield (
            f"{counted(len(report.differences), 'difference')}: {counted(reach.domains, 'domain')} and"
            f" {counted(reach.tenants, 'tenant')} touched{everybody}."
        )
    elif not report.differences:
        yield "No difference."


def document_lines(change: DocumentChange, touches: str = "", *, at_most: int | None = None) -> Iterator[str]:
    """One document: its name, and below it the fields that are different."""
    mark, colour = _MARKS[change.change]
    yield click.style(f"{mark} {change.name}", fg=colour) + (f"  ({touches})" if touches else "")
    if change.change == "changed":
        told = list(field_lines(change.fields))
    else:
        is_gone = change.change == "removed"
        told = [f"{each.field}: {_shown(each.old if is_gone else each.new)}" for each in change.fields]
    yield from (f"  {line}" for line in cut_lines(told, at_most))


def field_lines(fields: Iterable[FieldChange]) -> Iterator[str]:
    """What became of each field."""
    for each in fields:
        yield f"{each.field}: {_shown(each.old)} → {_shown(each.new)}"


def _shown(value: Json) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
