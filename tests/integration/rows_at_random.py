"""
Random stories about rows: transactions over every table, and who asks and learns what between them.

A story is made from its seed alone and holds nothing but values, so that a failing one can be told again, and with
steps left out. Alphabets are small, so that keys collide, wildcards cover each other, and rows find their parents.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from policyd.policy import credential, token
from policyd.policy.asking import Resolver
from policyd.policy.kinds import KINDS

DOMAINS = (
    "example.com",
    "a.example.com",
    "b.a.example.com",
    "*.example.com",
    "*.a.example.com",
    "*.com",
    "*",
    "com",
)
ASKED_DOMAINS = (*DOMAINS, "x.example.com", "X.b.A.example.com.", "other.org", "", "[192.0.2.1]", "default")
LISTENERS = ("*", "192.0.2.1:25", "mx")
POOLS, SOURCES, GROUPS = ("p", "q", "50%/x"), ("s", "t", "u/%"), ("g", "h")
TENANTS, CAMPAIGNS = ("acme", "b/%2F", "zoo"), ("c", "d")
TOKENS = ("one", "two")
PROVIDERS, SHAPING_DOMAINS = ("big", "a/b"), ("default", "example.com", "a.example.com")
SIGNATURES, KEYS, KEY_IDS = ("us", "50%/us"), ("shared/a", "shared/b"), ("0" * 64, "1" * 64)
AT_ONCE = "set constraints all immediate"
"""Else what is refused at the end of a transaction takes everything with it."""
ONE_ROW = ("queue_settings", "dkim_settings")
SHAPING_OPTIONS: tuple[dict[str, object], ...] = ({}, {"connection_limit": 5}, {"connection_limit": 6})
USERNAMES = ("u", "U", "v/%2F")
HASHES = tuple(f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${letter * 43}" for letter in "ab")
OPTIONS: tuple[dict[str, object], ...] = (
    {},
    {"max_age": "1h"},
    {"max_age": 3600},
    {"retry_interval": "5m", "max_age": "1 day"},
)
KIND_NAMES = (
    "listener_domain", "egress_source", "egress_pool", "tenant", "queue", "queue_settings", "api_token",
    "webhook", "smtp_credential", "shaping", "dkim_settings", "dkim_domain", "dkim_signature", "dkim_key",
)  # fmt: skip

Choices: TypeAlias = Mapping[str, Sequence[object]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, its key's columns and the others, each with what they may hold here."""

    name: str
    keys: Choices
    values: Choices


_SOURCE: Choices = {
    "ehlo_domain": (None, "mx1.example.com", "mx2.example.com"),
    "source_address": (None, "192.0.2.1", "192.0.2.2"),
    "remote_port": (None, 25, 2525),
}
_QUEUE: Choices = {
    "egress_pool": (None, *POOLS),
    "routing_domain": (None, "relay.example"),
    "options": OPTIONS,
}
_RULE: Choices = {
    "regex": ("{busy}", "{busy,later}"),
    "action": ('["Suspend"]', '["Bounce", "SuspendTenant"]'),
    "duration": ("60", "3600"),
    "match_internal": (True, False),
}
_SIGNING: Choices = {
    "selector": (None, "s1", "s2"),
    "over_sign": (None, True, False),
    "key_name": (None, *KEYS),
    "algorithm": (None, "sha256", "ed25519"),
    "not_before": (None, None, "1970-01-01 00:00:05+00"),
}
_RATE: Choices = {"overall_max_message_rate": (None, "10/s", "100/h")}
TABLES = (
    Table(
        "listener_domain",
        {"listener": LISTENERS, "domain": DOMAINS},
        {"relay_to": (None, True, False), "log_oob": (None, "true", "Ignore"), "relay_from": (None, "{}", "{10.0.0.0/8}")},
    ),
    Table("egress_source", {"name": SOURCES}, _SOURCE),
    Table("egress_source_group", {"name": SOURCES, "node_group": GROUPS}, _SOURCE),
    Table("egress_pool", {"name": POOLS}, {}),
    Table("egress_pool_entry", {"pool": POOLS, "source": SOURCES}, {"weight": (None, 0, 1, 2)}),
    Table("egress_pool_group", {"name": POOLS, "node_group": GROUPS}, {}),
    Table("egress_pool_group_entry", {"pool": POOLS, "node_group": GROUPS, "source": SOURCES}, {"weight": (None, 1, 2)}),
    Table("tenant", {"name": TENANTS}, {"egress_pool": (None, *POOLS), "require_authz": (None, "{joe}"), "options": OPTIONS, **_RATE}),
    Table("tenant_campaign", {"tenant": TENANTS, "campaign": CAMPAIGNS}, _RATE),
    Table("queue", {"domain": (*DOMAINS, "default")}, _QUEUE),
    Table("queue_tenant", {"domain": (*DOMAINS, "default"), "tenant": TENANTS}, _QUEUE),
    Table("queue_campaign", {"domain": (*DOMAINS, "default"), "tenant": TENANTS, "campaign": CAMPAIGNS}, _QUEUE),
    Table(
        "webhook",
        {"name": ("hook", "other")},
        {"url": ("https://a.example", "https://b.example"), "events": ("{Bounce}", "{Delivery}"), "tenant": (None, *TENANTS), "enabled": (True, False)},
    ),
    Table(
        "smtp_credential",
        {"username": USERNAMES},
        {"password_hash": HASHES, "tenant": TENANTS, "networks": (None, "{10.0.0.0/8}"), "enabled": (True, False)},
    ),
    Table(
        "shaping_provider",
        {"name": PROVIDERS},
        {"position": (None, 1, 2), "provider_connection_limit": (None, 5), "options": SHAPING_OPTIONS},
    ),
    Table(
        "shaping_provider_match",
        {"provider": PROVIDERS, "rule": ("MXSuffix", "HostName"), "value": (".big.test", "mx.test")},
        {},
    ),
    Table("shaping_provider_source", {"provider": PROVIDERS, "source": SOURCES}, {"options": SHAPING_OPTIONS}),
    Table("shaping_provider_automation", {"provider": PROVIDERS, "position": (1, 2)}, _RULE),
    Table(
        "shaping_domain",
        {"domain": SHAPING_DOMAINS},
        {"position": (None, 1, 2), "mx_rollup": (None, False), "options": SHAPING_OPTIONS},
    ),
    Table("shaping_domain_source", {"domain": SHAPING_DOMAINS, "source": SOURCES}, {"options": SHAPING_OPTIONS}),
    Table("shaping_domain_automation", {"domain": SHAPING_DOMAINS, "position": (1, 2)}, _RULE),
    Table("dkim_settings", {"singleton": (True,)}, {"selector": (None, "s1"), "over_sign": (None, True), "key_root": ("default", "other")}),
    Table("dkim_signature", {"name": SIGNATURES}, {"domain": ("us.example",), "policy": ("Always", "OnlyIfMissingDomainBlock"), **_SIGNING}),
    Table("dkim_additional_signature", {"position": (0, 1)}, {"signature": SIGNATURES}),
    Table("dkim_domain", {"domain": DOMAINS}, _SIGNING),
    Table(
        "queue_settings",
        {"singleton": (True,)},
        {"on_missing": ("hold", "stock"), "default_tenant": (None, *TENANTS), "tenant_header": (None, "X-Tenant")},
    ),
    Table("api_token", {"name": TOKENS}, {"sha256": ("0" * 64, "1" * 64), "scopes": ("{lookup}", "{lookup,admin}")}),
)  # fmt: skip
WIPED = "; ".join(
    (
        "update policy.queue_settings set on_missing = 'hold', default_tenant = null, tenant_header = null",
        "update policy.queue set egress_pool = null, routing_domain = null, options = '{}' where domain = 'default'",
        "update policy.dkim_settings set selector = 's1', over_sign = null, key_root = 'default'",
        "delete from policy.dkim_additional_signature",
        # Keys stay: what was never seen may be seen without a change, and an answer without it ends by itself.
        *(
            f"select policy.note_dkim_key('default', '{name}', '{KEY_IDS[0]}', 'sha256', null)"
            for name in KEYS
        ),
        "delete from policy.queue where domain <> 'default'",
        "delete from policy.queue_tenant",
        *(
            f"delete from policy.{name}"
            for name in (
                "shaping_domain",
                "shaping_provider",
                "listener_domain",
                "webhook",
                "smtp_credential",
                "tenant",
                "api_token",
                "dkim_domain",
                "dkim_signature",
            )
        ),
        "delete from policy.egress_pool where name <> 'unspecified'",
        "delete from policy.egress_source where name <> 'unspecified'",
    )
)


@dataclass(frozen=True, slots=True)
class Write:
    """One transaction; a statement that is refused is undone alone, as an operator's client would do it."""

    statements: tuple[str, ...]
    commits: bool


@dataclass(frozen=True, slots=True)
class Question:
    """Somebody asks, and keeps the answer."""

    holder: int
    path: str
    start: Callable[[], Resolver] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Learn:
    """Somebody reads on from where they are; what is still valid afterwards is perhaps labelled anew."""

    holder: int
    most_tags: int
    most_rows: int
    renews: bool
    from_replica: bool
    """Asks a replica, which answers from its window if that reaches back far enough, and not the log itself."""


Step: TypeAlias = Write | Question | Learn


def story(seed: int, *, holders: int, length: int = 20) -> list[Step]:
    """The steps that *seed* makes, the last of which is that everybody learns."""
    chance = random.Random(seed)
    begin = Write((AT_ONCE, *(insert(chance, table, many=4) for table in TABLES[:-2])), commits=True)
    steps: list[Step] = [begin]
    for _ in range(length):
        match chance.choices(("write", "ask", "learn"), (45, 40, 15))[0]:
            case "write":
                steps.append(transaction(chance))
            case "ask":
                steps += [question(chance, chance.randrange(holders)) for _ in range(chance.randint(1, 5))]
            case "learn":
                steps.append(learn(chance, chance.randrange(holders)))
    return steps + [learn(chance, holder) for holder in range(holders)]


def learn(chance: random.Random, holder: int) -> Learn:
    most_tags = chance.choice((1, 2, 5, 100))
    most_rows = chance.choice((10, 1000, 1000))
    return Learn(
        holder, most_tags, most_rows, renews=chance.random() < 0.5, from_replica=chance.random() < 0.5
    )


def question(chance: random.Random, holder: int) -> Question:
    kind = chance.choice((*KINDS, None))
    if kind is None:
        name = chance.choice(TOKENS)
        username = chance.choice(USERNAMES)
        if chance.random() < 0.5:
            return Question(holder, f"(credential {username})", lambda: credential.resolve(username))
        return Question(holder, f"(token {name})", lambda: token.resolve(name))
    asked: dict[str, Sequence[str]] = {
        "listener_domain": ASKED_DOMAINS,
        "egress_source": SOURCES,
        "egress_pool": POOLS,
        "tenant": TENANTS,
        "queue": ASKED_DOMAINS,
        "dkim": ASKED_DOMAINS,
        "listener": LISTENERS,
        "group": GROUPS,
        "campaign": CAMPAIGNS,
    }
    given = [
        (parameter.name, chance.choice(asked[parameter.name]))
        for parameter in kind.parameters
        if chance.random() < 0.6
    ]
    lookup = kind.read(chance.choice(asked.get(kind.name, ("",))), given)
    return Question(holder, lookup.path, lambda: kind.resolve(lookup, 0.0))


def transaction(chance: random.Random) -> Write:
    statements = [AT_ONCE]
    for _ in range(chance.randint(1, 5)):
        undone = chance.random() < 0.2
        several = [statement(chance) for _ in range(chance.randint(1, 2))]
        statements += ["savepoint undone", *several, "rollback to undone"] if undone else several
    return Write(tuple(statements), commits=chance.random() < 0.8)


def statement(chance: random.Random) -> str:
    table = chance.choice(TABLES)
    settings_only = table.name in ONE_ROW
    match chance.choices(
        ("insert", "update", "move", "delete", "merge", "all", "invalidate", "prune", "key"),
        (30, 25, 12, 20, 8, 3, 1, 1, 3),
    )[0]:
        case "insert" if not settings_only:
            return insert(chance, table, many=chance.randint(1, 3))
        case "move" if not settings_only:
            column = chance.choice(tuple(table.keys))
            new = literal(chance.choice(table.keys[column]))
            return f"update policy.{table.name} set {column} = {new} where {where(chance, table)}"
        case "delete" if not settings_only:
            return f"delete from policy.{table.name} where {where(chance, table)}"
        case "merge" if table.values:
            return merge(chance, table)
        case "all" if not settings_only:
            return f"delete from policy.{table.name}"
        case "invalidate":
            return f"select policy.invalidate({literal(chance.choice(KIND_NAMES))}, 'a test')"
        case "prune":
            return f"select policy.prune((select number - {chance.randint(0, 6)} from policy.counter))"
        case "key":
            read, known = chance.choice(KEY_IDS), chance.choice(KEY_IDS)
            algorithm = "sha256" if read == KEY_IDS[0] else "ed25519"
            return f"select policy.note_dkim_key('default', '{chance.choice(KEYS)}', '{read}', '{algorithm}', '{known}')"
        case _:
            return update(chance, table)


def insert(chance: random.Random, table: Table, *, many: int) -> str:
    columns = {**table.keys, **table.values}
    rows = {tuple(literal(chance.choice(several)) for several in columns.values()) for _ in range(many)}
    # Two rows of one key cannot be in one ON CONFLICT DO UPDATE.
    distinct = {row[: len(table.keys)]: row for row in sorted(rows)}.values()
    written = ", ".join(f"({', '.join(row)})" for row in distinct)
    conflict = "do nothing"
    if table.values and chance.random() < 0.5:
        assigned = ", ".join(f"{column} = excluded.{column}" for column in table.values)
        conflict = f"({', '.join(table.keys)}) do update set {assigned}"
    return f"insert into policy.{table.name} ({', '.join(columns)}) values {written} on conflict {conflict}"


def update(chance: random.Random, table: Table) -> str:
    columns = table.values or table.keys
    column = chance.choice(tuple(columns))
    value = literal(chance.choice(columns[column]))
    return f"update policy.{table.name} set {column} = {value} where {where(chance, table)}"


def merge(chance: random.Random, table: Table) -> str:
    column = chance.choice(tuple(table.values))
    matched = chance.choice(
        ("delete", f"update set {column} = {literal(chance.choice(table.values[column]))}")
    )
    return f"merge into policy.{table.name} t using (values (1)) v (n) on {where(chance, table)} when matched then {matched}"


def where(chance: random.Random, table: Table) -> str:
    """A condition on one column of the key or on all of them, sometimes the other way round."""
    columns = list(table.keys) if chance.random() < 0.6 else [chance.choice(tuple(table.keys))]
    condition = " and ".join(f"{column} = {literal(chance.choice(table.keys[column]))}" for column in columns)
    return f"not ({condition})" if chance.random() < 0.1 else condition


def literal(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool() | int():
            return str(value).lower()
        case dict():
            return f"'{json.dumps(value)}'"
        case _:
            return f"'{value}'"
