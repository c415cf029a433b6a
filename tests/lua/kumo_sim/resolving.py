"""What kumod asks for a queue: its configuration, its pool, the pool's sources, a path; and how long it believes the answers."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.constructors import Made
from tests.lua.kumo_sim.errors import HandlerFailed, KumoError
from tests.lua.kumo_sim.formats import seconds_of
from tests.lua.kumo_sim.memoize import FAILED_FOR
from tests.lua.kumo_sim.queue_names import QueueName
from tests.lua.kumo_sim.shaping import site_name
from tests.lua.kumo_sim.values import lua_kind

if TYPE_CHECKING:
    from tests.lua.kumo_sim.context import Context
    from tests.lua.kumo_sim.process import Process

UNSPECIFIED: dict[str, Any] = {"name": "unspecified", "entries": [{"name": "unspecified"}]}
INTERNAL = frozenset({"null", "generator.kumomta.internal", "deferred.smtp.kumomta.internal"})
_CAPACITY = 128


def duration(params: dict[str, Any], name: str, default: float) -> float:
    """An option's seconds."""
    value = params.get(name, default)
    return seconds_of(value.encode() if isinstance(value, str) else value)


def made(kind: str, results: tuple[Any, ...] | None, event: str) -> dict[str, Any]:
    """The parameters of what a handler has to return."""
    if results is None:
        raise HandlerFailed(KumoError(f"Event {event} has not been registered"))
    value = results[0] if results else None
    if isinstance(value, Made) and value.kind == kind:
        return value.params
    raise HandlerFailed(KumoError(f"error converting Lua {lua_kind(value)} to {kind} in {event}"))


@dataclass(frozen=True, slots=True)
class Cached:
    """A pool, a source, or why there is none, until it expires."""

    expires: float
    value: dict[str, Any] | None = None
    failure: HandlerFailed | None = None


@dataclass(slots=True)
class Resolver:
    """Asks the handlers of one process, with kumod's own caches; the epoch changes nothing in these."""

    process: "Process"
    _caches: dict[str, OrderedDict[str, Cached]] = field(default_factory=dict)

    async def queue_config(self, name: str, context: "Context") -> dict[str, Any]:
        """The configuration of a queue; the default one where no handler says anything."""
        if name in INTERNAL or name.endswith(".xfer.kumomta.internal"):
            return {"protocol": name}
        parts = QueueName.parse(name)
        results = await context.call(
            "get_queue_config", parts.domain, parts.tenant, parts.campaign, parts.routing_domain, several=True
        )
        return made("queue_config", results, "get_queue_config") if results else {}

    async def pool(self, name: str | None, context: "Context") -> dict[str, Any]:
        """A pool all of whose sources resolve."""

        async def ask() -> dict[str, Any]:
            return made("egress_pool", await context.call("get_egress_pool", name), "get_egress_pool")

        pool = UNSPECIFIED if name in {None, "unspecified"} else await self._cached("pools", str(name), ask)
        for entry in pool.get("entries") or ():
            await self.source(entry["name"], context)
        return pool

    async def source(self, name: str, context: "Context") -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            return made("egress_source", await context.call("get_egress_source", name), "get_egress_source")

        if name == "unspecified":
            return {"name": name}
        return await self._cached("sources", name, ask)

    async def path(self, domain: str, source: str, context: "Context") -> dict[str, Any]:
        """The path configuration; its site is made up of the domain's name."""
        site = site_name(self.process.mx.get(domain, (f"mx.{domain}",)))
        results = await context.call("get_egress_path_config", domain, source, site)
        if results is None:
            return {}
        return made("egress_path", results, "get_egress_path_config")

    async def _cached(
        self, kind: str, name: str, ask: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        cache = self._caches.setdefault(kind, OrderedDict())
        known, now = cache.get(name), self.process.clock.now
        if known is None or now >= known.expires:
            try:
                value = await ask()
                known = Cached(now + duration(value, "ttl", 60), value=value)
            except HandlerFailed as failure:
                known = Cached(now + FAILED_FOR, failure=failure)
            cache[name] = known
        cache.move_to_end(name)
        while len(cache) > self.process.capacities.get(f"egress_source_{kind}", _CAPACITY):
            cache.popitem(last=False)
        if known.failure is not None:
            raise known.failure
        assert known.value is not None
        return known.value
