"""Which helper a file is for."""

import pytest

from policyd.transfer.files import HelperKind, UnreadableFile, UnrecognisedFile, kind_named, read_helper_file


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("listener_domains", '["example.com"]\nrelay_to = true'),
        ("listener_domains", '[listener."10.0.0.1:25"."example.com"]\nlog_oob = true'),
        ("listener_domains", '["pool"]\nrelay_to = true'),
        ("sources", '[source."ip-1"]'),
        ("sources", '[pool."p"."ip-1"]'),
        ("sources", '[pool."p"]'),
        ("queues", "tenant_header = 'X-Tenant'"),
        ("queues", "[queue.default]\nmax_age = '1 day'"),
        ("queues", "[tenant.'a']"),
        ("dkim", "[base]\nselector = 's1'"),
        ("dkim", "[domain.'example.com']\nselector = 's1'"),
        ("shaping", "['gmail.com']\nmx_rollup = true\nconnection_limit = 10"),
        ("shaping", "[default]\nconnection_limit = 10\nmax_connection_rate = '5/m'"),
        ("shaping", "[provider.'x']\nmatch = [{ DomainSuffix = 'x.com' }]"),
    ],
)
def test_a_file_is_known_by_its_content(kind: HelperKind, text: str) -> None:
    assert read_helper_file("policy.toml", text).kind == kind


def test_a_file_that_says_nothing_is_known_by_its_name() -> None:
    assert (
        read_helper_file("/etc/listener_domains.toml", "['example.com']\nrelay_too = true").kind
        == "listener_domains"
    )
    assert read_helper_file("my-sources.json", "{}").kind == "sources"


@pytest.mark.parametrize("text", ["", "['example.com']\nrelay_too = true", "[queue.'a']\n[pool.'p'.'s']"])
def test_a_file_that_could_be_anything_asks_for_its_kind(text: str) -> None:
    with pytest.raises(UnrecognisedFile, match=r"KIND=policy\.toml"):
        read_helper_file("policy.toml", text)
    assert read_helper_file("policy.toml", text, "queues").kind == "queues"


def test_a_file_without_a_table_is_no_helper_file() -> None:
    with pytest.raises(UnrecognisedFile, match="no table"):
        read_helper_file("queries.json", "[1]")


def test_only_what_is_called_toml_is_toml() -> None:
    assert read_helper_file("queues.conf", '{"queue": {"a": {}}} // as KumoMTA decides').kind == "queues"
    with pytest.raises(UnreadableFile, match=r"queues\.conf: this is not JSON"):
        read_helper_file("queues.conf", "[queue.a]")


def test_kinds_may_be_named_by_their_helper() -> None:
    assert [kind_named(name) for name in ("queue", "queues", "sources", "listener_domains", "webhooks")] == [
        "queues",
        "queues",
        "sources",
        "listener_domains",
        None,
    ]
