"""
`policy-extras.dkim_sign`: what a message is signed with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.contract.reference.files import Fields, File, table
from tests.contract.reference.trie import Variant, matching_key, normalised

DIRECTORY = "/opt/kumomta/etc/dkim"
INHERITED = (
    "selector",
    "headers",
    "header_canonicalization",
    "body_canonicalization",
    "over_sign",
    "expiration",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """All files as one: a later file replaces field by field, whatever the field holds."""

    base: Fields
    domain: dict[str, Fields]
    signature: dict[str, Fields]


def merged(files: Iterable[File]) -> Data:
    """The files as the helper loads them."""
    whole = Data(base={}, domain={}, signature={})
    for file in files:
        whole.base.update(table(file.get("base")))
        for kind, blocks in (("domain", whole.domain), ("signature", whole.signature)):
            for name, fields in table(file.get(kind)).items():
                blocks.setdefault(name, {}).update(table(fields))
    return whole


def signers(files: Iterable[File], domain: str, variant: Variant) -> list[Fields]:
    """The signers that are applied to a message whose From: is of the domain, in order: algorithm and parameters."""
    data = merged(files)
    applied = []
    # d= is the From: domain itself, however it was matched; policyd looks names up, and signs them, normalised.
    own = domain if variant == "stock" else normalised(domain)
    key = matching_key(data.domain, domain, variant)
    if key is not None:
        applied.append(_signer(data.domain[key], own, data.base))
    for name in _list(data.base.get("additional_signatures")):
        block = data.signature[name]
        if not (block.get("policy") == "OnlyIfMissingDomainBlock" and key is not None):
            applied.append(_signer(block, str(block["domain"]), data.base))
    return applied


def _signer(block: Fields, domain: str, base: Fields) -> Fields:
    inherited = {name: _or(block, base, name) for name in INHERITED}
    path = block.get("filename", f"{DIRECTORY}/{domain}/{inherited['selector']}.key")
    parameters = {name: value for name, value in inherited.items() if value is not None}
    return {"alg": block.get("algo", "sha256"), "p": {"domain": domain, **parameters, "key": path}}


def _or(block: Mapping[str, object], base: Mapping[str, object], name: str) -> object:
    """Lua's `block.x or base.x`: false counts as absent, so that a block cannot undo a base's true."""
    value = block.get(name)
    return base.get(name) if value is None or value is False else value


def _list(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
