"""API tokens: what a bearer of one may do. The secret itself is known to its bearer alone; rows hold its SHA-256."""

import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from policyd.policy.asking import Layer, Resolution, Resolver, ask, overlay
from policyd.policy.names import domain_chain
from policyd.policy.tags import tag

SCOPES = ("lookup", "dkim", "auth", "status", "admin")
_WRITTEN = re.compile(r"Bearer +([A-Za-z0-9_-]{1,64})\.([A-Za-z0-9_-]{16,128})", re.IGNORECASE)
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What an Authorization header claims."""

    name: str
    sha256: str = field(repr=False)

    @classmethod
    def parse(cls, header: str) -> "Credentials | None":
        """The token that *header* holds as `Bearer NAME.SECRET`; None for anything else."""
        written = _WRITTEN.fullmatch(header.strip())
        if written is None:
            return None
        return cls(name=written[1], sha256=hash_secret(written[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a token allows, to whom, until when (seconds since the epoch)."""

    name: str
    scopes: frozenset[str]
    networks: tuple[Network, ...] | None
    expires_at: float | None
    domains: frozenset[str] | None = None
    """Whose private keys it may read: domains, and `*.parent` for all below one; None: everybody's."""

    def admits_peer(self, address: str) -> bool:
        """Whether the token may be used from *address*."""
        if self.networks is None:
            return True
        peer = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            peer = peer.ipv4_mapped
        return any(peer.version == network.version and peer in network for network in self.networks)

    def admits_domain(self, name: str) -> bool:
        """Whether the token may read private keys of the normalised domain."""
        return self.domains is None or any(each in self.domains for each in domain_chain(name))


def hash_secret(secret: str) -> str:
    """What a row holds instead of *secret*; the secret is random, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def resolve(name: str) -> Resolver:
    """The token's row, as a lookup like any other; so that a change of it is known like any other."""
    document = tag("api_token", name)
    seen = yield ask(document)
    row = seen[document]
    return Resolution(
        layers=() if row is None else (Layer(document, {(field,): row[field] for field in row}),)
    )


def grant_of(resolution: Resolution, credentials: Credentials) -> Grant | None:
    """What the row grants to the bearer of *credentials*; None when there is no row or the secret is not its."""
    row = overlay(resolution.layers)
    if not hmac.compare_digest(row.get("sha256", "0" * 64), credentials.sha256) or not row:
        return None
    networks = row.get("networks")
    return Grant(
        name=credentials.name,
        scopes=frozenset(row["scopes"]),
        networks=None if networks is None else tuple(ipaddress.ip_network(each) for each in networks),
        expires_at=row.get("expires_at"),
        domains=frozenset(row["domains"]) if "domains" in row else None,
    )
