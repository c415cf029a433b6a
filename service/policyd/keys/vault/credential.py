"""Who policyd is at Vault: what it logs in with, and what it is granted for it."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hvac.api.auth_methods import AppRole, Kubernetes, Token

from policyd.config import VaultConfig
from policyd.config_loader import read_secret
from policyd.errors import ConfigError, VaultUnavailable
from policyd.keys.vault.wire import Question, Reply

_RENEW_AFTER: Final = 2 / 3
_LEAST_WAIT: Final = 0.5
"""Seconds between two renewals of a token at the end of its life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What to log in with. *fingerprint* differs when it does, and says nothing about it."""

    method: str
    fingerprint: str
    log_in: Question = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def is_token(self) -> bool:
        """Whether it is a token itself: then there is nothing to log in with when that ends."""
        return self.method == "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """
    A token and how long it lasts, in seconds of `time.monotonic`: infinite for one that never ends.

    *renewable* is false, too, once Vault grants less than was *asked*: near the end of its longest life.
    """

    token: str = field(repr=False)
    began: float
    life: float
    asked: float
    renewable: bool

    @property
    def due(self) -> float:
        """When to renew it, or to log in again."""
        return self.began + max(_LEAST_WAIT, self.life * _RENEW_AFTER)

    @property
    def ends(self) -> float:
        return self.began + self.life


def refuse_incomplete(config: VaultConfig) -> None:
    """Raise ConfigError where something that the configured login needs is missing."""
    match config.login:
        case "token" if not config.token and config.token_file is None:
            raise ConfigError(
                "vault.login = 'token' needs vault.token or vault.token_file", hint="or VAULT_TOKEN"
            )
        case "approle" if not config.role_id:
            raise ConfigError("vault.login = 'approle' needs vault.role_id")
        case "kubernetes" if not config.kubernetes_role:
            raise ConfigError("vault.login = 'kubernetes' needs vault.kubernetes_role")
    if config.client_key is not None and config.client_cert is None:
        raise ConfigError("vault.client_key needs vault.client_cert")


def read_credential(config: VaultConfig) -> Credential:
    """The configured credential, from its file if it has one; SecretsUnavailable where that cannot be read. Blocks."""
    match config.login:
        case "token":
            token = _secret(config.token, config.token_file, "vault.token_file")
            return Credential(
                method="token",
                fingerprint=_fingerprint(token),
                log_in=lambda adapter: Token(adapter).lookup_self(),
                token=token,
            )
        case "approle":
            secret_id = _secret(config.secret_id, config.secret_id_file, "vault.secret_id_file")
            return Credential(
                method="approle",
                fingerprint=_fingerprint(config.role_id, secret_id),
                log_in=lambda adapter: AppRole(adapter).login(
                    config.role_id,
                    secret_id or None,
                    use_token=False,
                    mount_point=config.login_mount.strip("/") or "approle",
                ),
            )
        case "kubernetes":
            jwt = _token_of_pod(config.kubernetes_jwt_file)
            return Credential(
                method="kubernetes",
                fingerprint=_fingerprint(config.kubernetes_role, jwt),
                log_in=lambda adapter: Kubernetes(adapter).login(
                    config.kubernetes_role,
                    jwt,
                    use_token=False,
                    mount_point=config.login_mount.strip("/") or "kubernetes",
                ),
            )


def granted_by_login(reply: Reply, *, now: float) -> Grant:
    """The token of a login's reply; VaultUnavailable where there is none, as with a second factor."""
    auth = reply.body.get("auth")
    token = auth.get("client_token") if isinstance(auth, Mapping) else None
    if not isinstance(auth, Mapping) or not isinstance(token, str) or not token:
        raise VaultUnavailable("Vault: the login was answered without a token", trouble="login")
    life = _life(auth.get("lease_duration"))
    return Grant(token=token, began=now, life=life, asked=life, renewable=auth.get("renewable") is True)


def granted_by_lookup(reply: Reply, token: str, *, now: float) -> Grant:
    """What Vault says of a *token* that was given: how long it lasts, and whether it can be renewed."""
    data = reply.body.get("data")
    if not isinstance(data, Mapping):
        raise VaultUnavailable("Vault: what it says of the token cannot be understood", trouble="login")
    life = _life(data.get("ttl"))
    # A periodic token is asked for its period, any other for the life that it began with.
    asked = max(life, _life(data.get("period") or data.get("creation_ttl")))
    return Grant(
        token=token,
        began=now,
        life=life,
        asked=life if math.isinf(asked) else asked,
        renewable=data.get("renewable") is True and not math.isinf(life),
    )


def unknown_life(token: str, *, now: float) -> Grant:
    """A token that may not be looked up: it is used until it is refused."""
    return Grant(token=token, began=now, life=math.inf, asked=math.inf, renewable=False)


def _life(seconds: Any) -> float:
    """Seconds that a token lasts; Vault says 0 of one that never ends."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise VaultUnavailable("Vault: the life of a token cannot be understood", trouble="login")
    return float(seconds) or math.inf


def _secret(value: str, file: Path | None, origin: str) -> str:
    try:
        secret = value if file is None else read_secret(file, origin=origin).strip()
    except ConfigError as error:
        raise VaultUnavailable(str(error), trouble="login", hint=error.hint) from None
    if (file is not None and not secret) or not (secret.isascii() and secret.isprintable()):
        raise VaultUnavailable(
            f"{origin.removesuffix('_file')} is nothing that could be sent to Vault", trouble="login"
        )
    return secret


def _token_of_pod(file: Path) -> str:
    """The service account's token; Kubernetes itself lets everybody in the pod read it."""
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no token"
        raise VaultUnavailable(f"vault.kubernetes_jwt_file: {file}: {reason}", trouble="login") from None


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
