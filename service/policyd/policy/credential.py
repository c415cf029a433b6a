"""
SMTP credentials: who may log in, from where, until when, and on whose behalf.

Usernames are compared letter by letter, as kumod compares them with `require_authz`; the table has no two that differ
by case alone. Both usernames and passwords are taken in Unicode's normal form C, so that it does not matter on which
machine an umlaut was typed.
"""

import ipaddress
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from policyd.errors import LookupInvalid
from policyd.policy.asking import Json, Layer, Resolution, Resolver, ask, overlay
from policyd.policy.tags import tag

LONGEST_USERNAME: Final = 255
LONGEST_PASSWORD: Final = 1_024
"""Bytes of UTF-8."""

_FIELDS = ("username", "password", "peer")

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Refusal: TypeAlias = Literal["disabled", "expired", "network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Somebody tries to log in."""

    username: str
    password: str = field(repr=False)
    peer: Address

    @classmethod
    def parse(cls, body: Any) -> "Attempt":
        """The attempt in a request's JSON *body*; LookupInvalid names what is wrong, and quotes nothing of it."""
        if not isinstance(body, dict) or set(body) != set(_FIELDS):
            raise LookupInvalid(
                parameter="body",
                problem="does not hold what it should",
                allowed="an object of " + ", ".join(_FIELDS),
            )
        for name in _FIELDS:
            if not isinstance(body[name], str):
                raise LookupInvalid(parameter=name, problem="is no text", allowed="a string")
        return cls(
            username=unicodedata.normalize("NFC", body["username"]),
            password=normal_password(body["password"]),
            peer=peer_address(body["peer"]),
        )

    @property
    def is_possible(self) -> bool:
        """Whether any row could have this username, and any hash be this password's; the rest need not be looked for."""
        return is_possible_password(self.password) and (
            0 < len(self.username) <= LONGEST_USERNAME and "\0" not in self.username
        )

    @property
    def network(self) -> Network:
        """The network that whoever it is can be taken to have all addresses of."""
        return ipaddress.ip_network((self.peer, 24 if self.peer.version == 4 else 64), strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a row allows; *expires_at* in seconds since 1970."""

    username: str
    tenant: str
    networks: tuple[Network, ...] | None
    enabled: bool
    expires_at: float | None

    def refusal(self, peer: Address, now: float) -> Refusal | None:
        """Why whoever knows the password may not log in from *peer* at *now*; None if they may."""
        if not self.enabled:
            return "disabled"
        if self.expires_at is not None and now >= self.expires_at:
            return "expired"
        return None if self.admits(peer) else "network"

    def admits(self, peer: Address) -> bool:
        """Whether somebody may log in from *peer*."""
        return self.networks is None or any(
            peer.version == network.version and peer in network for network in self.networks
        )


def document_of(username: str) -> str:
    """The tag of a username's credential."""
    return tag("smtp_credential", username)


def resolve(username: str) -> Resolver:
    """The row of *username*, as a lookup like any other, so that a change of it is known like any other."""
    document = document_of(username)
    seen = yield ask(document)
    row = seen[document]
    return Resolution(layers=() if row is None else (Layer(document, {(name,): row[name] for name in row}),))


def credential_of(resolution: Resolution) -> tuple[Credential, str] | None:
    """What the row allows, and the hash of its password; None when there is no row."""
    row = overlay(resolution.layers)
    return (credential_in(row), row["password_hash"]) if row else None


def credential_in(row: Mapping[str, Json]) -> Credential:
    """What a row allows, its hash or not."""
    networks = row.get("networks")
    return Credential(
        username=row["username"],
        tenant=row["tenant"],
        networks=None if networks is None else tuple(ipaddress.ip_network(each) for each in networks),
        enabled=row["enabled"],
        expires_at=row.get("expires_at"),
    )


def normal_password(typed: str) -> str:
    """The password that is meant by what was typed (RFC 8265, OpaqueString: normal form C, every space the same)."""
    if typed.isascii():
        return typed
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in typed)
    return unicodedata.normalize("NFC", spaced)


def is_possible_password(password: str) -> bool:
    """Whether a credential can have *password*: longer ones than this are nobody's, and cost nothing to refuse."""
    return 0 < len(password.encode()) <= LONGEST_PASSWORD and "\0" not in password


def peer_address(written: str) -> Address:
    """The address that somebody comes from; LookupInvalid for what is none."""
    try:
        peer = ipaddress.ip_address(written)
    except ValueError:
        raise LookupInvalid(
            parameter="peer",
            problem="is no address",
            allowed="where the customer came from, without a port: 192.0.2.1 or 2001:db8::1",
        ) from None
    if isinstance(peer, ipaddress.IPv4Address):
        return peer
    return peer.ipv4_mapped or ipaddress.IPv6Address(int(peer))  # without a zone
