"""A lookup: one question, a kind and its parameters, in canonical form."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from policyd.errors import LookupInvalid
from policyd.policy.asking import Resolver

LONGEST_NAME = 255
LONGEST_VALUE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One question to be resolved; equal questions have equal paths."""

    kind: str
    path: str
    key: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A query parameter of a kind: what it means, and how what was asked becomes canonical (None: as if not given)."""

    name: str
    meaning: str
    normalise: Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of lookup: its place in the URL, its parameters, and its resolver."""

    name: str
    segment: str
    summary: str
    key: Parameter | None
    parameters: tuple[Parameter, ...]
    resolve: Callable[[Lookup, float], Resolver]

    def read(self, key: str | None, given: Iterable[tuple[str, str]]) -> Lookup:
        """The lookup that a request asks for; LookupInvalid names what is wrong with it."""
        name = ""
        if self.key is not None:
            _refuse_control_characters(self.key.name, key or "")
            name = self.key.normalise(key or "") or ""
        return self.lookup(name, self._read_parameters(given))

    def lookup(self, key: str, parameters: Mapping[str, str]) -> Lookup:
        """The lookup of a key and parameters that are canonical already."""
        path = f"/{self.segment}" if self.key is None else f"/{self.segment}/{quote(key, safe='*:')}"
        query = "&".join(f"{name}={quote(value, safe='*:')}" for name, value in parameters.items())
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
            _refuse_control_characters(name, value)
            values[name] = value
        canonical = {
            parameter.name: parameter.normalise(values[parameter.name])
            for parameter in self.parameters
            if parameter.name in values
        }
        return {name: value for name, value in canonical.items() if value}


def exact_name(what: str) -> Callable[[str], str]:
    """A normaliser for names of things that only operators make: used as they are, within bounds."""

    def normalise(asked: str) -> str:
        if not asked:
            raise LookupInvalid(parameter=what, problem="is empty", allowed="a name")
        if len(asked) > LONGEST_NAME:
            raise LookupInvalid(
                parameter=what, problem=f"has {len(asked)} characters", allowed=f"at most {LONGEST_NAME}"
            )
        return asked

    return normalise


def optional_name(asked: str) -> str | None:
    """A name that may be left out: empty and `*` mean the same as not given."""
    return None if asked in ("", "*") else asked


def _refuse_control_characters(name: str, value: str) -> None:
    if len(value) > LONGEST_VALUE:
        raise LookupInvalid(
            parameter=name, problem=f"has {len(value)} characters", allowed=f"at most {LONGEST_VALUE}"
        )
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
        raise LookupInvalid(
            parameter=name, problem="holds a control character", allowed="printable characters"
        )
