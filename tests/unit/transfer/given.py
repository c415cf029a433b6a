"""Helper files as tests write them: a name and a text."""

from textwrap import dedent

from policyd.transfer.files import HelperFile, read_helper_file
from policyd.transfer.findings import Json, Note
from policyd.transfer.reading import Transfer, transfer


def files(**texts: str) -> list[HelperFile]:
    """The files in the order given: `queues_a=…` is the file queues_a.toml."""
    return [read_helper_file(f"{name}.toml", dedent(text)) for name, text in texts.items()]


def read(node_group: str | None = None, **texts: str) -> Transfer:
    """What the files come to."""
    return transfer(files(**texts), node_group=node_group)


def rows(found: Transfer, table: str) -> list[dict[str, Json]]:
    """The rows of one table."""
    return [dict(row.values) for row in found.rows if row.table == table]


def problems(found: Transfer) -> list[str]:
    """The problems as they are shown."""
    return [str(problem) for problem in found.problems]


def notes(found: Transfer, topic: str) -> list[Note]:
    """The notes of one topic."""
    return [note for note in found.notes if note.topic == topic]
