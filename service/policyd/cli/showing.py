"""Tables and values: in colour where a person looks, tab-separated where a pipe does."""

import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, unbroken: int = 0) -> None:
    """Print rows below the names of their columns; the first *unbroken* columns are never folded."""
    texts = [[spelled(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for line in ([*columns], *texts):
            click.echo("\t".join(line))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for place, name in enumerate(columns):
        table.add_column(Text(name), overflow="fold", no_wrap=place < unbroken)
    for line in texts:
        # Text: a value with [brackets] is no markup.
        table.add_row(*(Text(value) for value in line))
    Console(highlight=False).print(table)


def spelled(value: object) -> str:
    """A value as psql would spell it; nothing for null."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return "{" + ",".join(spelled(each) for each in value) + "}"
        case bytes():
            return "\\x" + value.hex()
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def lasting(seconds: float) -> str:
    """A duration as people say it: `3 s`, `2 min`, `5 h`, `12 d`."""
    for unit, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
