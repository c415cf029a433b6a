"""
policy.problems against what kumod's own constructors accepted and refused (tests/contract/constructors.jsonl).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

LINES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "contract" / "constructors.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
KNOWN = [line for line in LINES if not line["unknown"]]
CONSTRUCTORS = sorted({line["constructor"] for line in LINES})

INTERVALS = [
    ("queue_config", name)
    for name in ("retry_interval", "max_retry_interval", "reap_interval", "refresh_interval")
]
INTERVALS.append(("egress_path", "refresh_interval"))
RATES = [("queue_config", "max_message_rate")]
RATES += [
    ("egress_path", name) for name in ("max_connection_rate", "max_message_rate", "source_selection_rate")
]
BLANK_TEXTS = [
    ("queue_config", "egress_pool"),
    ("queue_config", "provider_name"),
    ("egress_source", "ehlo_domain"),
]
BLANK_TEXTS += [("egress_source", "socks5_proxy_username"), ("egress_path", "openssl_cipher_list")]
BLANK_TEXTS += [("egress_path", "openssl_cipher_suites"), ("egress_path", "smtp_auth_plain_username")]
BLANK_TEXTS += [("egress_path", name) for name in ("ehlo_domain", "provider_name", "readyq_pool_name")]
KEY_SOURCES = [("egress_source", "socks5_proxy_password"), ("egress_path", "tls_certificate")]
KEY_SOURCES += [("egress_path", "tls_private_key"), ("egress_path", "smtp_auth_plain_password")]
LISTS = [("listener_domain", "relay_from"), ("egress_pool", "entries"), ("queue_config", "shrink_policy")]
LISTS += [("egress_path", name) for name in ("rustls_cipher_suites", "prohibited_hosts", "skip_hosts")]
PROXIES = [("egress_source", "ha_proxy_server"), ("egress_source", "socks5_proxy_server")]

# What kumod accepts and policyd refuses on purpose: the one list. `True` stands for every value; a function judges.
TRAPS: list[tuple[str, list[tuple[str, str]], Any]] = [
    ("an interval below a second makes kumod loop or spin", INTERVALS, [0, "0s", "250ms", "10us"]),
    (
        "a wheel that ticks faster than a millisecond",
        [("queue_config", "timerwheel_tick_interval")],
        [0, "0s", "10us"],
    ),
    (
        "an age of nothing, or one that overflows kumod's clock",
        [("queue_config", "max_age")],
        [0, "0s", "250ms", "10us", 4294967296],
    ),
    ("a rate over no time, or without any burst", RATES, ["10/0s", "5/s,max_burst=0"]),
    ("a limit of none", [("egress_path", "connection_limit")], [{"limit": 0}]),
    ("a queue that is always full", [("egress_path", "max_ready")], [0]),
    ("no such port", [("egress_path", "smtp_port"), ("egress_source", "remote_port")], [0]),
    ("no such port", PROXIES, ["local:0"]),
    ("blank text means nothing", BLANK_TEXTS, ["", " "]),
    ("any table is a list to Lua", LISTS, lambda value: isinstance(value, dict) and value != {}),
    ("rows name secrets and never hold or locate them", KEY_SOURCES, lambda _: True),
]


def trap(name: tuple[str, str], value: Any) -> bool:
    for _, names, values in TRAPS:
        if name in names and (
            values(value) if callable(values) else json.dumps(value) in map(json.dumps, values)
        ):
            return True
    return False


PARTNERS: dict[str, tuple[str, Any]] = {
    "ha_proxy_server": ("ha_proxy_source_address", "10.0.0.9"),
    "ha_proxy_source_address": ("ha_proxy_server", "10.0.0.9:1080"),
    "socks5_proxy_server": ("socks5_proxy_source_address", "10.0.0.9"),
    "socks5_proxy_source_address": ("socks5_proxy_server", "10.0.0.9:1080"),
    "socks5_proxy_username": ("socks5_proxy_password", {"secret": "proxy"}),
    "socks5_proxy_password": ("socks5_proxy_username", "mail"),
}


def of(constructor: str) -> list[dict[str, Any]]:
    return [line for line in KNOWN if line["constructor"] == constructor]


def whole(line: dict[str, Any], value: Any) -> dict[str, Any]:
    """A record with this value that is complete but for it: partners of paired options, and the name."""
    constructor, option = line["constructor"], line["option"]
    record: dict[str, Any] = (
        {} if constructor not in {"make_egress_source", "make_egress_pool"} else {"name": "a"}
    )
    if constructor == "make_egress_source" and option in PARTNERS:
        other, partner = PARTNERS[option]
        record[other] = partner
    if value == {} and (constructor.removeprefix("make_"), option) in LISTS:
        value = []  # an empty Lua table is both
    return {**record, option: value}


async def refused(db: asyncpg.Connection, line: dict[str, Any], values: list[Any]) -> list[bool]:
    rows = await db.fetch(
        """
        select exists (select from policy.problems($1, r.record::jsonb)) as refused
        from unnest($2::text[]) with ordinality as r (record, position) order by r.position
        """,
        line["constructor"].removeprefix("make_"),
        [json.dumps(whole(line, value)) for value in values],
    )
    return [row["refused"] for row in rows]


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
async def test_what_kumod_refuses_is_refused(db, constructor):
    for line in of(constructor):
        answers = await refused(db, line, line["rejected"])
        assert [value for value, no in zip(line["rejected"], answers, strict=True) if not no] == [], line[
            "option"
        ]


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
async def test_what_kumod_accepts_is_accepted_save_the_traps(db, constructor):
    for line in of(constructor):
        name = (constructor.removeprefix("make_"), line["option"])
        answers = await refused(db, line, line["accepted"])
        assert [value for value, no in zip(line["accepted"], answers, strict=True) if no] == [
            value for value in line["accepted"] if trap(name, value)
        ], line["option"]


async def test_options_that_kumod_does_not_know_are_refused(db):
    for line in LINES:
        if line["unknown"]:
            assert await refused(db, line, [1, "x"]) == [True, True]


async def test_every_option_of_kumods_constructors_is_in_the_catalogue_and_no_other(db):
    ours = {"relay_from_authz", "name", "require_authz", "overall_max_message_rate"}
    rows = await db.fetch(
        "select object, name from policy.option"
        " where name not like '%.%' and name <> all ($1) and object !~ '^(dkim|shaping)_'",
        list(ours),
    )
    assert {(row["object"], row["name"]) for row in rows} == {
        (line["constructor"].removeprefix("make_"), line["option"]) for line in KNOWN
    }


async def problems(db: asyncpg.Connection, kind: str, record: Any) -> list[str]:
    rows = await db.fetch(
        "select problem from policy.problems($1, $2::jsonb) order by 1", kind, json.dumps(record)
    )
    return [row["problem"] for row in rows]


async def test_a_sentence_names_value_and_what_is_allowed(db):
    assert await problems(db, "queue_config", {"retry_interval": "5 fortnights"}) == [
        (
            'retry_interval is "5 fortnights"; allowed is at least one second: a number such as 300,'
            ' or text such as "90s", "5m", "1h 30m", "2 days".'
        )
    ]


async def test_the_nearest_name_is_suggested(db):
    assert await problems(db, "queue_config", {"retry_intervall": "5m", "zzzz": 1}) == [
        "retry_intervall is no option of queue_config; did you mean retry_interval?",
        "zzzz is no option of queue_config.",
    ]


async def test_half_a_proxy_is_refused(db):
    assert await problems(db, "egress_source", {"name": "a", "ha_proxy_server": "10.0.0.1:25"}) == [
        (
            "ha_proxy_server is set without ha_proxy_source_address;"
            " KumoMTA then ignores the proxy and connects directly: set both or neither."
        )
    ]


async def test_all_problems_of_a_record_are_said_at_once(db):
    assert len(await problems(db, "queue_config", {"retry_interval": 0, "max_age": "x", "nope": 1})) == 3


async def test_what_is_no_object_is_refused(db):
    records: list[Any] = [[], "x", 5, None]
    for record in records:
        assert len(await problems(db, "queue_config", record)) == 1


async def test_a_secret_is_never_shown(db):
    for secret in ("hunter2", {"key_data": "hunter2"}, ["hunter2"]):
        rows = await db.fetch(
            "select p::text from policy.problems('egress_source', $1::jsonb) as p",
            json.dumps({"name": "a", "socks5_proxy_username": "u", "socks5_proxy_password": secret}),
        )
        assert len(rows) == 1
        assert "hunter2" not in rows[0][0]


def damaged(value: Any) -> Iterator[Any]:
    """The value with each of its parts in turn being something else."""
    yield from (None, True, 5, 1.5, "", "x", [], [1], {}, {"a": 1})
    if isinstance(value, dict):
        for key, part in value.items():
            yield from ({**value, key: other} for other in damaged(part))
    if isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in damaged(part))


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
async def test_whatever_stands_in_a_value_is_judged_and_never_an_error(db, constructor):
    for line in of(constructor):
        values = [
            other for value in line["accepted"] if isinstance(value, dict | list) for other in damaged(value)
        ]
        await refused(db, line, values)


async def test_a_dotted_name_of_the_catalogue_is_no_option(db):
    assert len(await problems(db, "queue_config", {"protocol.xfer": {"xfer": {"target": "http://a"}}})) == 1


async def test_a_duration_is_as_long_as_kumomta_takes_it(db):
    for text, seconds in {
        "1h 30m": 5400, "1h30m": 5400, "2 days": 172800, "250ms": 0.25, "1.5h": 5400, "5 M": 13150080,
    }.items():  # fmt: skip
        assert float(await db.fetchval("select policy.seconds($1::jsonb)", json.dumps(text))) == seconds


async def judged(db: asyncpg.Connection, function: str, values: str) -> list[str]:
    """Those of the words that the function is true for."""
    return [text for text in values.split() if await db.fetchval(f"select policy.{function}($1)", text)]


async def test_addresses_are_told_from_what_looks_like_one(db):
    good = "192.0.2.255 0.0.0.0 :: ::1 2001:DB8::1 1:2:3:4:5:6:7:8 1:2:3:4:5:6:7:: ::ffff:192.0.2.1 1:2:3:4:5:6:192.0.2.1"
    bad = "192.0.2.256 1.2.3 1.2.3.4.5 01.2.3.4 1.2.3.4. 1:2:3:4:5:6:7:8:9 1::2::3 12345:: fe80::1%eth0 :1 1: ::: x ::1.2.3"
    assert await judged(db, "is_ip", good) == good.split()
    assert await judged(db, "is_ip", bad) == []


async def test_networks_have_no_host_bits(db):
    good = "10.0.0.0/8 2001:db8::/32 ::/0 0.0.0.0/0 any 10.0.0.1 10.0.0.1/32"
    bad = "10.0.0.1/8 10.0.0.0/33 2001:db8::1/32 ::/129 10.0.0.0/ 10.0.0.0/8/8 x/8 Any"
    assert await judged(db, "is_network", good) == good.split()
    assert await judged(db, "is_network", bad) == []
