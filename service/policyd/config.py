"""Configuration as values: one frozen class for each concern, with its defaults. No I/O; see config_loader."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from policyd.units import Address, Bytes, Seconds

KEY_ROOT: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
SECRET: Final = "secret"  # noqa: S105 - the name of a mark
LEAST: Final = "least"
MOST: Final = "most"


def _secret() -> Any:
    """Field that repr leaves out, `policyd config` redacts, and that can come from a file of its own."""
    return field(default="", repr=False, metadata={SECRET: True})


def _between(least: float, most: float, default: float) -> Any:
    return field(default=default, metadata={LEAST: least, MOST: most})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """
    Where PostgreSQL is.

    No *dsn*, and no PGHOST or PGSERVICE in the environment, means the embedded one. Several hosts may stand in a
    DSN; only a primary is used.
    """

    dsn: str = _secret()
    password: str = _secret()
    connections: int = _between(1, 500, 8)
    connect_timeout: Seconds = _between(0.1, 60, 5.0)
    statement_timeout: Seconds = _between(0.01, 60, 2.0)

    @property
    def is_embedded(self) -> bool:
        return not self.dsn


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedConfig:
    """The PostgreSQL that policyd runs itself. *account* is who runs it when policyd is root; empty chooses."""

    state: Path = Path("/var/lib/policyd")
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupConfig:
    """
    The listener that kumod asks.

    *drain* is for load balancers that look at /readyz: for so long a service that is told to end takes connections still.
    """

    listen: Address = Address("127.0.0.1", 8085)
    reuse_port: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    require_tokens: bool = True
    allow_plaintext_secrets: bool = False
    max_body: Bytes = _between(1024, 2**30, 2**20)
    body_deadline: Seconds = _between(0.1, 600, 10.0)
    deadline: Seconds = _between(0.05, 60, 2.0)
    max_pending: int = _between(1, 1_000_000, 2_000)
    max_connections: int = _between(16, 1_000_000, 10_000)
    head_deadline: Seconds = _between(0.1, 600, 10.0)
    drain: Seconds = _between(0, 600, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminConfig:
    """The listener that people and Prometheus ask."""

    listen: Address = Address("127.0.0.1", 9085)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """Ready answers. *none_share* is the part of *bytes* for names that do not exist: strangers choose those."""

    bytes: Bytes = _between(2**20, 2**40, 256 * 2**20)
    none_share: float = _between(0.01, 0.9, 0.1)
    max_stale: Seconds = _between(60, 365 * 86_400, 7 * 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedConfig:
    """How changes arrive. A replica is current while it read the log within *lease*."""

    lease: Seconds = _between(0.5, 300, 5.0)
    poll: Seconds = _between(0.05, 60, 1.0)
    window: int = _between(1_000, 10_000_000, 100_000)
    read_on_deadline: Seconds = _between(0.01, 10, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRootConfig:
    """
    A place where private keys live, called `[keys.NAME]`; rows may name a key below it, but never a path.

    Files: `DIR/DOMAIN/SELECTOR.key`. Vault: field *key_field* of `MOUNT/PREFIX/DOMAIN/SELECTOR`; without *kv_version*
    Vault is asked which version the mount has.
    """

    kind: Literal["files", "vault"] = "files"
    dir: Path = Path("/opt/kumomta/etc/dkim")
    suffix: str = ".key"
    mount: str = "secret"
    prefix: str = "dkim"
    key_field: str = "key"
    kv_version: int | None = field(default=None, metadata={LEAST: 1, MOST: 2})
    timeout: Seconds = _between(0.05, 60, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """
    Where Vault or OpenBao is, and who policyd is there. Several addresses of one cluster are separated by commas.

    *login* says which credential counts. Those in files are read again at every login, so that they may be replaced;
    a refused one is not offered again until it changes.
    """

    address: str = ""
    namespace: str = ""
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    allow_plaintext_secrets: bool = False
    login: Literal["token", "approle", "kubernetes"] = "token"
    login_mount: str = ""
    token: str = _secret()
    token_file: Path | None = None
    role_id: str = ""
    secret_id: str = _secret()
    secret_id_file: Path | None = None
    kubernetes_role: str = ""
    kubernetes_jwt_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    connections: int = _between(1, 64, 4)
    max_pending: int = _between(1, 100_000, 500)
    login_timeout: Seconds = _between(0.1, 60, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """
    SMTP AUTH. A username may fail *failures* times from one network (/24, /64) in *failures_within*; ten times as often
    from everywhere, and so may a network. *remembered* is how many right passwords need no second check.
    """

    threads: int = _between(1, 64, 2)
    max_waiting: int = _between(1, 10_000, 64)
    failures: int = _between(1, 1_000_000, 10)
    failures_within: Seconds = _between(1, 7 * 86_400, 600.0)
    remembered: int = _between(1, 10_000_000, 50_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class DkimConfig:
    """
    Private keys. Each that is known is looked at again within *recheck*, to notice one that was replaced outside policyd;
    *cached_keys* is how many stay in memory.
    """

    recheck: Seconds = _between(1, 7 * 86_400, 600.0)
    cached_keys: int = _between(1, 1_000_000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesConfig:
    """What nodes report. All replicas read it every *refresh*; a node that is silent for *forget_after* is forgotten."""

    refresh: Seconds = _between(0.05, 3600, 10.0)
    forget_after: Seconds = _between(3600, 10 * 365 * 86_400, 30 * 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """How long the log keeps what changed; without *keep* for ever. Who, when and why is always kept."""

    keep: Seconds | None = field(default=None, metadata={LEAST: 86_400.0, MOST: 100 * 365 * 86_400.0})


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingConfig:
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """Which service `policyd lookup` and `policyd explain` ask. Without *token*, the one that `policyd up` made."""

    url: str = "http://127.0.0.1:8085"
    admin_url: str = "http://127.0.0.1:9085"
    token: str = _secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured. Its repr is safe to log."""

    database: DatabaseConfig = DatabaseConfig()
    embedded: EmbeddedConfig = EmbeddedConfig()
    lookup: LookupConfig = LookupConfig()
    admin: AdminConfig = AdminConfig()
    cache: CacheConfig = CacheConfig()
    feed: FeedConfig = FeedConfig()
    keys: Mapping[str, KeyRootConfig] = field(
        default_factory=lambda: MappingProxyType({"default": KeyRootConfig()})
    )
    vault: VaultConfig = VaultConfig()
    dkim: DkimConfig = DkimConfig()
    auth: AuthConfig = AuthConfig()
    nodes: NodesConfig = NodesConfig()
    history: HistoryConfig = HistoryConfig()
    logging: LoggingConfig = LoggingConfig()
    client: ClientConfig = ClientConfig()

    def sections(self) -> Iterator[tuple[str, Any]]:
        """Each section's name as it stands in the file, and its values: `keys` has one for each root."""
        for section in fields(self):
            value = getattr(self, section.name)
            if isinstance(value, Mapping):
                yield from ((f"{section.name}.{name}", each) for name, each in value.items())
            else:
                yield section.name, value
