"""A service with private keys in files, and rows that sign with them."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from policyd.config import Config, DkimConfig
from policyd.store.pool import Connection
from policyd.units import Seconds
from tests.integration.conftest import Service, head, make_config, make_token, serving

RESTLESS = DkimConfig(recheck=Seconds(1.0))
"""Looks at every key about once a second."""
PATIENT = DkimConfig(recheck=Seconds(86_400.0))
"""Never looks at a key twice within a test, save at the start."""


def fingerprint(pem: bytes) -> str:
    """What `openssl pkey -pubout -outform DER | sha256sum` prints."""
    public = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True).public_key()
    return hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A directory of keys in KumoMTA's layout."""

    directory: Path

    def write(self, name: str, content: bytes) -> None:
        """Put a key (or something else) at a name, all at once."""
        path = self.directory / f"{name}.key"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(content)
        partial.chmod(0o600)
        partial.rename(path)

    def remove(self, name: str) -> None:
        (self.directory / f"{name}.key").unlink()


@dataclass(frozen=True, slots=True)
class Signing:
    """A service that is current, its database, and the keys."""

    service: Service
    db: Connection
    files: KeyFiles
    config: Config

    async def plan(self, domain: str = "a.example") -> list[dict[str, Any]]:
        """The signatures of a domain, as of all that is committed; none where nothing signs."""
        status, body, _ = await self.service.get(f"/dkim/{domain}", Policy_Position=await head(self.db))
        assert status in (200, 404), body
        return [] if status == 404 else body["answer"]["signatures"]

    async def key(self, path: str = "a.example/s1", **headers: str) -> tuple[int, Any]:
        """The key at `/dkim/` and *path*: the status, and the key's key_id or the problem's name."""
        status, body, received = await self.service.get(f"/dkim/{path}", **headers)
        if "type" in body:
            return status, body["type"].rpartition(":")[2]
        assert received["Cache-Control"] == "no-store"
        if status == 200:
            assert fingerprint(body["answer"]["key"].encode()) == body["answer"]["key_id"]
        return status, body["answer"]["key_id"] if "answer" in body else None


@contextlib.asynccontextmanager
async def signing(
    dsn: str, db: Connection, directory: Path, *, dkim: DkimConfig = PATIENT, rows: str = ""
) -> AsyncIterator[Signing]:
    """A service with the keys of *directory*; `a.example` signs with `a.example/s1`, and what *rows* say is so."""
    await make_token(db)
    await db.execute("update policy.dkim_settings set selector = 's1'")
    await db.execute("insert into policy.dkim_domain (domain) values ('a.example')")
    if rows:
        await db.execute(rows)
    directory.mkdir(exist_ok=True)
    config = replace(make_config(dsn, keys=directory), dkim=dkim)
    async with serving(config) as service:
        await service.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        yield Signing(service, db, KeyFiles(directory), config)
