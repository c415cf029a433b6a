"""The part of `policyd doctor` that looks where private keys live."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence

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


async def check_keys(config: Config, wanted: Sequence[WantedKey]) -> AsyncIterator[Finding]:
    """Whether Vault lets policyd in, and each of the *wanted* keys is there and is what its rows say."""
    seen: list[Observation] = []
    try:
        async with open_keys(config.keys, config.vault, seen.append) as keys:
            vaults = [name for name, root in config.keys.items() if root.kind == "vault"]
            if vaults:
                yield await _vault(keys, vaults[0], seen)
            for finding in await _keys(keys, wanted, configured=set(config.keys)):
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


async def _keys(keys: Keys, wanted: Sequence[WantedKey], *, configured: set[str]) -> list[Finding]:
    if not wanted:
        return [Finding("keys", "note", "no row signs, or only rows that sign for many domains")]
    found = [
        Finding(
            "keys",
            "error",
            f"rows name the key root {name}, and the configuration has no [keys.{name}]",
            f"add [keys.{name}], or change key_root of these rows",
        )
        for name in sorted({each.root for each in wanted} - configured)
    ]
    readable = [each for each in wanted if each.root in configured]
    troubles = [
        Finding(
            "keys", "error", f"{each.domain} cannot sign: {trouble}", f"policyd explain /dkim/{each.domain}"
        )
        for start in range(0, len(readable), _AT_ONCE)
        for each, trouble in await _troubles(keys, readable[start : start + _AT_ONCE])
    ]
    found += troubles[:_MOST_SHOWN]
    if len(troubles) > _MOST_SHOWN:
        found.append(Finding("keys", "error", f"{len(troubles) - _MOST_SHOWN} more keys cannot be used"))
    return found or [
        Finding("keys", "ok", f"every private key that rows name is there and fits ({len(readable)})")
    ]


async def _troubles(keys: Keys, wanted: Sequence[WantedKey]) -> list[tuple[WantedKey, str]]:
    sentences = await asyncio.gather(*(_trouble(keys, each) for each in wanted))
    return [(each, trouble) for each, trouble in zip(wanted, sentences, strict=True) if trouble]


async def _trouble(keys: Keys, wanted: WantedKey) -> str:
    """Why mail would wait for this key; empty if it would not."""
    try:
        key = await keys.read(KeyName(root=wanted.root, name=wanted.name))
    except (KeyInvalid, SecretsUnavailable) as error:
        return str(error)
    if key is None:
        return f"there is no private key {wanted.root}:{wanted.name}"
    algorithm = _ALGORITHMS[key.algorithm]
    if wanted.algorithm not in (None, algorithm):
        return (
            f"private key {wanted.root}:{wanted.name} is for {algorithm}, and its row says {wanted.algorithm}"
        )
    return ""
