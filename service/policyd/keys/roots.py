"""Private keys by name, whatever kind of root they live in: parsed, checked once, and read once for all who ask."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, ParamSpec, TypeVar

from policyd.config import KeyRootConfig, VaultConfig
from policyd.errors import ConfigError, KeyInvalid, SecretsUnavailable
from policyd.keys.files import read_file
from policyd.keys.key import Algorithm, PrivateKey, check, read_pem
from policyd.keys.name import KeyName, is_path
from policyd.keys.threads import Threads
from policyd.keys.vault import Calls, Session, Vault, refuse_incomplete
from policyd.observe.events import Observer

P = ParamSpec("P")
R = TypeVar("R")

_MOST_PENDING: Final = 1_000
_SUFFIX = re.compile(r"[A-Za-z0-9_.-]{0,32}")
_MOST_CHECKED: Final = 100_000


class Keys:
    """Every configured key root. `run` keeps the session with Vault, if a root is there; `close` ends it all."""

    def __init__(self, roots: Mapping[str, KeyRootConfig], vault: VaultConfig, observe: Observer) -> None:
        for name, root in roots.items():
            _refuse_unusable(name, root)
        self._roots = roots
        self._files = Threads("files", most=4, most_pending=_MOST_PENDING)
        self._parsing = Threads("parsing", most=1, most_pending=_MOST_PENDING)
        self._calls: Calls | None = None
        if any(root.kind == "vault" for root in roots.values()):
            refuse_incomplete(vault)
            self._calls = Calls(vault, observe)
            self._session = Session(vault, self._calls, observe)
            self._vault = Vault(self._calls, self._session)
        self._under_way: dict[KeyName, asyncio.Task[PrivateKey | None]] = {}
        self._checked: set[bytes] = set()

    async def read(self, name: KeyName, *, algorithm: Algorithm | None = None) -> PrivateKey | None:
        """
        The key called *name*, read now from where it lives; None where there is certainly none.

        KeyInvalid where there is one that cannot be used, or is not for *algorithm*; SecretsUnavailable where it
        cannot be known, and asking again may help. Whoever asks meanwhile for the same key shares the answer.
        """
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.ensure_future(self._read(name))
            task.add_done_callback(lambda done: self._landed(name, done))
        key = await asyncio.shield(task)
        if key is not None and algorithm is not None and key.algorithm != algorithm:
            raise KeyInvalid(key=str(name), problem=f"is {key.algorithm}, and its row says {algorithm}")
        return key

    async def run(self) -> None:
        """Keep policyd logged in where a root needs it; ends only when cancelled."""
        if self._calls is not None:
            await self._session.run()
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Give up what is under way."""
        for task in tuple(self._under_way.values()):
            task.cancel()
        if self._calls is not None:
            self._calls.close()
        self._files.close()
        self._parsing.close()

    def _landed(self, name: KeyName, done: "asyncio.Task[PrivateKey | None]") -> None:
        del self._under_way[name]
        if not done.cancelled():
            done.exception()  # it may be that nobody waits any more

    async def _read(self, name: KeyName) -> PrivateKey | None:
        root = self._roots.get(name.root)
        if root is None:
            raise KeyInvalid(
                key=str(name),
                problem=f"cannot be: there is no key root {name.root} in the configuration",
                hint=f"the key roots are {', '.join(self._roots)}",
            )
        try:
            data = await self._data(root, name.name)
            return None if data is None else await _in_time(root, self._parsing, self._parsed, data)
        except KeyInvalid as error:
            raise KeyInvalid(key=str(name), problem=error.problem, hint=error.hint) from None

    async def _data(self, root: KeyRootConfig, name: str) -> bytes | None:
        if root.kind == "vault":
            return await self._vault.read(root, name)
        return await _in_time(root, self._files, read_file, root, name)

    def _parsed(self, data: bytes) -> PrivateKey:
        key = read_pem(data)
        # Of the whole key: one damaged in its private part has the same key_id.
        digest = hashlib.sha256(key.pem.encode()).digest()
        if digest not in self._checked:
            check(key)
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            self._checked.add(digest)
        return key


@asynccontextmanager
async def open_keys(
    roots: Mapping[str, KeyRootConfig], vault: VaultConfig, observe: Observer
) -> AsyncIterator[Keys]:
    """Keys that run for as long as the context is open."""
    keys = Keys(roots, vault, observe)
    running = asyncio.ensure_future(keys.run())
    try:
        yield keys
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await keys.close()


async def _in_time(
    root: KeyRootConfig, threads: Threads, do: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    try:
        async with asyncio.timeout(root.timeout):
            return await asyncio.wrap_future(threads.begin(do, *args, **kwargs))
    except TimeoutError:
        raise SecretsUnavailable(
            f"a private key could not be read within {root.timeout:g} s", trouble="timeout"
        ) from None


def _refuse_unusable(name: str, root: KeyRootConfig) -> None:
    default = KeyRootConfig()
    foreign: tuple[str, ...]
    if root.kind == "files":
        foreign = ("mount", "prefix", "key_field", "kv_version")
        if not _SUFFIX.fullmatch(root.suffix):
            raise ConfigError(f"keys.{name}.suffix = {root.suffix!r} is not like .key")
    else:
        foreign = ("dir", "suffix")
        if not is_path(root.mount.strip("/")):
            raise ConfigError(f"keys.{name}.mount = {root.mount!r} is not like secret or team1/secret")
        if root.prefix.strip("/") and not is_path(root.prefix.strip("/")):
            raise ConfigError(f"keys.{name}.prefix = {root.prefix!r} is not like dkim or mail/dkim")
    for setting in foreign:
        if getattr(root, setting) != getattr(default, setting):
            raise ConfigError(f"keys.{name}.{setting} means nothing while keys.{name}.kind = {root.kind!r}")
