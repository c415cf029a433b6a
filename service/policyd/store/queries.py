"""The runtime's SQL by name, read once from `queries.sql`, where every statement stands with a sentence."""

import re
from importlib.resources import files
from typing import Final, LiteralString, cast

_HEADING = re.compile(r"^-- ([a-z_]+) --$", re.MULTILINE)


def parse_queries(text: str) -> dict[str, LiteralString]:
    """Each `-- name --` section's statement; ValueError for a name that stands twice."""
    _, *sections = _HEADING.split(text)
    names, statements = sections[::2], sections[1::2]
    if len(set(names)) != len(names):
        raise ValueError("a query's name stands twice in queries.sql")
    # Literal in the sense that matters: it comes from a file of this package and from nobody's input.
    return {
        name: cast(LiteralString, statement.strip().removesuffix(";"))
        for name, statement in zip(names, statements, strict=True)
    }


QUERIES: Final = parse_queries(files("policyd.store").joinpath("queries.sql").read_text())
