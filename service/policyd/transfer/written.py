"""Rows as tables of a TOML file: only what is said, in KumoMTA's spelling."""

from collections.abc import Iterator, Mapping, Sequence

import tomli_w

from policyd.policy.shaping import SECRET_EVENT, key_source
from policyd.transfer.findings import Json

Record = Mapping[str, Json]
Rows = Mapping[str, Sequence[Record]]


def given(row: Record, *columns: str) -> dict[str, Json]:
    """The columns that are not null."""
    return {column: row[column] for column in columns if row.get(column) is not None}


def with_key_source(fields: dict[str, Json], *names: str) -> dict[str, Json]:
    """The fields with secrets, which rows name, as KeySources that ask a node's setup for the secret of that name."""
    for name in names:
        reference = fields.get(name)
        if isinstance(reference, dict):
            fields[name] = key_source(reference)
    return fields


def to_text(heading: str, table: Mapping[str, Json]) -> str:
    """The file: its heading as a comment, then the table. The same table always makes the same text."""
    comment = "".join(f"# {line}\n" for line in heading.splitlines())
    body = tomli_w.dumps(table)
    return f"{comment}\n{body}" if body else comment


def secret_names(value: Json | Mapping[str, Json]) -> Iterator[str]:
    """The names of all secrets that the value asks for as KeySources, at any depth."""
    match value:
        case {"event_name": str(event), "event_args": [str(name)]} if event == SECRET_EVENT:
            yield name
        case Mapping():
            for each in value.values():
                yield from secret_names(each)
        case list():
            for each in value:
                yield from secret_names(each)
        case _:
            pass
