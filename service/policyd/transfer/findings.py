"""What reading helper files finds: rows, what must be checked before they are stored, problems and notes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
Topic: TypeAlias = Literal[
    "ignored", "normalised", "surprise", "trie", "host address", "not imported", "base row", "keys"
]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something stands in the files: `queues.toml:12: queue."example.com".max_age`."""

    file: str
    key: tuple[str, ...] = ()
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {toml_path(self.key)}" if self.key else place


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One value of a file, and where it stands."""

    value: Json = field(repr=False)  # it may be a password that has not been taken out yet
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table of the schema `policy`, columns as the table calls them; a column left out is null."""

    table: str
    values: Mapping[str, Json]
    origin: Origin
    only_if_missing: bool = False
    """A base row beside a row for a group of nodes: made when there is none, never changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A record in KumoMTA's spelling that the database judges, stored or not, and where each of its fields stands."""

    object: str
    record: Mapping[str, Json]
    origin: Origin
    origins: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name that needs a row in a table, either in the same import or in the database."""

    table: Literal["egress_source", "egress_pool", "tenant"]
    name: str
    origin: Origin
    required: bool = True
    """Whether nothing is imported without it; else it is only to be noted."""

    def problem(self) -> "Problem":
        """What is to be said when there is no such row."""
        kind = self.table.replace("_", " ")
        return Problem(
            origin=self.origin,
            sentence=f"{kind} '{self.name}' is defined neither in the files nor in the database",
        )

    def note(self) -> "Note":
        """The same of a name without which the rest makes sense."""
        sentence = f"there is no {self.table.replace('_', ' ')} '{self.name}': as long as there is none, this has no effect"
        return Note(topic="surprise", origin=self.origin, sentence=sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why nothing is imported: a sentence, and the place that it is about."""

    origin: Origin
    sentence: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What an operator should know about an import that works; `details` are the cases one by one."""

    topic: Topic
    origin: Origin
    sentence: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.origin}: {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress(Note):
    """Mail that leaves from the host's own address, because nothing names a pool: `on_missing` becomes `stock`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that was found, by the name that stands in its row now. The secret itself is forgotten."""

    name: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRoot:
    """A place where the files' private keys are, as a key root of the service's configuration."""

    name: str
    settings: Mapping[str, str]
    origin: Origin

    def section(self) -> list[str]:
        """The lines of `policyd.toml` that make it known to the service."""
        return [
            f"[keys.{self.name}]",
            *(f"{name} = {json.dumps(value)}" for name, value in self.settings.items()),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A private key that a row signs with: its root and name, and what it is to be (None: anything)."""

    root: str
    name: str
    algorithm: str | None
    origin: Origin


Finding: TypeAlias = Row | Checked | Reference | Problem | Note | Secret | KeyRoot | WantedKey


def toml_path(key: tuple[str, ...]) -> str:
    """The key path as TOML writes it: `queue."example.com".max_age`."""
    return ".".join(part if _BARE_KEY.fullmatch(part) else f'"{part}"' for part in key)
