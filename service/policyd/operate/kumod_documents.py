"""Documents as kumod's constructors are given them, for the constructors to judge."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from policyd.policy.shaping import key_source, sections
from policyd.policy.tags import kind_of, parts_of

Json: TypeAlias = Any
Body: TypeAlias = Mapping[str, Json]

_RATE: Final = "overall_max_message_rate"
_SIGNING: Final = (
    "selector",
    "headers",
    "header_canonicalization",
    "body_canonicalization",
    "over_sign",
    "expiration",
)
_NOT_OF_A_PATH: Final = frozenset(
    (
        "mx_rollup",
        "replace_base",
        "automation",
        "sources",
        "match",
        "provider_connection_limit",
        "provider_max_message_rate",
        "provider_source_selection_rate",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Something that a constructor is asked about: the document that it is of, which part, and the parameters."""

    tag: str
    part: str
    kind: str
    params: Mapping[str, Json] = field(repr=False)


def to_be_judged(documents: Sequence[tuple[str, Body]]) -> Iterator[Judged]:
    """What kumod is to be asked. Of shaping, each section is asked alone, as the file that it would be."""
    settings = dict(documents).get("dkim_settings", {})
    for tag, body in documents:
        match kind_of(tag):
            case "listener_domain":
                yield _judged(tag, "listener_domain", _without(body, "relay_from_authz"))
            case "egress_source":
                yield _judged(tag, "egress_source", _with_key_sources(body))
            case "egress_pool":
                # An empty list of Lua may be an object to Rust.
                yield _judged(tag, "egress_pool", body if body["entries"] else _without(body, "entries"))
            case "queue":
                yield _judged(tag, "queue", _queue(body))
            case "tenant":
                yield _judged(tag, "queue", _queue(body))
                yield from _rates(tag, body)
            case "dkim_domain" | "dkim_signature":
                yield _signer(tag, body, settings)
            case "shaping":
                yield from _shaping(tag, body)
            case _:
                pass


def _queue(body: Body) -> dict[str, Json]:
    pool = {"egress_pool": body["egress_pool"]} if "egress_pool" in body else {}
    return {**body["options"], **pool}


def _rates(tag: str, body: Body) -> Iterator[Judged]:
    if _RATE in body:
        yield _judged(tag, "rate", {"name": "tenant", "rate": body[_RATE]}, part=_RATE)
    for name, campaign in body.get("campaigns", {}).items():
        if _RATE in campaign:
            yield _judged(
                tag, "rate", {"name": "campaign", "rate": campaign[_RATE]}, part=f"campaign '{name}'"
            )


def _signer(tag: str, body: Body, settings: Body) -> Judged:
    (name,) = parts_of(tag)
    domain = body.get("domain", name)
    given = {each: body.get(each, settings.get(each)) for each in _SIGNING}
    return _judged(
        tag,
        "signer",
        {
            "domain": f"x{domain.removeprefix('*')}" if domain != "*" else "x.example",
            **{each: value for each, value in given.items() if value is not None},
        },
    )


def _shaping(tag: str, body: Body) -> Iterator[Judged]:
    for (*place, name), section in sections(body).items():
        kind = place[0] if place else "domain"
        part = f"{kind} '{name}'"
        # No MX is asked for a section that does not roll up.
        alone = {**section, "mx_rollup": False} if not place and name != "default" else section
        yield _judged(tag, "shaping", {place[0]: {name: alone}} if place else {name: alone}, part=part)
        yield _judged(tag, "egress_path", _path(section), part=part)
        for source, options in section.get("sources", {}).items():
            yield _judged(tag, "egress_path", _path(options), part=f"{part}, source '{source}'")


def _path(section: Body) -> dict[str, Json]:
    return {name: value for name, value in section.items() if name not in _NOT_OF_A_PATH and value != []}


def _with_key_sources(body: Body) -> dict[str, Json]:
    return {
        name: key_source(value) if isinstance(value, dict) and value.keys() == {"secret"} else value
        for name, value in body.items()
    }


def _without(body: Body, name: str) -> dict[str, Json]:
    return {each: value for each, value in body.items() if each != name}


def _judged(tag: str, kind: str, params: Mapping[str, Json], *, part: str = "") -> Judged:
    return Judged(tag=tag, part=part, kind=kind, params=params)
