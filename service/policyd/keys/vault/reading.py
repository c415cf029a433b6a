"""
A private key's text out of Vault's KV engine: there, certainly not there, or not known.

Only Vault's own words make a key absent. A proxy's 404, a namespace or a mount that is missing, and a path written for
the other version of the engine are trouble: asking again may help, and nobody's key was deleted.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from hvac.api.secrets_engines import KvV1, KvV2

from policyd.config import KeyRootConfig
from policyd.errors import KeyInvalid, VaultUnavailable
from policyd.keys.vault.calls import Calls
from policyd.keys.vault.session import Session
from policyd.keys.vault.wire import Refused, Reply

_GRACE: Final = 0.5
Version: TypeAlias = Literal[1, 2]


class Vault:
    """Secrets of one Vault, read with the session's token."""

    def __init__(self, calls: Calls, session: Session) -> None:
        self._calls = calls
        self._session = session
        self._versions: dict[str, Version] = {}

    async def read(self, root: KeyRootConfig, name: str) -> bytes | None:
        """What stands in the root's field of the secret *name*; None where Vault says that there is no such secret."""
        path = "/".join(part for part in (root.prefix.strip("/"), name) if part)
        deadline = time.monotonic() + root.timeout
        try:
            async with asyncio.timeout(root.timeout + _GRACE):
                fields = await self._read_as_allowed(root, path, deadline)
        except TimeoutError:
            raise VaultUnavailable("Vault: no token was granted in time", trouble="login") from None
        except Refused as refused:
            raise VaultUnavailable(
                f"Vault answered {refused} to the question for {path}", trouble="refused"
            ) from None
        return None if fields is None else _value(fields, root.key_field)

    async def _read_as_allowed(
        self, root: KeyRootConfig, path: str, deadline: float
    ) -> Mapping[str, Any] | None:
        token = await self._session.token()
        try:
            return await self._read(root, path, token, deadline)
        except Refused as refused:
            if refused.status != 403:
                raise
        another = await self._session.replacement(token)
        if another is None:
            raise VaultUnavailable(
                f"Vault does not let policyd read {path} in {root.mount.strip('/')}, if that is there at all",
                trouble="refused",
                hint="allow read on it in the policy of policyd's token",
            )
        return await self._read(root, path, another, deadline)

    async def _read(
        self, root: KeyRootConfig, path: str, token: str, deadline: float
    ) -> Mapping[str, Any] | None:
        mount = root.mount.strip("/")
        version = await self._version(root, mount, token, deadline)
        try:
            reply = await self._ask(version, mount, path, token, deadline)
        except Refused as refused:
            if refused.status != 404:
                raise
            if _is_absent(refused):
                return None
            if not refused.body.get("warnings"):
                raise
            # The mount was upgraded to version 2 since it was looked at.
            self._versions.pop(mount, None)
            version = await self._version(root, mount, token, deadline)
            reply = await self._ask(version, mount, path, token, deadline)
        return _fields(reply, version)

    async def _ask(self, version: Version, mount: str, path: str, token: str, deadline: float) -> Reply:
        return await self._calls.ask(
            "read",
            lambda adapter: (
                KvV1(adapter).read_secret(path, mount_point=mount)
                if version == 1
                else KvV2(adapter).read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
            ),
            token=token,
            deadline=deadline,
        )

    async def _version(self, root: KeyRootConfig, mount: str, token: str, deadline: float) -> Version:
        """Which version *mount* has: with the wrong one, every key would seem not to exist."""
        if mount in self._versions:
            return self._versions[mount]
        try:
            reply = await self._calls.ask(
                "mount",
                lambda adapter: adapter.get(f"/v1/sys/internal/ui/mounts/{mount}"),
                token=token,
                deadline=deadline,
            )
        except Refused:
            if root.kv_version is None:
                raise
            return 1 if root.kv_version == 1 else 2
        self._versions[mount] = version = _mounted(reply, mount)
        return version


def _mounted(reply: Reply, mount: str) -> Version:
    data = reply.body.get("data")
    if not isinstance(data, Mapping) or data.get("type") not in ("kv", "generic"):
        raise VaultUnavailable(f"Vault: the mount {mount} is no KV engine", trouble="refused")
    options = data.get("options")
    return 2 if isinstance(options, Mapping) and str(options.get("version")) == "2" else 1


def _is_absent(refused: Refused) -> bool:
    """Whether a 404 means that the secret does not exist, or no longer."""
    data = refused.body.get("data")
    if isinstance(data, Mapping):  # deleted or destroyed: the metadata is still there
        return data.get("data", ...) is None and isinstance(data.get("metadata"), Mapping)
    return refused.body == {"errors": []}


def _fields(reply: Reply, version: Version) -> Mapping[str, Any]:
    fields = reply.body.get("data")
    if version == 2 and isinstance(fields, Mapping):
        fields = fields.get("data")
    if not isinstance(fields, Mapping):
        raise VaultUnavailable("Vault: an answer without a secret in it", trouble="nonsense")
    return fields


def _value(fields: Mapping[str, Any], name: str) -> bytes:
    value = fields.get(name)
    if value is None:
        raise KeyInvalid(problem=f"has no field {name} in Vault")
    if not isinstance(value, str):
        raise KeyInvalid(problem=f"has a field {name} in Vault that is not text")
    return value.encode()
