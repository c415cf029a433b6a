"""
DKIM: which signatures a message gets from the domain of its From: header, and where each one's key is.

As in KumoMTA's `policy-extras/dkim_sign.lua`: the nearest domain block signs for the asked domain itself, then the
additional signatures sign in their order, and what a block leaves out is as in the settings. Windows of time and keys
at a place of their own are policyd's.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from policyd.errors import LookupInvalid
from policyd.policy.asking import Json, Layer, Resolution, Resolver, Seen, ask
from policyd.policy.lookup import Kind, Lookup, Parameter
from policyd.policy.names import domain_chain, normalise_domain
from policyd.policy.tags import parts_of, tag

SETTINGS: Final = "dkim_settings"
KEY: Final = "dkim_key"
NOT_SEEN: Final = "not-seen"
MISSING: Final = "missing"
UNUSABLE: Final = "unusable"
WRONG_ALGORITHM: Final = "wrong-algorithm"
ASK_AGAIN_AFTER: Final = 10.0
"""Seconds for which an answer that lacks a key is good: then it is looked for again, so that it heals by itself."""

_DEFAULT_ROOT = "default"
_DEFAULT_ALGORITHM = "sha256"  # as in KumoMTA's helper; the key decides, where it is known
_FALLBACK = "OnlyIfMissingDomainBlock"
_FIELDS = ("headers", "header_canonicalization", "body_canonicalization", "over_sign", "expiration")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_SELECTOR = re.compile(rf"{_LABEL}(\.{_LABEL})*")

Row: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a key is: a key root of the service's configuration, and a name below it."""

    root: str
    name: str

    @property
    def tag(self) -> str:
        """The document of what was seen of the key there."""
        return tag(KEY, self.root, self.name)

    @classmethod
    def of(cls, tag: str) -> "Place":
        """The place that the tag of a key names."""
        root, name = parts_of(tag)
        return cls(root=root, name=name)


@dataclass(frozen=True, slots=True)
class _Block:
    """A row that may sign: its document's name, the d= of its signature, and what it says."""

    source: str
    domain: str
    row: Row


def resolve(lookup: Lookup, now: float) -> Resolver:
    """The signing plan for a domain of From:, each signature with the key_id that its key has now."""
    seen = yield ask(SETTINGS, first_of=_chain(lookup.key))
    settings = seen[SETTINGS] or {}
    blocks = [_Block(seen.hit, lookup.key, seen[seen.hit] or {})] if seen.hit is not None else []
    signing = [block for block in blocks if is_open(block.row, now)]
    extra = [tag("dkim_signature", name) for name in settings.get("additional_signatures", ())]
    if extra:
        rows = yield ask(*extra)
        has_own = bool(signing)
        for block in _additional(extra, rows):
            blocks.append(block)
            if is_open(block.row, now) and not (has_own and block.row.get("policy") == _FALLBACK):
                signing.append(block)
    until = [end for block in blocks for end in _ends(block.row) if end > now]
    if not signing:
        return Resolution(layers=(), valid_until=min(until, default=None))
    places = [_place(block, settings) for block in signing]
    keys = yield ask(*dict.fromkeys(place.tag for place in places))
    signatures = [
        _signature(block, settings, place, keys[place.tag] or {"problem": NOT_SEEN})
        for block, place in zip(signing, places, strict=True)
    ]
    if any("key_problem" in signature for signature in signatures):
        until.append(now + ASK_AGAIN_AFTER)
    return Resolution(
        layers=(Layer(signing[0].source, {("signatures",): signatures}),),
        valid_until=min(until, default=None),
        doubted=tuple(
            place.tag
            for place, signature in zip(places, signatures, strict=True)
            if signature.get("key_problem") == WRONG_ALGORITHM
        ),
    )


def resolve_places(lookup: Lookup, now: float) -> Resolver:
    """
    Where the key of a signature may be: the places of the rows that sign so, whatever their time, and the domain's own.

    A key is there to be read before its row begins to sign, after that, and without a row.
    """
    del now
    domain, selector = lookup.key, lookup.parameters["selector"]
    seen = yield ask(SETTINGS, first_of=_chain(domain))
    settings = seen[SETTINGS] or {}
    blocks = [_Block(seen.hit, domain, seen[seen.hit] or {})] if seen.hit is not None else []
    extra = [tag("dkim_signature", name) for name in settings.get("additional_signatures", ())]
    if extra:
        blocks += _additional(extra, (yield ask(*extra)))
    found = [
        _place(block, settings)
        for block in blocks
        if block.domain == domain and _selector(block.row, settings) == selector
    ]
    own = Place(root=settings.get("key_root", _DEFAULT_ROOT), name=f"{domain}/{selector}")
    places = [[place.root, place.name] for place in dict.fromkeys([*found, own])]
    return Resolution(layers=(Layer(SETTINGS, {("places",): places}),))


def places_lookup(domain: str, selector: str) -> Lookup:
    """The lookup of `resolve_places`; nobody can ask for its path over HTTP, where blanks cannot stand in one."""
    return Lookup(
        kind=DKIM_KEY.name, path=f"{KEY} {domain} {selector}", key=domain, parameters={"selector": selector}
    )


def read_key_path(domain: str, selector: str) -> tuple[str, str]:
    """The domain, normalised, and the selector that a request for a key names; LookupInvalid for what can be neither."""
    name = normalise_domain(domain)
    if "*" in name or next(domain_chain(name)) != name:
        raise LookupInvalid(
            parameter="domain", problem="cannot sign", allowed="a domain, without wildcards and addresses"
        )
    if len(selector) > 253 or not _SELECTOR.fullmatch(selector):
        raise LookupInvalid(
            parameter="selector",
            problem="is none",
            allowed="labels of letters, digits, _ and -, joined by dots",
        )
    return name, selector


def _chain(domain: str) -> list[str]:
    return [tag("dkim_domain", name) for name in domain_chain(domain)]


def _additional(tags: Sequence[str], rows: Seen) -> Iterable[_Block]:
    for each in tags:
        row = rows[each]
        if row is not None:
            yield _Block(each, row["domain"], row)


def is_open(row: Row, now: float) -> bool:
    """Whether the row signs now; its window holds not_before and does not hold not_after."""
    return row.get("not_before", now) <= now and ("not_after" not in row or now < row["not_after"])


def _ends(row: Row) -> list[float]:
    return [row[name] for name in ("not_before", "not_after") if name in row]


def _selector(row: Row, settings: Row) -> str | None:
    return row.get("selector") or settings.get("selector")


def _place(block: _Block, settings: Row) -> Place:
    return Place(
        root=block.row.get("key_root") or settings.get("key_root", _DEFAULT_ROOT),
        name=block.row.get("key_name") or f"{block.domain}/{_selector(block.row, settings)}",
    )


def _signature(block: _Block, settings: Row, place: Place, key: Row) -> dict[str, Json]:
    algorithm = block.row.get("algorithm") or key.get("algorithm", _DEFAULT_ALGORITHM)
    problem = key.get("problem")
    if problem is None and key["algorithm"] != algorithm:
        problem = WRONG_ALGORITHM
    # Lua's `or`: false in a block does not override true in the settings.
    given = {name: block.row.get(name) or settings.get(name) for name in _FIELDS}
    return {
        "domain": block.domain,
        "selector": _selector(block.row, settings),
        "algorithm": algorithm,
        **{name: value for name, value in given.items() if value is not None},
        **({"key_id": key["key_id"]} if problem is None else {"key_problem": problem}),
        "key": {"root": place.root, "name": place.name},
    }


DKIM = Kind(
    name="dkim",
    segment="dkim",
    summary="The signing plan of a domain: its signatures in order, each with the key_id of its key",
    key=Parameter(name="domain", meaning="the domain of the From: header", normalise=normalise_domain),
    parameters=(),
    resolve=resolve,
)

DKIM_KEY = Kind(
    name="dkim_key",
    segment="",
    summary="Where the key of a signature may be; asked by the service itself",
    key=None,
    parameters=(),
    resolve=resolve_places,
)
