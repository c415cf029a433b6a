"""One helper file: its data, where each key stands, and which of KumoMTA's helpers it is for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import PurePath
from typing import Literal, TypeAlias, get_args

from policyd.errors import PolicydError
from policyd.transfer.findings import Json, Origin
from policyd.transfer.syntax import Parsed, SyntaxProblem, parse_json, parse_toml

HelperKind: TypeAlias = Literal["listener_domains", "sources", "queues", "dkim", "shaping", "policyd"]
Table: TypeAlias = Mapping[str, Json]

KINDS: tuple[HelperKind, ...] = get_args(HelperKind)

QUEUE_SETTINGS = (
    "scheduling_header",
    "tenant_header",
    "campaign_header",
    "remove_tenant_header",
    "remove_campaign_header",
    "default_tenant",
)
LISTENER_DOMAIN_FIELDS = ("relay_to", "relay_from", "relay_from_authz", "log_oob", "log_arf", "ttl")

_SPOKEN: dict[str, HelperKind] = {
    "queue": "queues",
    "source": "sources",
    "listener_domain": "listener_domains",
}
_IN_FILE_NAMES: tuple[tuple[str, HelperKind], ...] = (
    ("listener", "listener_domains"),
    ("source", "sources"),
    ("pool", "sources"),
    ("queue", "queues"),
    ("dkim", "dkim"),
    ("shaping", "shaping"),
    ("policyd_data", "policyd"),
)
_SHAPING_ONLY = frozenset(("automation", "mx_rollup", "replace_base", "sources", "provider_connection_limit"))
_SHAPING_LIKE = (
    "connection_limit",
    "enable_",
    "max_connection",
    "max_deliveries",
    "max_message_rate",
    "smtp_",
    "_timeout",
)
_DKIM_ONLY = frozenset(
    ("selector", "additional_signatures", "header_canonicalization", "over_sign", "algo", "filename")
)


POLICYD_SECTIONS = (
    "no_default_files",
    "queue_settings",
    "dkim_settings",
    "dkim_domain",
    "dkim_signature",
    "node_group",
    "webhook",
)


class UnreadableFile(PolicydError):
    """A file that cannot be taken for what it is given as: the place and a sentence about it."""

    def __init__(self, origin: Origin, sentence: str) -> None:
        super().__init__()
        self.origin, self.sentence = origin, sentence

    def __str__(self) -> str:
        return f"{self.origin}: {self.sentence}"


class UnrecognisedFile(UnreadableFile):
    """A file that is well-formed and looks like none of the helpers' files, or like several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperFile:
    """The data of one file, for one of KumoMTA's helpers, or what policyd alone has words for."""

    name: str
    kind: HelperKind
    data: Table = field(repr=False)
    lines: Mapping[tuple[str, ...], int] = field(repr=False)
    repeated: tuple[str, ...] = ()
    under: tuple[str, ...] = ()
    """Where in the file the data stands, if it is a part of it."""

    def origin(self, *key: str) -> Origin:
        """Where the key stands; the line is that of the nearest part of it that begins one."""
        path = (*self.under, *key)
        near = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)
        return Origin(file=self.name, key=path, line=None if near is None else self.lines[near])

    def part(self, kind: HelperKind, data: Table, *key: str) -> "HelperFile":
        """A table of the file, as if it were a file of *kind*."""
        return replace(self, kind=kind, data=data, under=(*self.under, *key), repeated=())


def read_helper_file(name: str, text: str, kind: HelperKind | None = None) -> HelperFile:
    """The file as KumoMTA would read it: TOML if it is called so, else JSON with comments."""
    try:
        # KumoMTA asks for the pattern `.toml$`, where the dot is any character.
        is_toml = name.endswith("toml") and len(name) > len("toml")
        parsed: Parsed = parse_toml(text) if is_toml else parse_json(text)
    except SyntaxProblem as exc:
        raise UnreadableFile(Origin(file=name), str(exc)) from None
    if not isinstance(parsed.data, dict):
        raise UnrecognisedFile(
            Origin(file=name), "this is no helper file of KumoMTA: it holds no table of names"
        )
    kind = kind or recognise(name, parsed.data)
    return HelperFile(name=name, kind=kind, data=parsed.data, lines=parsed.lines, repeated=parsed.repeated)


def kind_named(written: str) -> HelperKind | None:
    """The kind that an operator means by `listener_domains=FILE`, or None if there is none of that name."""
    return next((kind for kind in KINDS if kind == written), _SPOKEN.get(written))


def recognise(name: str, data: Table) -> HelperKind:
    """Which helper a file is for: what its content says, or where that leaves a doubt, its name."""
    likely = [kind for kind in KINDS if _looks_like(kind, data)]
    if len(likely) == 1:
        return likely[0]
    base = PurePath(name).name.lower()
    named = next((kind for part, kind in _IN_FILE_NAMES if part in base), None)
    if named is not None and (not likely or named in likely):
        return named
    looks = f"it could be {' or '.join(likely)}" if likely else f"it looks like none of {', '.join(KINDS)}"
    raise UnrecognisedFile(
        Origin(file=name), f"cannot tell what this file is for: {looks}; say it: KIND={name}"
    )


def nearest(name: str, allowed: tuple[str, ...], *, at_least: float = 0.6) -> str:
    """`; did you mean 'x'?` if one of the allowed names is near, else nothing."""
    near = get_close_matches(name, allowed, n=1, cutoff=at_least)
    return f"; did you mean '{near[0]}'?" if near else ""


def _looks_like(kind: HelperKind, data: Table) -> bool:
    match kind:
        case "queues":
            return any(name in data for name in QUEUE_SETTINGS) or any(
                name in data and _is_table_of_tables(data[name]) for name in ("queue", "tenant")
            )
        case "sources":
            return _is_table_of_tables(data.get("source")) or any(
                _is_table_of_tables(pool, empty=True) for pool in _tables_in(data.get("pool"))
            )
        case "dkim":
            return _is_table_of_tables(data.get("signature")) or any(
                not _DKIM_ONLY.isdisjoint(table)
                for name in ("base", "domain")
                for table in _flat(data.get(name))
            )
        case "shaping":
            return _is_table_of_tables(data.get("provider")) or any(map(_is_shaping, _tables_in(data)))
        case "policyd":
            return bool(data) and data.keys() <= set(POLICYD_SECTIONS)
        case "listener_domains":
            return _is_table_of_tables(data.get("listener")) or any(
                name in table for table in _tables_in(data) for name in LISTENER_DOMAIN_FIELDS[:-1]
            )


def _is_shaping(section: Table) -> bool:
    return not _SHAPING_ONLY.isdisjoint(section) or any(
        part in option
        for option, value in section.items()
        if not isinstance(value, dict)
        for part in _SHAPING_LIKE
    )


def _is_table_of_tables(value: Json | Table, *, empty: bool = False) -> bool:
    return (
        isinstance(value, Mapping)
        and (empty or bool(value))
        and all(isinstance(item, dict) for item in value.values())
    )


def _tables_in(value: Json | Table) -> Iterator[Table]:
    if isinstance(value, Mapping):
        yield from (item for item in value.values() if isinstance(item, dict))


def _flat(value: Json) -> Iterator[Table]:
    if isinstance(value, dict):
        yield value
        yield from _tables_in(value)
