"""Vaults to test against: the double, and a real `bao` or `vault` where one is installed."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from policyd.config import KeyRootConfig, VaultConfig
from policyd.keys import Keys, open_keys
from policyd.observe.events import Observer
from policyd.units import Seconds
from tests.integration.vault.double import ROOT, VaultDouble, serving

REAL = next((path for path in map(shutil.which, ("bao", "vault")) if path), None)
_READY = 20.0


class VaultUnusable(AssertionError):
    """The administrator's question was refused: the test's own arrangement is wrong."""


@dataclass(frozen=True, kw_only=True)
class Vault:
    """A running Vault with an administrator, and names of one test's own in it."""

    address: str
    unseal_key: str = ""
    mark: str = ""

    async def call(self, method: str, path: str, body: Any = None, *, namespace: str = "") -> dict[str, Any]:
        """What the administrator is answered."""
        headers = {"X-Vault-Token": ROOT} | ({"X-Vault-Namespace": namespace} if namespace else {})
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"{self.address}/v1/{path}", json=body) as response,
        ):
            if response.status >= 300:
                raise VaultUnusable(f"{method} {path}: {response.status} {await response.text()}")
            return {} if response.status == 204 else await response.json()

    @property
    def root(self) -> KeyRootConfig:
        """A key root in the KV 2 mount, with a prefix that no other test uses."""
        return KeyRootConfig(kind="vault", prefix=f"dkim-{self.mark}")

    async def write(self, name: str, pem: bytes, *, field: str = "key") -> None:
        """Put a key where `root` looks for *name*."""
        body = {"data": {field: pem.decode()}}
        await self.call("POST", f"secret/data/dkim-{self.mark}/{name}", body)

    async def policy(self) -> str:
        """The name of a policy that lets keys be read."""
        name = f"keys-{self.mark}"
        rules = [f"secret/data/dkim-{self.mark}/*", f"kv1/dkim-{self.mark}/*"]
        text = "\n".join(f'path "{rule}" {{ capabilities = ["read"] }}' for rule in rules)
        await self.call("PUT", f"sys/policies/acl/{name}", {"policy": text})
        return name

    async def token(self, **settings: Any) -> str:
        """A token that may read keys."""
        body = {"policies": [await self.policy()], "ttl": "1h"} | settings
        auth = (await self.call("POST", "auth/token/create", body))["auth"]
        return str(auth["client_token"])

    async def approle(self, **settings: Any) -> VaultConfig:
        """Configuration of a role that may read keys."""
        role = f"auth/approle/role/r-{self.mark}"
        await self.call("POST", role, {"token_policies": await self.policy()} | settings)
        role_id = (await self.call("GET", f"{role}/role-id"))["data"]["role_id"]
        return replace(self.config(login="approle"), role_id=role_id, secret_id=await self.secret_id())

    async def secret_id(self) -> str:
        """Another secret ID for that role."""
        body = await self.call("POST", f"auth/approle/role/r-{self.mark}/secret-id", {})
        return str(body["data"]["secret_id"])

    def config(self, **settings: Any) -> VaultConfig:
        return VaultConfig(address=self.address, **({"token": ROOT} | settings))

    def keys(
        self, config: VaultConfig, observe: Observer, **settings: Any
    ) -> contextlib.AbstractAsyncContextManager[Keys]:
        """Keys of `root`, with other *settings* of it."""
        root = replace(self.root, **({"timeout": Seconds(5.0)} | settings))
        return open_keys({"default": root}, config, observe)


@asynccontextmanager
async def arranged(vault: Vault) -> AsyncIterator[Vault]:
    """*vault* with what the tests count on, and a mark for one of them."""
    for path, body in (
        ("sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}}),
        ("sys/auth/approle", {"type": "approle"}),
    ):
        with contextlib.suppress(VaultUnusable):  # an earlier test did it
            await vault.call("POST", path, body)
    yield replace(vault, mark=uuid.uuid4().hex[:8])


@asynccontextmanager
async def doubled() -> AsyncIterator[tuple[Vault, VaultDouble]]:
    """The double, running, and its administrator."""
    async with serving(VaultDouble()) as double, arranged(Vault(address=double.address)) as vault:
        yield vault, double


@contextlib.contextmanager
def real_server(binary: str) -> Iterator[Vault]:
    """A development server on loopback, in memory only, ended with the context."""
    with socket.socket() as chosen, tempfile.TemporaryDirectory(prefix="policyd-vault-") as home:
        chosen.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*chosen.getsockname())
        chosen.close()
        log = Path(home, "log")
        with log.open("wb") as output:
            server = subprocess.Popen(
                [binary, "server", "-dev", f"-dev-root-token-id={ROOT}", f"-dev-listen-address={address}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"HOME": home, "PATH": os.environ["PATH"]},
            )
        try:
            unseal_key = asyncio.run(_started(server, Vault(address=f"http://{address}"), log))
            yield Vault(address=f"http://{address}", unseal_key=unseal_key)
        finally:
            server.terminate()
            server.wait(20)


async def _started(server: subprocess.Popen[bytes], vault: Vault, log: Path) -> str:
    """The unseal key, once that is told and the KV mount works, which is later than `sys/health` says."""
    async with asyncio.timeout(_READY):
        while True:
            try:
                await vault.call("GET", "secret/config")
                if found := re.search(r"Unseal Key: (\S+)", log.read_text()):
                    return found[1]
            except (VaultUnusable, aiohttp.ClientError):
                pass
            if server.poll() is not None:
                raise AssertionError(log.read_text())
            await asyncio.sleep(0.05)
