"""A lookup: one question, a kind and its parameters, in canonical form."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from policyd.errors import LookupInvalid
from policyd.policy.asking import Json, Resolver

LONGEST_NAME = 255
LONGEST_VALUE = 1000
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_NOTHING_TO_ESCAPE = re.compile(r"[A-Za-z0-9_.~*:-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One question to be resolved; equal questions have equal paths."""

    kind: str
    path: str
    key: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """
    What is asked for, or a query parameter: its bounds, and how what was asked becomes canonical.

    *normalise* returns None for what means the same as not given.
    """

    name: str
    meaning: str
    normalise: Callable[[str], str | None]
    least: int = 0
    longest: int = LONGEST_VALUE

    def read(self, asked: str) -> str | None:
        """*asked* in canonical form; LookupInvalid for what is out of bounds or not printable."""
        if len(asked) < self.least:
            raise self._invalid("is empty", "a name")
        if len(asked) > self.longest:
            raise self._invalid(f"has {len(asked)} characters", f"at most {self.longest}")
        if _CONTROL_CHARACTER.search(asked):
            raise self._invalid("holds a control character", "printable characters")
        return self.normalise(asked)

    def _invalid(self, problem: str, allowed: str) -> LookupInvalid:
        return LookupInvalid(parameter=self.name, problem=problem, allowed=allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """How an answer is written that is a file and is sent as one, not in an envelope."""

    media_type: str
    write: Callable[[Mapping[str, Json]], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of lookup: its place in the URL, its parameters, and its resolver."""

    name: str
    segment: str
    summary: str
    key: Parameter | None
    parameters: tuple[Parameter, ...]
    resolve: Callable[[Lookup, float], Resolver]
    file: File | None = None

    def read(self, key: str | None, given: Iterable[tuple[str, str]]) -> Lookup:
        """The lookup that a request asks for; LookupInvalid names what is wrong with it."""
        name = None if self.key is None else self.key.read(key or "")
        return self.lookup(name or "", self._read_parameters(given))

    def lookup(self, key: str, parameters: Mapping[str, str]) -> Lookup:
        """The lookup of a key and parameters that are canonical already."""
        path = f"/{self.segment}" if self.key is None else f"/{self.segment}/{_escape(key)}"
        query = "&".join([f"{name}={_escape(value)}" for name, value in parameters.items()])
        return Lookup(
            kind=self.name,
            path=f"{path}?{query}" if query else path,
            key=key,
            parameters=MappingProxyType(dict(parameters)),
        )

    def _read_parameters(self, given: Iterable[tuple[str, str]]) -> dict[str, str]:
        known = {parameter.name: parameter for parameter in self.parameters}
        values: dict[str, str] = {}
        for name, value in given:
            if name not in known:
                raise LookupInvalid(
                    parameter=name,
                    problem="is not a parameter of this lookup",
                    allowed=", ".join(known) or "none",
                )
            if name in values:
                raise LookupInvalid(parameter=name, problem="is given twice", allowed="once")
            values[name] = value
        canonical = {
            parameter.name: parameter.read(values[parameter.name])
            for parameter in self.parameters
            if parameter.name in values
        }
        return {name: value for name, value in canonical.items() if value}


def row_name(meaning: str) -> Parameter:
    """The name of a thing that only operators make: used as it is, and refused where no row can have it."""
    return Parameter(name="name", meaning=meaning, normalise=str, least=1, longest=LONGEST_NAME)


def optional_name(asked: str) -> str | None:
    """A name that may be left out: empty and `*` mean the same as not given."""
    return None if asked in ("", "*") else asked


def _escape(text: str) -> str:
    return text if _NOTHING_TO_ESCAPE.fullmatch(text) else quote(text, safe="*:")
