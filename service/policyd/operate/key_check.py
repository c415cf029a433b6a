"""Whether the private keys that an import's rows sign with are there, and are what the rows say."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from policyd.config import KeyRootConfig, VaultConfig
from policyd.errors import KeyInvalid, SecretsUnavailable
from policyd.keys import KeyName, Keys, open_keys
from policyd.transfer.dkim_keys import DEFAULT_ROOT, KUMOMTA_DIRECTORY
from policyd.transfer.findings import KeyRoot, Note, WantedKey
from policyd.transfer.reading import Transfer

_AT_ONCE = 100
_ALGORITHMS = {"rsa-sha256": "sha256", "ed25519-sha256": "ed25519"}


async def with_keys_checked(
    come_to: Transfer, directory: Path, known: Mapping[str, KeyRootConfig]
) -> Transfer:
    """
    The transfer with a note about each key that is missing or of no use.

    *directory* is where the default root's files are; it becomes one of the roots to configure unless the *known* ones
    have it. Keys in Vault are not looked for.
    """
    if not come_to.wanted_keys:
        return come_to
    roots = {root.name: root for root in come_to.key_roots}
    if DEFAULT_ROOT not in roots:
        roots[DEFAULT_ROOT] = KeyRoot(
            name=DEFAULT_ROOT, settings={"dir": str(directory)}, origin=come_to.wanted_keys[0].origin
        )
    configured = {name: root for name, root in known.items() if root.kind == "files" and name != DEFAULT_ROOT}
    files = configured | {
        name: KeyRootConfig(dir=Path(root.settings["dir"]), suffix=root.settings.get("suffix", ".key"))
        for name, root in roots.items()
        if "dir" in root.settings
    }
    async with open_keys(MappingProxyType(files), VaultConfig(), lambda _: None) as keys:
        notes = [note for batch in _batches(come_to.wanted_keys) for note in await _check(keys, batch, files)]
    if DEFAULT_ROOT in files and directory in (Path(KUMOMTA_DIRECTORY), known[DEFAULT_ROOT].dir):
        del roots[DEFAULT_ROOT]
    return replace(come_to, notes=(*come_to.notes, *notes), key_roots=tuple(roots.values()))


def _batches(wanted: Sequence[WantedKey]) -> list[Sequence[WantedKey]]:
    return [wanted[start : start + _AT_ONCE] for start in range(0, len(wanted), _AT_ONCE)]


async def _check(keys: Keys, wanted: Sequence[WantedKey], files: Mapping[str, KeyRootConfig]) -> list[Note]:
    sentences = await asyncio.gather(*(_trouble(keys, each, files) for each in wanted))
    return [
        Note(topic="keys", origin=each.origin, sentence=sentence)
        for each, sentence in zip(wanted, sentences, strict=True)
        if sentence
    ]


async def _trouble(keys: Keys, wanted: WantedKey, files: Mapping[str, KeyRootConfig]) -> str:
    """Why mail would wait for this key; empty if it would not."""
    root = files.get(wanted.root)
    if root is None:
        return ""
    try:
        key = await keys.read(KeyName(root=wanted.root, name=wanted.name))
    except (KeyInvalid, SecretsUnavailable) as error:
        return str(error)
    if key is None:
        return f"there is no {root.dir / f'{wanted.name}{root.suffix}'}"
    algorithm = _ALGORITHMS[key.algorithm]
    if wanted.algorithm not in (None, algorithm):
        return (
            f"{root.dir / f'{wanted.name}{root.suffix}'} is for {algorithm}, and algo is {wanted.algorithm}:"
            " KumoMTA signs by the key all the same, policyd does not"
        )
    return ""
