"""Rows as KumoMTA's own helper files, and one of policyd's for what these have no words for."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from policyd.config import KeyRootConfig
from policyd.policy.asking import Layer, overlay
from policyd.policy.shaping import sections
from policyd.transfer.exported_dkim import DkimFile, export_dkim
from policyd.transfer.files import QUEUE_SETTINGS, HelperFile, HelperKind
from policyd.transfer.findings import Json
from policyd.transfer.packaged_shaping import is_packaged_rule
from policyd.transfer.queue_files import TABLE_OPTIONS
from policyd.transfer.queues import DEFAULT
from policyd.transfer.reading import Transfer, transfer
from policyd.transfer.sources import HOST_ADDRESS, SECRET_FIELDS, SOURCE_COLUMNS
from policyd.transfer.webhooks import DEFAULTS, FIELDS
from policyd.transfer.written import Record, Rows, given, secret_names, to_text, with_key_source

_HEADINGS: Final[Mapping[HelperKind, tuple[str, str]]] = {
    "listener_domains": (
        "listener_domains.toml",
        "Who may relay through which listener, for KumoMTA's listener_domains helper.",
    ),
    "sources": ("sources.toml", "Which addresses mail leaves from, for KumoMTA's sources helper."),
    "queues": ("queues.toml", "How mail is queued, retried and paced, for KumoMTA's queue helper."),
    "dkim": ("dkim_data.toml", "Who signs with DKIM, and how, for KumoMTA's dkim_sign helper."),
    "shaping": (
        "shaping.toml",
        "How fast mail goes to whom, for KumoMTA's shaping helper and its TSA daemon.",
    ),
    "policyd": (
        "policyd_data.toml",
        "What KumoMTA's own files have no words for: policyd import, diff and apply read it, KumoMTA does not.",
    ),
}
_WRITTEN_BY = "Written by policyd export."
_RATE = "overall_max_message_rate"
_BOOLEANS = {"true": True, "false": False}

FILES: Final = tuple(name for name, _ in _HEADINGS.values())
TABLES: Final = (
    "listener_domain",
    "egress_source",
    "egress_source_group",
    "egress_pool",
    "egress_pool_entry",
    "egress_pool_group",
    "egress_pool_group_entry",
    "tenant",
    "tenant_campaign",
    "queue",
    "queue_tenant",
    "queue_campaign",
    "queue_settings",
    "dkim_settings",
    "dkim_signature",
    "dkim_additional_signature",
    "dkim_domain",
    "shaping_provider_automation",
    "shaping_domain_automation",
    "webhook",
)
"""The tables that the files are made from; of shaping, what its document does not tell."""


_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "listener_domain": ("listener", "domain"),
    "egress_source": ("name",),
    "egress_source_group": ("name", "node_group"),
    "egress_pool": ("name",),
    "egress_pool_entry": ("pool", "source"),
    "egress_pool_group": ("name", "node_group"),
    "egress_pool_group_entry": ("pool", "node_group", "source"),
    "tenant": ("name",),
    "tenant_campaign": ("tenant", "campaign"),
    "queue": ("domain",),
    "queue_tenant": ("domain", "tenant"),
    "queue_campaign": ("domain", "tenant", "campaign"),
    "dkim_signature": ("name",),
    "dkim_domain": ("domain",),
    "webhook": ("name",),
    "shaping_domain": ("domain",),
    "shaping_provider": ("name",),
}
"""What a row is known by, where that is no place in an order."""
_SAID_ELSEWHERE: Final = frozenset(
    (
        *((table, HOST_ADDRESS) for table in ("egress_source", "egress_pool")),
        *((table, DEFAULT) for table in ("queue_tenant", "queue_campaign")),
    )
)
"""Rows that are KumoMTA's own, and those in the default, which are told of by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The files by name, and what they come to when they are read again."""

    files: Mapping[str, str]
    come_to: Transfer
    dkim: DkimFile
    secrets: tuple[str, ...]
    """Names of secrets that kumod asks for."""
    lost: tuple[str, ...]
    """Rows that would not come back from the files as they are, by table and key: what no file can say."""
    in_default: tuple[str, ...]
    """Tenants inside the default queue, which no file can have: KumoMTA does not look for them there."""
    repeats_kumomta: bool
    """Whether shaping repeats rules of KumoMTA's own file, which only nodes can want that do not load that one."""


def export(rows: Rows, shaping: Record, key_roots: Mapping[str, KeyRootConfig]) -> Exported:
    """The *rows* of `TABLES` and the document of *shaping* as files; *key_roots* say where the configuration has keys."""
    dkim = export_dkim(rows, key_roots)
    repeats = any(_repeated(rows))
    tables: Mapping[HelperKind, Mapping[str, Json]] = {
        "listener_domains": _listener_domains(rows["listener_domain"]),
        "sources": _sources(rows["egress_source"], rows["egress_pool"], rows["egress_pool_entry"]),
        "queues": _queues(rows),
        "dkim": dkim.table,
        "shaping": overlay([Layer("shaping", sections(shaping))]),
        "policyd": _policyd_data(rows, dkim, repeats_kumomta=repeats),
    }
    files = {
        name: to_text(f"{heading}\n{_WRITTEN_BY}", tables[kind])
        for kind, (name, heading) in _HEADINGS.items()
    }
    come_to = transfer(
        # What reading the text would give, without reading it: of a million names that takes a minute.
        [
            HelperFile(name=name, kind=kind, data=tables[kind], lines={})
            for kind, (name, _) in _HEADINGS.items()
        ],
        key_roots=key_roots,
    )
    return Exported(
        files=files,
        come_to=come_to,
        dkim=dkim,
        secrets=tuple(sorted({name for table in tables.values() for name in secret_names(table)})),
        lost=tuple(_lost(rows, shaping, come_to)),
        in_default=tuple(str(row["tenant"]) for row in rows["queue_tenant"] if row["domain"] == DEFAULT),
        repeats_kumomta=repeats,
    )


def _lost(rows: Rows, shaping: Record, come_to: Transfer) -> Iterator[str]:
    """The rows of `_KEYS` that none of the files' rows is."""
    made = {
        (row.table, *(str(row.values[column]) for column in _KEYS[row.table]))
        for row in come_to.rows
        if row.table in _KEYS
    }
    there: dict[str, Iterable[Record]] = {table: rows[table] for table in _KEYS if table in rows}
    there["shaping_domain"] = [{"domain": each["name"]} for each in _list(shaping["domains"])]
    there["shaping_provider"] = [{"name": each["name"]} for each in _list(shaping["providers"])]
    for table, several in there.items():
        for row in several:
            key = tuple(str(row[column]) for column in _KEYS[table])
            if (table, *key) not in made and (table, key[0]) not in _SAID_ELSEWHERE:
                yield f"{table} {' '.join(key)}"


def _listener_domains(rows: Iterable[Record]) -> dict[str, Json]:
    anywhere: dict[str, Json] = {}
    listeners: dict[str, dict[str, Json]] = {}
    for row in rows:
        fields = given(row, "relay_to", "relay_from", "relay_from_authz", "log_oob", "log_arf")
        for name in ("log_oob", "log_arf"):
            if fields.get(name) in _BOOLEANS:
                fields[name] = _BOOLEANS[str(fields[name])]
        listener, domain = str(row["listener"]), str(row["domain"])
        # At the top, a domain of this name would be the table of listeners.
        if listener == "*" and domain != "listener":
            anywhere[domain] = fields
        else:
            listeners.setdefault(listener, {})[domain] = fields
    return anywhere | ({"listener": dict(listeners)} if listeners else {})


def _sources(
    sources: Iterable[Record], pools: Iterable[Record], entries: Iterable[Record]
) -> dict[str, Json]:
    source: dict[str, Json] = {
        str(row["name"]): with_key_source(given(row, *SOURCE_COLUMNS), *SECRET_FIELDS)
        for row in sources
        if row["name"] != HOST_ADDRESS
    }
    pool: dict[str, dict[str, Json]] = {str(row["name"]): {} for row in pools if row["name"] != HOST_ADDRESS}
    for entry in entries:
        pool[str(entry["pool"])][str(entry["source"])] = given(entry, "weight")
    return {**({"source": source} if source else {}), **({"pool": dict(pool)} if pool else {})}


def _queues(rows: Rows) -> dict[str, Json]:
    tenant: dict[str, dict[str, Json]] = {}
    for row in rows["tenant"]:
        tenant[str(row["name"])] = {**_options(row), **given(row, "egress_pool", "require_authz", _RATE)}
    for row in rows["tenant_campaign"]:
        campaigns = tenant[str(row["tenant"])].setdefault("campaigns", {})
        _table(campaigns)[str(row["campaign"])] = given(row, _RATE)
    domains = sorted(rows["queue"], key=lambda row: row["domain"] != DEFAULT)
    queue: dict[str, dict[str, Json]] = {str(row["domain"]): _queue(row) for row in domains}
    inside: dict[tuple[str, str], dict[str, Json]] = {}
    for row in rows["queue_tenant"]:
        if row["domain"] != DEFAULT:
            key = str(row["domain"]), str(row["tenant"])
            inside[key] = _put(queue[key[0]], "tenants", key[1], _queue(row))
    for row in rows["queue_campaign"]:
        if row["domain"] != DEFAULT:
            key = str(row["domain"]), str(row["tenant"])
            _put(inside[key], "campaigns", str(row["campaign"]), _queue(row))
    settings = given(rows["queue_settings"][0], *QUEUE_SETTINGS)
    return {**settings, **({"tenant": dict(tenant)} if tenant else {}), "queue": dict(queue)}


def _queue(row: Record) -> dict[str, Json]:
    return {**given(row, "egress_pool", "routing_domain"), **_options(row)}


def _put(outer: dict[str, Json], spelled: str, name: str, fields: dict[str, Json]) -> dict[str, Json]:
    """Puts a tenant or campaign into a section: under its name, or spelled out where that would mean something else."""
    if name in outer or name in (*TABLE_OPTIONS, spelled):
        _table(outer.setdefault(spelled, {}))[name] = fields
    else:
        outer[name] = fields
    return fields


def _options(row: Record) -> dict[str, Json]:
    return dict(_table(row["options"]))


def _policyd_data(rows: Rows, dkim: DkimFile, *, repeats_kumomta: bool) -> dict[str, Json]:
    data: dict[str, Json] = {"no_default_files": True} if repeats_kumomta else {}
    data["queue_settings"] = given(rows["queue_settings"][0], "on_missing")
    data["dkim_settings"] = given(rows["dkim_settings"][0], "key_root")
    data |= dkim.own
    groups: dict[str, Json] = {}
    for group in sorted({str(row["node_group"]) for row in _group_rows(rows)}):
        groups[group] = _sources(
            *(
                [row for row in rows[table] if row["node_group"] == group]
                for table in ("egress_source_group", "egress_pool_group", "egress_pool_group_entry")
            )
        )
    webhooks: dict[str, Json] = {
        str(row["name"]): {
            name: value
            for name, value in given(row, *FIELDS).items()
            if name not in DEFAULTS or value != DEFAULTS[name]
        }
        for row in rows["webhook"]
    }
    return data | {name: table for name, table in (("node_group", groups), ("webhook", webhooks)) if table}


def _group_rows(rows: Rows) -> list[Record]:
    return [*rows["egress_source_group"], *rows["egress_pool_group"]]


def _repeated(rows: Rows) -> Iterator[bool]:
    for kind in ("provider", "domain"):
        for row in rows[f"shaping_{kind}_automation"]:
            rule = {column: value for column, value in row.items() if column not in (kind, "position", "tag")}
            if rule["threshold"] is None:
                del rule["threshold"]
            yield is_packaged_rule(kind, str(row[kind]), rule)


def _list(value: Json) -> list[dict[str, Json]]:
    return [_table(each) for each in value] if isinstance(value, list) else []


def _table(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"a table is needed here, not {type(value).__name__}")
    return value
