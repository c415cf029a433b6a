"""What an attempt to log in is, whatever is sent as one."""

import ipaddress
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.errors import LookupInvalid
from policyd.policy.credential import (
    LONGEST_PASSWORD,
    Attempt,
    Credential,
    credential_of,
    normal_password,
    resolve,
)
from policyd.policy.position import Position
from policyd.policy.resolving import Resolving

CANARY = "canary-4711"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["username", "password", "peer", CANARY]), inner),
    max_leaves=6,
)  # fmt: skip


def attempt(username: str = "alice", password: str = "secret", peer: str = "192.0.2.1") -> Attempt:
    return Attempt.parse({"username": username, "password": password, "peer": peer})


@given(body=JSON)
def test_what_is_no_attempt_is_refused_and_not_quoted(body: Any) -> None:
    with pytest.raises(LookupInvalid) as refused:
        Attempt.parse(body)
    assert CANARY not in str(refused.value) + repr(refused.value)


@given(username=st.text(), password=st.text(), peer=st.ip_addresses())
def test_whatever_a_customer_types_is_an_attempt(username: str, password: str, peer: Any) -> None:
    parsed = attempt(username, password, str(peer))
    assert unicodedata.is_normalized("NFC", parsed.username)
    assert parsed.peer in parsed.network
    assert isinstance(parsed.is_possible, bool)


@pytest.mark.parametrize(
    "peer", ["", "localhost", "192.0.2.1:25", "[::1]", "192.0.2.1/24", "192.0.2.256", "::g", " 192.0.2.1"]
)
def test_a_peer_is_an_address_and_nothing_more(peer):
    with pytest.raises(LookupInvalid, match="'peer' is no address"):
        attempt(peer=peer)


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", "127.0.0.0/24"),
    ],
)
def test_neighbours_are_one_network(peer, network):
    assert str(attempt(peer=peer).network) == network


@pytest.mark.parametrize(
    ("username", "password", "possible"),
    [
        ("alice", "secret", True),
        ("a" * 255, "secret", True),
        ("a" * 256, "secret", False),
        ("a" * 1000, "secret", False),
        ("", "secret", False),
        ("a\0b", "secret", False),
        ("alice", "", False),
        ("alice", "a\0b", False),
        ("alice", "p" * LONGEST_PASSWORD, True),
        ("alice", "p" * (LONGEST_PASSWORD + 1), False),
        ("alice", "ä" * (LONGEST_PASSWORD // 2), True),
        ("alice", "ä" * (LONGEST_PASSWORD // 2 + 1), False),
        ("名前", "パスワード", True),
    ],
)
def test_what_no_row_can_hold_is_not_looked_for(username, password, possible):
    assert attempt(username, password).is_possible is possible


@given(st.text())
def test_a_password_is_the_same_however_often_it_is_made_normal(typed):
    assert normal_password(normal_password(typed)) == normal_password(typed)


def test_every_space_is_a_space_and_every_umlaut_one_letter_but_case_and_width_count():
    assert normal_password("a\u3000b\u00a0c") == "a b c"
    assert normal_password("u\u0308") == "ü"
    assert normal_password("\uff21") != "A"
    assert normal_password("A") != normal_password("a")


def test_a_password_stands_in_no_repr():
    assert CANARY not in repr(attempt(password=CANARY))


ALWAYS = Credential(username="alice", tenant="acme", networks=None, enabled=True, expires_at=None)
HERE = ipaddress.ip_address("192.0.2.1")


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({}, None),
        ({"enabled": False}, "disabled"),
        ({"expires_at": 100.0}, "expired"),
        ({"expires_at": 100.1}, None),
        ({"networks": (ipaddress.ip_network("192.0.2.0/24"),)}, None),
        ({"networks": (ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("::/0"))}, "network"),
    ],
)
def test_a_right_password_is_good_where_and_when_the_row_says(changed, refusal):
    assert replace(ALWAYS, **changed).refusal(HERE, 100.0) == refusal


def test_a_credential_is_one_document_there_or_not():
    row = {
        "username": "a/b",
        "password_hash": "$x",
        "tenant": "acme",
        "enabled": True,
        "networks": ["10.0.0.0/8"],
        "expires_at": 5,
    }
    for documents, found in (({}, None), ({"smtp_credential/a%2Fb": row}, row)):
        resolving = Resolving(lambda: resolve("a/b"))
        resolved = resolving.show(Position(1, "00000000"), documents)
        assert resolved is not None
        assert resolved.tags == ("smtp_credential/a%2Fb",)
        credential = credential_of(resolved.resolution)
        assert (credential is None) == (found is None)
        if credential is not None:
            assert credential[1] == "$x"
            assert "$x" not in repr(credential[0])
            assert credential[0].networks == (ipaddress.ip_network("10.0.0.0/8"),)
