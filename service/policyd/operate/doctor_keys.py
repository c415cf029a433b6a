"""The part of `policyd doctor` that looks where private keys live."""

import asyncio
import math
import os
import pwd
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from policyd.config import Config
from policyd.errors import ConfigError, KeyInvalid, SecretsUnavailable
from policyd.keys import KeyName, Keys, open_keys
from policyd.observe.events import BackendLost, Observation, VaultCredentialRefused, VaultTokenGranted
from policyd.operate.finding import Finding
from policyd.store.health import WantedKey

_AT_ONCE = 50
_ALGORITHMS = {"rsa-sha256": "sha256", "ed25519-sha256": "ed25519"}
_MOST_SHOWN = 10
_LEAST_LIFE = 86_400.0
_NOBODY = KeyName(root="default", name="policyd/doctor")
_SERVICE_USER = "policyd"
"""As whom the units run the service."""


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why mail of *domain* would wait for a key; *unreadable* names its root where whoever asks here may not read it."""

    domain: str
    says: str
    unreadable: str | None = None


async def check_keys(config: Config, wanted: Sequence[WantedKey] | None) -> AsyncIterator[Finding]:
    """
    Whether Vault lets policyd in, and each of the *wanted* keys is there and is what its rows say.

    None where nobody knows which are wanted.
    """
    seen: list[Observation] = []
    try:
        async with open_keys(config.keys, config.vault, seen.append) as keys:
            vaults = [name for name, root in config.keys.items() if root.kind == "vault"]
            if vaults:
                yield await _vault(keys, vaults[0], seen)
            if wanted is not None:
                for finding in await _keys(keys, wanted, config):
                    yield finding
    except ConfigError as error:
        yield Finding("keys", "error", str(error), error.hint)


async def _vault(keys: Keys, root: str, seen: list[Observation]) -> Finding:
    """What came of asking Vault for a key that nobody has: a token is needed for that too."""
    trouble = ""
    try:
        await keys.read(KeyName(root=root, name=_NOBODY.name))
    except (SecretsUnavailable, KeyInvalid) as error:
        trouble = str(error)
    for observation in seen:
        match observation:
            case VaultCredentialRefused(login=login, reason=reason):
                return Finding(
                    "vault",
                    "error",
                    f"Vault does not let policyd in with vault.login = {login}: {reason}",
                    "write a new credential where the configuration says; policyd reads it again by itself",
                )
            case BackendLost(reason=reason):
                return Finding(
                    "vault", "error", f"Vault: {reason}", "is it up, unsealed, and vault.address right?"
                )
            case _:
                pass
    if trouble:
        return Finding(
            "vault",
            "error",
            trouble,
            "the policy of policyd's token has to allow read below mount and prefix",
        )
    return _token(seen)


def _token(seen: Sequence[Observation]) -> Finding:
    ends = [each.expires_at for each in seen if isinstance(each, VaultTokenGranted)]
    at = math.inf if not ends or ends[-1] is None else ends[-1]
    if at == math.inf:
        return Finding("vault", "ok", "answers, and the token never ends")
    left = at - time.time()
    renewable = next((each.renewable for each in reversed(seen) if isinstance(each, VaultTokenGranted)), True)
    if not renewable and left < _LEAST_LIFE:
        return Finding(
            "vault",
            "warning",
            f"the token ends in {left / 3600:.1f} h and cannot be renewed",
            "use AppRole or Kubernetes, which log in again, or a periodic token: vault token create -period=24h",
        )
    return Finding(
        "vault",
        "ok",
        f"answers; the token lasts {left / 3600:.1f} h" + (" and is renewed" if renewable else ""),
    )


async def _keys(keys: Keys, wanted: Sequence[WantedKey], config: Config) -> list[Finding]:
    if not wanted:
        return [Finding("keys", "note", "no row signs, or only rows that sign for many domains")]
    found = [
        Finding(
            "keys",
            "error",
            f"rows name the key root {name}, and the configuration has no [keys.{name}]",
            f"add [keys.{name}], or change key_root of these rows",
        )
        for name in sorted({each.root for each in wanted} - set(config.keys))
    ]
    readable = [each for each in wanted if each.root in config.keys]
    troubles = [
        trouble
        for start in range(0, len(readable), _AT_ONCE)
        for trouble in await _troubles(keys, readable[start : start + _AT_ONCE], config)
    ]
    found += _unreadable(troubles, config)
    found += _unusable([each for each in troubles if each.unreadable is None])
    return found or [
        Finding("keys", "ok", f"every private key that rows name is there and fits ({len(readable)})")
    ]


def _unreadable(troubles: Sequence[_Trouble], config: Config) -> Iterator[Finding]:
    """One finding for each directory: it is about whoever asks, and not about a key."""
    for root, count in Counter(each.unreadable for each in troubles if each.unreadable is not None).items():
        directory = config.keys[root].dir
        yield Finding(
            "keys",
            "error" if _is_service_user() else "warning",
            f"whoever runs this may not read {count} of the private keys in {directory}, so it cannot say whether they are right",
            f"sudo -u {_SERVICE_USER} $(command -v policyd) doctor asks as the service does; if that says the same:"
            f" usermod --append --groups GROUP {_SERVICE_USER}, chmod -R g+rX {directory}, and restart the service",
        )


def _unusable(troubles: Sequence[_Trouble]) -> Iterator[Finding]:
    for each in troubles[:_MOST_SHOWN]:
        says = f"{each.domain} cannot sign: {each.says}"
        yield Finding("keys", "error", says, f"policyd explain /dkim/{each.domain}")
    if len(troubles) > _MOST_SHOWN:
        yield Finding("keys", "error", f"{len(troubles) - _MOST_SHOWN} more keys cannot be used")


def _is_service_user() -> bool:
    """Whether this is the user that the service has; true as well where there is no such user on this machine."""
    try:
        return pwd.getpwnam(_SERVICE_USER).pw_uid == os.geteuid()
    except KeyError:
        return True


async def _troubles(keys: Keys, wanted: Sequence[WantedKey], config: Config) -> list[_Trouble]:
    troubles = await asyncio.gather(*(_trouble(keys, each, config) for each in wanted))
    return [trouble for trouble in troubles if trouble is not None]


async def _trouble(keys: Keys, wanted: WantedKey, config: Config) -> _Trouble | None:
    """Why mail would wait for this key; None if it would not."""
    place = f"private key {wanted.root}:{wanted.name}"
    try:
        key = await keys.read(KeyName(root=wanted.root, name=wanted.name))
    except KeyInvalid as error:
        return _Trouble(wanted.domain, str(error))
    except SecretsUnavailable as error:
        is_refused = error.trouble == "refused" and config.keys[wanted.root].kind == "files"
        return _Trouble(wanted.domain, str(error), wanted.root if is_refused else None)
    if key is None:
        return _Trouble(wanted.domain, f"there is no {place}")
    algorithm = _ALGORITHMS[key.algorithm]
    if wanted.algorithm not in (None, algorithm):
        says = f"{place} is for {algorithm}, and its row says {wanted.algorithm}"
        return _Trouble(wanted.domain, says)
    return None
