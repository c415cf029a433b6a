"""The tables, from the comments that PostgreSQL shows; and KumoMTA's options, from the catalogue."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from generating.markdown import code, made, table

_COMMENT = re.compile(
    r"^comment on (table|column|view) policy\.([\w.]+) is\s+((?:e?'(?:[^']|'')*'\s*)+);", re.MULTILINE
)


def tables_page(schema: str) -> str:
    """Every table and view of schema `policy` with its columns, as psql shows them."""
    things: dict[str, str] = {}
    columns: dict[str, list[tuple[str, str]]] = {}
    for kind, name, literal in _COMMENT.findall(schema):
        text = _text(literal)
        if kind == "column":
            owner, _, column = name.partition(".")
            columns.setdefault(owner, []).append((code(column), text))
        else:
            things[name] = text
    return made(
        "Tables",
        "Schema `policy`. The same stands in the database: `\\d+ policy.tenant` in psql. A day's work with them is in"
        " [sql/README.md](../../sql/README.md).",
        *(
            f"## {name}\n\n{things[name]}\n\n{table(['column', 'meaning'], columns[name])}"
            for name in things
            if name in columns
        ),
    )


def options_page(catalogue: Path) -> str:
    """KumoMTA's options, by the object that has them."""
    found = tomllib.loads(catalogue.read_text(encoding="utf-8"))
    return made(
        "KumoMTA's options",
        "What rows may say, option by option; everything else is refused with the nearest name. *since*: the first KumoMTA that knows it;"
        " a live node that is older makes policyd refuse it. *restricted*: reaches outside mail, so only `policyd_owner` may set it.",
        *(
            f"## {name}\n\n{table(['option', 'format', 'since', 'notes'], _options(options))}"
            for name, options in found.items()
        ),
    )


def _options(options: Mapping[str, object]) -> Iterator[tuple[str, str, str, str]]:
    for name, value in options.items():
        option = value if isinstance(value, Mapping) else {"format": value}
        notes = [str(option["note"])] if "note" in option else []
        if option.get("restricted"):
            notes.insert(0, "restricted")
        yield code(name), code(str(option.get("format", ""))), str(option.get("since", "")), "; ".join(notes)


def _text(literal: str) -> str:
    return "".join(re.findall(r"'((?:[^']|'')*)'", literal)).replace("''", "'")
