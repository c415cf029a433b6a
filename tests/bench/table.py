"""Rows of numbers, and how they are shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table: what was measured, against which goal, how far the rounds differ."""

    what: str
    goal: str
    measured: str
    spread: str = ""
    notes: str = ""
    values: dict[str, float] = field(default_factory=dict)


def spread(values: Sequence[float]) -> str:
    """How far rounds differ, as a share of their median."""
    middle = median(values)
    return f"±{(max(values) - min(values)) / middle / 2:.0%}" if middle and len(values) > 1 else ""


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    table = Table(box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for heading in ("what", "goal", "measured", "spread", "details"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.what, row.goal, row.measured, row.spread, row.notes)
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(
        title, "Ratios are medians of rounds that were run in turn; goals are the design's.", sep="\n"
    )
    console.print(table)


def to_json(rows: Sequence[Row], machine: str) -> str:
    """The table for programs, and for the page on sizing."""
    return json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
