"""What KumoMTA's own files have no words for, as a file beside them: `policyd_data.toml`, which only policyd reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from policyd.transfer.dkim_keys import is_key_name, is_key_root
from policyd.transfer.files import POLICYD_SECTIONS, HelperFile, nearest
from policyd.transfer.findings import Field, Finding, Json, Origin, Problem
from policyd.transfer.names import node_group_problem
from policyd.transfer.sources import read_sources
from policyd.transfer.values import boolean_problem
from policyd.transfer.webhooks import read_webhook

SIGNING = {"dkim_domain": "domain", "dkim_signature": "name"}
"""Sections that add to what a file of DKIM says, and what the key of their tables is called."""
PLACE = ("key_root", "key_name")
WINDOW = ("not_before", "not_after")
_ON_MISSING = ("hold", "stock")

Signer: TypeAlias = tuple[str, str]
"""A table, and who in it signs: `("dkim_domain", "example.com")`."""


@dataclass(slots=True, kw_only=True)
class PolicydData:
    """What such files say, a later one over an earlier one, section by section."""

    is_given: bool = False
    no_default_files: bool = False
    """Whether the shaping file stands alone: nodes do not load KumoMTA's own before it."""
    on_missing: Field | None = None
    key_root: Field | None = None
    signers: dict[Signer, dict[str, Field]] = field(default_factory=dict)
    origins: dict[Signer, Origin] = field(default_factory=dict)
    groups: dict[str, list[HelperFile]] = field(default_factory=dict)
    """What is said of each group of nodes, as files of sources."""
    webhooks: dict[str, tuple[Origin, dict[str, Field]]] = field(default_factory=dict)


def read_policyd_data(files: Sequence[HelperFile], data: PolicydData) -> Iterator[Finding]:
    """Fills *data*; yields the rows of node groups and webhooks, and what is wrong."""
    for file in files:
        data.is_given = True
        for name, section in file.data.items():
            if name not in POLICYD_SECTIONS:
                sentence = (
                    f"unknown section '{name}' in a file of policyd's own{nearest(name, POLICYD_SECTIONS)}"
                )
                yield Problem(origin=file.origin(name), sentence=sentence)
            elif name == "no_default_files":
                item = Field(value=section, origin=file.origin(name))
                yield from boolean_problem(item)
                data.no_default_files = section is True
            elif not isinstance(section, dict):
                yield Problem(origin=file.origin(name), sentence="must be a table")
            elif name in ("queue_settings", "dkim_settings"):
                yield from _setting(file, name, section, data)
            else:
                yield from _tables(file, name, section, data)
    for group, parts in data.groups.items():
        yield from read_sources(parts, group)
    for name, (origin, fields) in data.webhooks.items():
        yield from read_webhook(name, origin, fields)


def without_row(data: PolicydData, signers: set[Signer]) -> Iterator[Problem]:
    """A problem for each section about who does not sign in these files."""
    for signer, origin in data.origins.items():
        if signer not in signers:
            what = "domain" if signer[0] == "dkim_domain" else "signature"
            sentence = f'adds to [{what}."{signer[1]}"], which no file of DKIM among these has'
            yield Problem(origin=origin, sentence=sentence)


def _setting(
    file: HelperFile, section: str, table: Mapping[str, Json], data: PolicydData
) -> Iterator[Problem]:
    (known,) = ("on_missing",) if section == "queue_settings" else ("key_root",)
    for name, value in table.items():
        item = Field(value=value, origin=file.origin(section, name))
        if name != known:
            hint = "" if section == "dkim_settings" else "; KumoMTA's own settings belong into queues.toml"
            yield Problem(origin=item.origin, sentence=f"only {known} can be said here{hint}")
        elif known == "on_missing":
            if value not in _ON_MISSING:
                yield Problem(origin=item.origin, sentence=f"must be {' or '.join(_ON_MISSING)}")
            data.on_missing = item
        else:
            if not is_key_root(value):
                yield Problem(origin=item.origin, sentence="must be the name of a key root, such as default")
            data.key_root = item


def _tables(
    file: HelperFile, section: str, tables: Mapping[str, Json], data: PolicydData
) -> Iterator[Finding]:
    for name, table in tables.items():
        origin = file.origin(section, name)
        if not isinstance(table, dict):
            yield Problem(origin=origin, sentence="must be a table")
            continue
        fields = {
            key: Field(value=value, origin=file.origin(section, name, key)) for key, value in table.items()
        }
        if section == "node_group":
            yield from node_group_problem(name, origin)
            data.groups.setdefault(name, []).append(file.part("sources", table, section, name))
        elif section == "webhook":
            first, known = data.webhooks.get(name, (origin, {}))
            data.webhooks[name] = first, {**known, **fields}
        else:
            signer = section, name
            data.origins.setdefault(signer, origin)
            data.signers[signer] = data.signers.get(signer, {}) | fields
            for item in fields.items():
                yield from _signing_problem(*item)


def _signing_problem(name: str, item: Field) -> Iterator[Problem]:
    match name:
        case "key_root" if not is_key_root(item.value):
            sentence = "must be the name of a key root, such as default"
        case "key_name" if not is_key_name(item.value):
            sentence = "must be the name of a key below its root, such as shared/2026a"
        case "not_before" | "not_after" if not _is_time(item.value):
            sentence = "must be a time with its zone, such as 2026-12-01T06:00:00Z"
        case "key_root" | "key_name" | "not_before" | "not_after":
            return
        case _:
            sentence = (
                f"only {', '.join((*PLACE, *WINDOW))} can be said here{nearest(name, (*PLACE, *WINDOW))}"
            )
    yield Problem(origin=item.origin, sentence=sentence)


def _is_time(value: Json) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
