"""Who is calling: tokens found by their raw header, judged by the same rule as answers."""

import time
from dataclasses import dataclass, field

from policyd.config import Config
from policyd.errors import DatabaseUnavailable, Forbidden, Unauthorized
from policyd.live.feed import Feed
from policyd.live.token_rows import TokenRows
from policyd.policy import token
from policyd.policy.validity import is_valid

_MOST_REMEMBERED = 10_000
_MOST_PEERS = 1_000
ANYONE = token.Grant(name="anyone", scopes=frozenset(token.SCOPES), networks=None, expires_at=None)


@dataclass(slots=True, kw_only=True)
class Bearer:
    """A token that was found good once, and what is needed to find it good again without asking."""

    grant: token.Grant
    tags: tuple[str, ...]
    label: int
    peers: dict[str, bool] = field(default_factory=dict)

    @property
    def token(self) -> str | None:
        """The token's name; None where none are required."""
        return None if self.grant is ANYONE else self.grant.name

    def admits_peer(self, address: str) -> bool:
        """Whether the token may be used from *address*; remembered, because parsing an address costs as much as a hit."""
        admitted = self.peers.get(address)
        if admitted is None:
            admitted = self.grant.admits_peer(address)
            if len(self.peers) < _MOST_PEERS:
                self.peers[address] = admitted
        return admitted


class Bearers:
    """The tokens that have been used lately."""

    def __init__(self, rows: TokenRows, feed: Feed, config: Config) -> None:
        self._rows = rows
        self._feed = feed
        self._config = config
        self._remembered: dict[str, Bearer] = {}
        self._history = feed.history
        self.anyone = Bearer(grant=ANYONE, tags=(), label=0)

    def remembered(self, header: str | None) -> Bearer | None:
        """
        The bearer of the raw *header* if that can be told without asking: the whole cost of a hit's token.

        For a replica that is current; `identify` is for one that may not be.
        """
        if not self._config.lookup.require_tokens:
            return self.anyone
        if header is None or self._history != self._feed.history:
            return None
        bearer = self._remembered.get(header)
        known = self._feed.known
        if bearer is None or known is None:
            return None
        expires_at = bearer.grant.expires_at
        if expires_at is not None and time.time() >= expires_at:
            return None
        if bearer.label != known.position.number:
            if not is_valid(bearer.label, bearer.tags, known):
                return None
            bearer.label = known.position.number
        return bearer

    async def identify(self, header: str | None, peer: str) -> Bearer:
        """
        The bearer of *header*, which *peer* brings.

        Raises Unauthorized for one that is missing, unknown, wrong or expired, and DatabaseUnavailable for one
        that is not known here while PostgreSQL cannot be asked: an outage of ours is nobody's wrong token.
        """
        bearer = self.remembered(header)
        if bearer is not None and (self._feed.current or self._feed.age <= self._config.cache.max_stale):
            return bearer
        if header is None:
            raise Unauthorized("a token is needed: Authorization: Bearer NAME.SECRET")
        if self._history != self._feed.history:
            self._remembered.clear()
            self._history = self._feed.history
        credentials = token.Credentials.parse(header)
        if credentials is None:
            raise Unauthorized(
                "the Authorization header does not hold a token of the form Bearer NAME.SECRET"
            )
        return await self._ask(header, credentials, peer)

    async def _ask(self, header: str, credentials: token.Credentials, peer: str) -> Bearer:
        if not self._feed.current:
            raise DatabaseUnavailable(
                "this token has not been seen here, and PostgreSQL cannot be asked at the moment"
            )
        resolved = await self._rows.row(credentials.name, peer)
        grant = token.grant_of(resolved.resolution, credentials)
        if grant is None:
            raise Unauthorized("no such token, or not its secret", token=credentials.name)
        if grant.expires_at is not None and time.time() >= grant.expires_at:
            raise Unauthorized(f"token {grant.name} has expired", token=grant.name)
        bearer = Bearer(grant=grant, tags=resolved.tags, label=resolved.position.number)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        self._remembered[header] = bearer
        return bearer


def require(bearer: Bearer, scope: str, peer: str) -> None:
    """Raise Forbidden unless the token's scopes and networks allow this."""
    if scope not in bearer.grant.scopes:
        raise Forbidden(token=bearer.grant.name, needed=f"scope {scope}")
    if not bearer.admits_peer(peer):
        raise Forbidden(token=bearer.grant.name, needed="another network to come from")
