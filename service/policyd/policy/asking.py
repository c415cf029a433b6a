"""
What a `resolve` generator yields and is sent: questions for documents, and what was seen of them.

A kind is one pure generator. It yields an `Ask`, is sent the `Seen` documents, may ask again, and returns a
`Resolution`. What it asked for are the tags of the answer: complete by construction.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value as orjson reads it; documents come from the database's views and are only passed on."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Documents wanted: all of *all_of*, and of the chain *first_of* those up to the first that exists."""

    all_of: tuple[str, ...]
    first_of: tuple[str, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """Everything to fetch; a chain is fetched whole, so that one statement is enough."""
        return self.all_of + self.first_of


def ask(*all_of: str, first_of: Sequence[str] = ()) -> Ask:
    """Ask for all of the given tags and, in the same breath, for the first of a chain."""
    return Ask(all_of, tuple(first_of))


@dataclass(frozen=True, slots=True)
class Seen:
    """The documents shown in reply to one `Ask`; None where there is none."""

    documents: Mapping[str, Mapping[str, Json] | None]
    hit: str | None
    """The first tag of the chain whose document exists."""

    def __getitem__(self, tag: str) -> Mapping[str, Json] | None:
        return self.documents[tag]


Field: TypeAlias = tuple[str, ...]
"""Where a value goes in the answer: `("relay_to",)`, `("options", "max_age")`."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Values that one document (or, for *source* without a slash that is no tag, KumoMTA's own default) contributes."""

    source: str
    fields: Mapping[Field, Json]


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step on the way to an answer, as a sentence for people; *document* is what it is about, if that is one.

    *counts* says whether what is told of takes part in the answer; None: it is only to be known.
    """

    says: str
    document: str | None = None
    counts: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An answer that comes along with another one, to be kept under its own path with its own tags."""

    path: str
    tags: tuple[str, ...]
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a generator returns: layers in rising precedence; no layer at all means that nothing is there."""

    layers: tuple[Layer, ...]
    valid_until: float | None = None
    brings: tuple[Part, ...] = field(default=())
    doubted: tuple[str, ...] = ()
    """Documents of things seen outside the database that the answer could not use: worth looking at again."""
    steps: tuple[Step, ...] = ()
    """How the answer came about, if somebody wants to know."""


Resolver: TypeAlias = Generator[Ask, Seen, Resolution]

Shown: TypeAlias = Mapping[str, Mapping[str, Json] | None]
"""All documents that a generator was shown on its way, by tag."""


def overlay(layers: Sequence[Layer]) -> dict[str, Json]:
    """The answer that layers make together: for each field the last layer's value, taken whole."""
    answer: dict[str, Json] = {}
    for layer in layers:
        for (*groups, name), value in layer.fields.items():
            target = answer
            for group in groups:
                target = target.setdefault(group, {})
            target[name] = value
    return answer
