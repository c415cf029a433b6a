"""policyd under test: `python -m tests.bench.service CORE DSN CACHE_BYTES [DIRECTORY OF KEYS, OR ADDRESS OF VAULT]`."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from policyd.app import running
from policyd.config import (
    AdminConfig,
    CacheConfig,
    Config,
    DatabaseConfig,
    KeyRootConfig,
    LookupConfig,
    VaultConfig,
)
from policyd.observe.events import ChangesRead, CurrencyRegained, Observation
from policyd.units import Address, Bytes
from tests.bench.machine import allow_many_files, pin
from tests.bench.questions import answer_questions

_ANY_PORT = Address("127.0.0.1", 0)


class _Seen:
    """When the change feed knew what."""

    def __init__(self) -> None:
        self.current = asyncio.Event()
        self._revisions: dict[int, float] = {}

    def __call__(self, observation: Observation) -> None:
        match observation:
            case CurrencyRegained():
                self.current.set()
            case ChangesRead():
                last = observation.position.number
                for number in range(last - observation.revisions + 1, last + 1):
                    self._revisions[number] = time.monotonic()
            case _:
                pass

    def tell(self) -> dict[str, Any]:
        revisions, self._revisions = self._revisions, {}
        return {"revisions": revisions}


async def _serve(dsn: str, cache_bytes: int, keys: str) -> None:
    seen = _Seen()
    in_vault = keys.startswith("http://")
    root = KeyRootConfig(kind="vault") if in_vault else KeyRootConfig(dir=Path(keys))
    config = Config(
        database=DatabaseConfig(dsn=dsn),
        lookup=LookupConfig(listen=_ANY_PORT),
        admin=AdminConfig(listen=_ANY_PORT),
        cache=CacheConfig(bytes=Bytes(cache_bytes)),
        keys={"default": root},
        vault=VaultConfig(address=keys, token="bench") if in_vault else VaultConfig(),
    )
    async with running(config, seen) as addresses:
        await seen.current.wait()
        print(json.dumps({"port": addresses.lookup.port}), flush=True)
        await answer_questions({"known": seen.tell})


if __name__ == "__main__":
    pin(int(sys.argv[1]))
    allow_many_files()
    uvloop.run(_serve(sys.argv[2], int(sys.argv[3]), (sys.argv[4:] or ["."])[0]))
