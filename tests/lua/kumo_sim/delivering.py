"""Ready queues: a source that is kept, a path, and a sink instead of the internet."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.errors import HandlerFailed, KumoError
from tests.lua.kumo_sim.lua_delivery import LuaQueue
from tests.lua.kumo_sim.messages import Message
from tests.lua.kumo_sim.resolving import Resolver, duration

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process
    from tests.lua.kumo_sim.scheduling import ScheduledQueue, Scheduler

IDLE_FOR = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that left, and how."""

    message: Message
    queue: str
    pool: str
    source: dict[str, Any]
    path: dict[str, Any]


@dataclass(eq=False, slots=True)
class ReadyQueue:
    """A live ready queue; its source stays the one that it was made with."""

    name: str
    domain: str
    source: dict[str, Any]
    path: dict[str, Any]
    epoch: int
    refreshed: float
    used: float
    lua: LuaQueue | None = None


@dataclass(eq=False)
class Ready:
    """All ready queues of a process."""

    process: "Process"
    resolver: Resolver
    sink: Callable[[Message], str]
    record: Callable[..., None]
    dropped: Callable[[Message], None]
    delivered: list[Delivery]
    scheduler: "Scheduler | None" = None
    queues: dict[str, ReadyQueue] = field(default_factory=dict)

    async def insert(self, queue: "ScheduledQueue", message: Message) -> None:
        """Send a message that is due, or raise why it cannot be."""
        protocol = queue.config.get("protocol")
        if protocol == "null":
            self.dropped(message)
            return
        source = self._next_source(queue)
        lua = protocol.get("custom_lua") if isinstance(protocol, dict) else None
        ready = await self._resolve(queue, source, lua)
        ready.used = self.process.clock.now
        if ready.lua is not None:
            ready.lua.push(queue, message)
            return
        response = self.sink(message)
        if response.startswith("2"):
            self.delivered.append(
                Delivery(
                    message=message,
                    queue=queue.name,
                    pool=queue.pool["name"],
                    source=ready.source,
                    path=ready.path,
                )
            )
            self.record("Delivery", message, response, pool=queue.pool["name"], source=source)
            self.dropped(message)
        elif response.startswith("4"):
            await self.defer(message, response)
        else:
            self.record("Bounce", message, response)
            self.dropped(message)

    async def defer(self, message: Message, response: str) -> None:
        """Note a failure that passes, and try again later."""
        assert self.scheduler is not None
        self.record("TransientFailure", message, response)
        await self.scheduler.requeue(message, response, attempted=True)

    def _next_source(self, queue: "ScheduledQueue") -> str:
        entries = [
            str(entry["name"])
            for entry in queue.pool.get("entries") or ()
            for _ in range(min(entry.get("weight", 1), 100))
        ]
        if not entries:
            raise HandlerFailed(
                KumoError(f"no sources available for {queue.name} pool=`{queue.pool['name']}`")
            )
        queue.turn += 1
        return entries[(queue.turn - 1) % len(entries)]

    async def _resolve(self, queue: "ScheduledQueue", source: str, lua: dict[str, Any] | None) -> ReadyQueue:
        domain = queue.parts.destination
        protocol = f"lua:{lua['constructor']}" if lua else "smtp_client"
        name = f"{source}->{domain}@{protocol}"
        now = self.process.clock.now
        known = self.queues.get(name)
        if known is not None and now - known.used < IDLE_FOR:
            return known
        async with self.process.context() as context:
            found = await self.resolver.source(source, context)
            path = await self.resolver.path(domain, source, context)
        made = ReadyQueue(name, domain, found, path, self.process.epoch, now, now)
        if lua:
            made.lua = LuaQueue(self.process, self, lua)
        self.queues[name] = made
        return made

    async def close(self) -> None:
        """Let go of what delivers by Lua."""
        for ready in self.queues.values():
            if ready.lua is not None:
                await ready.lua.close()

    async def refresh(self) -> None:
        """Look at the paths again; with Epoch, a failure is not tried again before the next bump."""
        now, epoch = self.process.clock.now, self.process.epoch
        for name, ready in list(self.queues.items()):
            if now - ready.used >= IDLE_FOR:
                self.queues.pop(name)
                if ready.lua is not None:
                    await ready.lua.close()
                continue
            if ready.path.get("refresh_strategy", "Ttl") == "Epoch":
                wanted, ready.epoch = ready.epoch != epoch, epoch
            else:
                wanted = now - ready.refreshed >= duration(ready.path, "refresh_interval", 60)
            if not wanted:
                continue
            ready.refreshed = now
            try:
                async with self.process.context() as context:
                    ready.path = await self.resolver.path(ready.domain, str(ready.source["name"]), context)
            except HandlerFailed as failure:
                self.process.note("ERROR", f"refreshing path of {name}: {failure}")
