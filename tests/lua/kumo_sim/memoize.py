"""kumo.memoize: one process-wide cache per name, read-through only, failures pinned for a minute."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim import text_json
from tests.lua.kumo_sim.errors import KumoError, NotSimulated, shown
from tests.lua.kumo_sim.formats import seconds_of
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import frozen, plain, thawed

if TYPE_CHECKING:
    from tests.lua.kumo_sim.context import Context
    from tests.lua.kumo_sim.process import Process

FAILED_FOR = 60.0
HIT, WAIT, POPULATE = 1, 2, 3
PARAMETERS = {
    "ttl": Field("duration", required=True),
    "capacity": Field("count", required=True),
    "name": Field("text", required=True),
    "invalidate_with_epoch": Field("bool"),
    "retry_on_populate_timeout": Field("bool"),
    "populate_timeout": Field("duration"),
    "allow_stale_reads": Field("bool"),
}
TAKEN = frozenset({"dkim_signer_cache", "dkim_key_cache", "egress_source_pools", "egress_source_sources"})


@dataclass(slots=True)
class Entry:
    """What is known for a key: a value or an error until it expires, or that somebody is at it."""

    results: list[Any] | None = None
    failure: str | None = None
    expires: float = 0.0
    populated: asyncio.Future[None] | None = None


@dataclass(slots=True)
class Cache:
    """One named cache; statistics for tests."""

    params: dict[str, Any]
    entries: OrderedDict[Any, Entry] = field(default_factory=OrderedDict)
    lookups: int = 0
    populated: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """The right to populate an entry."""

    context: "Context"
    cache: Cache
    key: Any
    entry: Entry


class Memos:
    """All caches of a process."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self.caches: dict[str, Cache] = {}

    def purge(self) -> None:
        """Forget what is there, as kumod does when it is short of memory; what is being populated stays."""
        for cache in self.caches.values():
            for key in [key for key, entry in cache.entries.items() if entry.populated is None]:
                del cache.entries[key]

    def declare(self, params: Any) -> str:
        given = record("MemoizeParams", PARAMETERS, params)
        name: str = given["name"].decode()
        if name in TAKEN:
            raise KumoError(
                f"cannot use name `{name}` for a memoize cache, as it collides with a built-in cache. Suggestion: "
                "prefix your cache name with `user.` to avoid conflicts with current and future caches."
            )
        for flag in ("allow_stale_reads", "retry_on_populate_timeout"):
            if given.get(flag):
                raise NotSimulated(f"kumo.memoize with {flag} is not simulated")
        if (cache := self.caches.get(name)) is None or cache.params != given:
            self.caches[name] = Cache(given)
        return name

    def begin(self, context: "Context") -> Callable[..., tuple[int, Any]]:
        def begin(name: bytes, *arguments: Any) -> tuple[int, Any]:
            cache = self.caches[name.decode()]
            cache.lookups += 1
            values = [plain(argument) for argument in arguments]
            key = text_json.encode(values[0] if len(values) == 1 else values or None, sort=True)
            epoch = self._process.epoch if cache.params.get("invalidate_with_epoch") else None
            step: tuple[int, Any] = self._step(context, name.decode(), (epoch, key))
            return step

        return begin

    def _step(self, context: "Context", name: str, key: Any) -> Any:
        cache = self.caches[name]
        entry = cache.entries.get(key)
        now = self._process.clock.now
        if entry is not None and entry.populated is not None and not entry.populated.done():
            return WAIT, self._wait(context, name, key, entry.populated)
        if entry is not None and now < entry.expires:
            cache.entries.move_to_end(key)
            if entry.failure is not None:
                return self._fail(name, key, entry.failure)
            return HIT, _result(context, entry.results or [])
        fresh = Entry(populated=asyncio.get_running_loop().create_future())
        cache.entries[key] = fresh
        cache.entries.move_to_end(key)
        cache.populated += 1
        ticket = Ticket(context, cache, key, fresh)
        context.closing[ticket] = lambda: _abandon(cache, key, fresh)
        return POPULATE, ticket

    async def _wait(self, context: "Context", name: str, key: Any, populated: asyncio.Future[None]) -> Any:
        cache = self.caches[name]
        limit = self._process.clock.timer(seconds_of(cache.params.get("populate_timeout", 120)))
        with self._process.parked():
            await asyncio.wait({populated, limit}, return_when=asyncio.FIRST_COMPLETED)
        if not populated.done():
            return self._fail(name, key, "timed out on semaphore acquire while waiting for cache to populate")
        limit.cancel()
        return self._step(context, name, key)

    def store(self, ticket: Ticket, ok: bool, *results: Any) -> Any:
        """Keep what the function returned or raised, and give it back as any caller gets it."""
        cache, entry = ticket.cache, ticket.entry
        ticket.context.closing.pop(ticket, None)
        name = next((name for name, known in self.caches.items() if known is cache), "?")
        now = self._process.clock.now
        try:
            if ok:
                entry.results = [frozen(value) for value in results]
                entry.expires = now + seconds_of(cache.params["ttl"])
            else:
                entry.failure = shown(results[0])
        except KumoError as error:
            entry.failure = str(error)
        if entry.failure is not None:
            entry.expires = now + FAILED_FOR
        _settle(entry)
        while len(cache.entries) > max(cache.params["capacity"], 1):
            cache.entries.popitem(last=False)
        if entry.failure is not None:
            return self._fail(name, ticket.key, entry.failure)
        values = [thawed(value) for value in entry.results or []]
        return values[0] if len(values) == 1 else (values or None)

    def _fail(self, name: str, key: Any, failure: str) -> Any:
        # With the arguments, as kumod does: never pass a secret to a memoized function.
        self._process.note("ERROR", f"{name} {key!r} failed: {failure}")
        raise KumoError(failure)


def _settle(entry: Entry) -> None:
    if entry.populated is not None and not entry.populated.done():
        entry.populated.set_result(None)
    entry.populated = None


def _abandon(cache: Cache, key: Any, entry: Entry) -> None:
    """The populating caller is gone: whoever waits takes over."""
    if entry.populated is not None and not entry.populated.done():
        if cache.entries.get(key) is entry:
            del cache.entries[key]
        _settle(entry)


def _result(context: "Context", results: list[Any]) -> Any:
    values = [thawed(value) for value in results]
    if len(values) == 1:
        return values[0]
    return context.lua_value(values) if values else None
