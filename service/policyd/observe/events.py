"""
Observations: everything noteworthy that happens, as values without formatting.

Code that does the work calls the `Observer` it was given; whether an observation is logged, counted or both is
decided in the sinks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from policyd.errors import Bottleneck, Trouble
from policyd.policy.node import NodeState
from policyd.policy.position import Position


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLost:
    """A backend stopped answering; what is known goes on being served."""

    backend: str
    trouble: Trouble
    reason: str
    retry_in: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendReached:
    """A backend answers (again)."""

    backend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendFailed:
    """A backend did not give what one request needed; *reason* is for the log alone, and may name hosts or columns."""

    backend: str
    trouble: Trouble
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAnswered:
    """A backend answered one request; *operation* is one of a closed set."""

    backend: str
    operation: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultTokenGranted:
    """
    Vault granted a token, or renewed it. *expires_at* is in seconds since 1970, None for one that never ends;
    *renewable* says whether it can be made to last longer.
    """

    expires_at: float | None
    renewable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultCredentialRefused:
    """Vault refused what policyd logs in with; None for *retry_in* means not again until the credential changes."""

    login: str
    reason: str
    retry_in: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesRead:
    """The change feed took in new revisions."""

    position: Position
    revisions: int
    tags: int
    floors: int
    lag: float
    """Seconds from the newest revision's commit to its being known here, by the two clocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReplaced:
    """The database has another history than before: everything cached was dropped."""

    held: Position
    found: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyLost:
    """The change feed has not read the log within its lease: answers are marked stale from now on."""

    position: Position
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyRegained:
    """The change feed reads the log again; answers are vouched for."""

    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRefused:
    """A request came with a token that does not allow it; *token* is its name, never its secret."""

    token: str | None
    reason: str
    peer: str


AuthOutcome: TypeAlias = Literal[
    "verified", "remembered", "stale",
    "wrong", "unknown", "disabled", "expired", "network", "impossible",
    "limited", "overloaded", "unavailable",
]  # fmt: skip
"""What became of a login: the first three were let in, the next six were not, of the last three nothing was said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthAttempted:
    """Somebody tried to log in. Who is not said: people type passwords where their username belongs."""

    outcome: AuthOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthLimited:
    """Logins from a network are not looked at, because too many like them failed lately."""

    network: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReported:
    """A node said what it has applied."""

    node: str
    applied: Position | None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesRead:
    """What all nodes said last, at whichever replica."""

    nodes: Sequence[NodeState]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesForgotten:
    """Nodes that had been silent for long are not known any more."""

    nodes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySent:
    """A private key was handed to the bearer of a token; *found* is `memory`, `read`, or `stale`."""

    token: str | None
    limited: bool
    """Whether the token is good for some domains only."""
    domain: str
    selector: str
    key_id: str
    found: str
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanged:
    """Another private key is at a place than before: all replicas and nodes hear of it as one change."""

    root: str
    name: str
    before: str
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUnusable:
    """A private key that rows need is not there, or cannot be used. What is known of it goes on being answered."""

    root: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillBegan:
    """From now on lookups fail on purpose."""

    number: int
    by: str
    kinds: str
    nodes: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillKeptTo:
    """Something failed because of a drill."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillEnded:
    """A drill is over, or was ended."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPruned:
    """What the log said of revisions up to this one is gone, because it was older than it is to be kept."""

    revision: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestShed:
    """A request was told to come again, because more is asked for than can be done in time; *reason* says what is full."""

    bottleneck: Bottleneck
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFailed:
    """A request ended in an error of ours; *request_id* is what its caller was told."""

    request_id: str
    method: str
    route: str
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAsked:
    """SIGHUP arrived: what can be read again is (the listener's certificate), and everything else goes on."""

    certificate: str | None
    """The certificate that is read again; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRead:
    """The listener's certificate was read again; connections from now on are shown it."""

    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRefused:
    """The listener's certificate was to be read again and cannot be used: the old one stays."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted:
    """The listeners are open."""

    lookup: str
    admin: str
    version: str
    current: bool
    connections: int
    """How many may be open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopping:
    """The service was asked to end; requests under way are answered first."""


Observation: TypeAlias = (
    BackendLost
    | BackendReached
    | BackendFailed
    | BackendAnswered
    | VaultTokenGranted
    | VaultCredentialRefused
    | ChangesRead
    | HistoryReplaced
    | HistoryPruned
    | CurrencyLost
    | CurrencyRegained
    | TokenRefused
    | AuthAttempted
    | AuthLimited
    | NodeReported
    | NodesRead
    | NodesForgotten
    | KeySent
    | KeyChanged
    | KeyUnusable
    | DrillBegan
    | DrillKeptTo
    | DrillEnded
    | RequestShed
    | RequestFailed
    | ReloadAsked
    | CertificateRead
    | CertificateRefused
    | ServiceStarted
    | ServiceStopping
)

Observer: TypeAlias = Callable[[Observation], None]
