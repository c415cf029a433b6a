"""Markdown, as far as the reference pages need it."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would end a cell is escaped."""
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def made(title: str, *paragraphs: str) -> str:
    """A page, with a note that nobody has to edit it."""
    note = "<!-- Written by make docs; what it is made from is where to change it. -->"
    return "\n\n".join([f"# {title}", note, *(each.strip() for each in paragraphs)]) + "\n"


def code(text: str) -> str:
    """Text as code, where there is some."""
    return f"`{text}`" if text else ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
