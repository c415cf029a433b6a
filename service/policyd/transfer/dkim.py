"""KumoMTA's DKIM files as rows, merged as `policy-extras/dkim_sign.lua` merges them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from policyd.config import KeyRootConfig
from policyd.transfer.dkim_keys import DEFAULT_ROOT, KUMOMTA_DIRECTORY, KeyPlaces
from policyd.transfer.files import HelperFile, nearest
from policyd.transfer.findings import Checked, Field, Finding, Json, Note, Origin, Problem, Row, WantedKey
from policyd.transfer.names import name_problem, row_domain, row_domains
from policyd.transfer.policyd_data import PLACE, WINDOW, PolicydData
from policyd.transfer.trie import make_trie
from policyd.transfer.values import as_list

USUAL_HEADERS = ("From", "To", "Subject", "Date", "MIME-Version", "Content-Type", "Sender")
_SECTIONS = ("base", "domain", "signature")
_OWN = ("selector", "headers", "header_canonicalization", "body_canonicalization", "over_sign", "expiration")
_LISTS = ("headers", "additional_signatures")

Fields: TypeAlias = Mapping[str, Field]
_Written: TypeAlias = tuple[Origin, dict[str, Field]]


@dataclass(slots=True)
class _Merged:
    """All files as one: the fields of [base], and of each block by name."""

    own: PolicydData
    base: dict[str, Field] = field(default_factory=dict)
    base_origin: Origin | None = None
    blocks: dict[str, dict[str, _Written]] = field(default_factory=lambda: {"domain": {}, "signature": {}})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A block that may sign: the row that it becomes, and the domain that it signs for."""

    table: str
    key: Mapping[str, Json]
    domain: str
    origin: Origin
    fields: Fields


def read_dkim(
    files: Sequence[HelperFile],
    *,
    key_directory: str | None,
    key_roots: Mapping[str, KeyRootConfig],
    own: PolicydData,
) -> Iterator[Finding]:
    """
    The rows of settings, domains and signatures, the key roots that they need, and what is to be said about them.

    What *own* says of where a key is stands instead of a path; times are there alone.
    """
    if not files:
        return
    merged = _Merged(own=own)
    for file in files:
        yield from _merge(file, merged)
    directories = (KUMOMTA_DIRECTORY, *([] if key_directory is None else [key_directory]))
    places = KeyPlaces.of(merged.base, directories, key_roots)
    if merged.base_origin is not None:
        yield from _settings(merged, merged.base_origin)
    yield from _additional(merged)
    for name, (origin, fields) in merged.blocks["signature"].items():
        yield from _signature(name, origin, fields, merged, places)
    yield from _domains(merged, places)
    yield from places.roots.values()


def _merge(file: HelperFile, merged: _Merged) -> Iterator[Finding]:
    for name, section in file.data.items():
        if name not in _SECTIONS:
            sentence = f"unknown section '{name}' in a file of DKIM{nearest(name, _SECTIONS)}"
            yield Problem(origin=file.origin(name), sentence=sentence)
        elif not isinstance(section, dict):
            yield Problem(origin=file.origin(name), sentence="must be a table")
        elif name == "base":
            merged.base_origin = merged.base_origin or file.origin("base")
            merged.base |= _fields(file, ("base",), section)
        else:
            for key, table in section.items():
                place = file.origin(name, key)
                if not isinstance(table, dict):
                    yield Problem(origin=place, sentence="must be a table of options")
                    continue
                origin, known = merged.blocks[name].get(key, (place, {}))
                merged.blocks[name][key] = origin, {**known, **_fields(file, (name, key), table)}


def _fields(file: HelperFile, key: tuple[str, ...], table: Mapping[str, Json]) -> dict[str, Field]:
    return {
        name: Field(value=as_list(value) if name in _LISTS else value, origin=file.origin(*key, name))
        for name, value in table.items()
    }


def _settings(merged: _Merged, origin: Origin) -> Iterator[Finding]:
    yield _checked("dkim_settings", merged.base, origin)
    values: dict[str, Json] = {name: merged.base[name].value for name in _OWN if name in merged.base}
    if "headers" not in values:
        values["headers"] = list(USUAL_HEADERS)
        without = [
            key
            for blocks in merged.blocks.values()
            for key, (_, fields) in blocks.items()
            if "headers" not in fields
        ]
        if without:
            yield Note(
                topic="surprise",
                origin=origin,
                sentence="has no headers, without which KumoMTA cannot sign for these; policyd signs the usual ones",
                details=tuple(without),
            )
    yield Row(table="dkim_settings", values=values, origin=origin)


def _additional(merged: _Merged) -> Iterator[Finding]:
    item = merged.base.get("additional_signatures")
    names = item.value if item is not None and isinstance(item.value, list) else []
    seen: list[str] = []
    for name in names:
        if item is None or not isinstance(name, str):
            continue  # the check says so
        if name not in merged.blocks["signature"]:
            yield Problem(origin=item.origin, sentence=f"signature '{name}' is not defined in these files")
        elif name in seen:
            sentence = f"lists '{name}' twice, so KumoMTA signs twice with it; policyd signs once"
            yield Note(topic="surprise", origin=item.origin, sentence=sentence)
        else:
            values: dict[str, Json] = {"position": len(seen), "signature": name}
            seen.append(name)
            yield Row(table="dkim_additional_signature", values=values, origin=item.origin)
    for name, (origin, _) in merged.blocks["signature"].items():
        if name not in seen:
            sentence = "is not among base.additional_signatures, so nothing is signed with it"
            yield Note(topic="surprise", origin=origin, sentence=sentence)


def _signature(
    name: str, origin: Origin, fields: Fields, merged: _Merged, places: KeyPlaces
) -> Iterator[Finding]:
    yield from name_problem(name, "a signature", origin)
    yield _checked("dkim_signature", fields, origin)
    written = fields["domain"].value if "domain" in fields else None
    domain = row_domain(written) if isinstance(written, str) else None
    if domain is None or "*" in domain:
        place = fields["domain"].origin if "domain" in fields else origin
        yield Problem(origin=place, sentence="a signature needs a domain to sign for, without wildcards")
        return
    if domain != written:
        sentence = f"'{written}' becomes '{domain}'"
        yield Note(topic="normalised", origin=fields["domain"].origin, sentence=sentence)
    policy = fields["policy"].value if "policy" in fields else "Always"
    key: dict[str, Json] = {"name": name, "domain": domain, "policy": policy}
    block = _Block(table="dkim_signature", key=key, domain=domain, origin=origin, fields=fields)
    yield from _row(block, merged, places)


def _domains(merged: _Merged, places: KeyPlaces) -> Iterator[Finding]:
    blocks = merged.blocks["domain"]
    origins: dict[str, Origin] = {}
    for named in row_domains("DKIM domain", {name: origin for name, (origin, _) in blocks.items()}):
        if isinstance(named, Problem | Note):
            yield named
            continue
        written, domain = named
        origin, fields = blocks[written]
        origins[domain] = origin
        yield _checked("dkim_domain", fields, origin)
        key: dict[str, Json] = {"domain": domain}
        block = _Block(table="dkim_domain", key=key, domain=domain, origin=origin, fields=fields)
        yield from _row(block, merged, places)
    yield from _trie_notes(origins)


def _row(block: _Block, merged: _Merged, places: KeyPlaces) -> Iterator[Finding]:
    origin, fields, base = block.origin, block.fields, merged.base
    own = merged.own.signers.get((block.table, str(next(iter(block.key.values())))), {})
    selector = fields.get("selector") or base.get("selector")
    if selector is None:
        yield Problem(origin=origin, sentence="has no selector, and there is none in [base]")
        return
    placed = _place(own, fields, places)
    if isinstance(placed, Problem):
        yield placed
        return
    values: dict[str, Json] = {name: fields[name].value for name in _OWN if name in fields}
    if "algo" in fields:
        values["algorithm"] = fields["algo"].value
    values |= placed | {column: own[column].value for column in WINDOW if column in own}
    yield from _over_sign_note(fields, base)
    name = placed.get("key_name") or f"{block.domain}/{selector.value}"
    if "*" not in name:
        algorithm = values.get("algorithm")
        yield WantedKey(
            root=placed.get("key_root") or DEFAULT_ROOT,
            name=name,
            algorithm=algorithm if isinstance(algorithm, str) else None,
            origin=origin,
        )
    yield Row(table=block.table, values={**block.key, **values}, origin=origin)


def _place(own: Fields, fields: Fields, places: KeyPlaces) -> dict[str, str | None] | Problem:
    """The columns of a row that say where its key is; none where that follows from its name."""
    if not own.keys().isdisjoint(PLACE):
        return {column: str(own[column].value) for column in PLACE if column in own}
    if "filename" not in fields:
        return {}
    placed = places.place(fields["filename"])
    return placed if isinstance(placed, Problem) else dict(zip(PLACE, placed, strict=True))


def _over_sign_note(fields: Fields, base: Fields) -> Iterator[Note]:
    over_sign, by_default = fields.get("over_sign"), base.get("over_sign")
    if (
        over_sign is not None
        and over_sign.value is False
        and by_default is not None
        and by_default.value is True
    ):
        sentence = "false does not override base.over_sign = true, neither in KumoMTA nor in policyd"
        yield Note(topic="surprise", origin=over_sign.origin, sentence=sentence)


def _checked(kind: str, fields: Fields, origin: Origin) -> Checked:
    return Checked(
        object=kind,
        record={name: item.value for name, item in fields.items()},
        origin=origin,
        origins={name: item.origin for name, item in fields.items()},
    )


def _trie_notes(origins: Mapping[str, Origin]) -> Iterator[Note]:
    """For each domain that policyd signs with where KumoMTA signs with another, or not at all."""
    trie = make_trie(origins)
    by_entry: dict[str, list[str]] = {}
    for name in trie.doubtful_names():
        theirs, ours = trie.kumomta(name), trie.policyd(name)
        if ours is not None and theirs != ours:
            case = f"{name}: KumoMTA signs as {theirs or 'nothing'} says, policyd as {ours} says"
            by_entry.setdefault(ours, []).append(case)
    for entry, cases in by_entry.items():
        yield Note(
            topic="trie",
            origin=origins[entry],
            sentence="policyd signs with the nearest name, KumoMTA does not go back to a wildcard",
            details=tuple(cases),
        )
