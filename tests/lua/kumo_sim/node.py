"""A simulated KumoMTA node: what injectors, peers and administrators do to it, and what comes out."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.lua.kumo_sim.clock import Clock
from tests.lua.kumo_sim.delivering import Delivery, Ready
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.http_auth import HttpLogin, validated
from tests.lua.kumo_sim.log_hooks import log_record, offer
from tests.lua.kumo_sim.messages import Message
from tests.lua.kumo_sim.process import Process
from tests.lua.kumo_sim.resolving import Resolver
from tests.lua.kumo_sim.scheduling import ScheduledQueue, Scheduler
from tests.lua.kumo_sim.sessions import PEER, Injection, Reply, Session
from tests.lua.kumo_sim.values import decoded

Result = TypeVar("Result")


def accepts(_: Message) -> str:
    """A sink that takes everything."""
    return "250 ok"


class Node:
    """
    A node from its first start to its last end: `process` is the kumod of now, the rest is what survives it.

    Whatever it is asked runs while all else goes on; the node's clock moves only when something waits for it, or by `advance`.
    """

    def __init__(self, policy: str | Path, **settings: Any) -> None:
        self._policy = policy
        self._settings = settings
        self.clock = Clock()
        self.sink: Callable[[Message], str] = accepts
        self.spool: dict[str, Message] = {}
        self.stranded: list[Message] = []
        self.delivered: list[Delivery] = []
        self.records: list[dict[str, Any]] = []
        self.problems: list[BaseException] = []
        self.logged: list[tuple[str, str]] = []
        self._start_anew()

    def _start_anew(self) -> None:
        self.process = Process(self._policy, clock=self.clock, **self._settings)
        self.process.problems = self.problems
        self.process.log = self.logged
        resolver = Resolver(self.process)
        self.ready = Ready(self.process, resolver, self._sink, self._record, self._dropped, self.delivered)
        self.scheduler = Scheduler(self.process, resolver, self.ready, self._record, self._dropped)
        self.ready.scheduler = self.scheduler
        self.stranded = []

    # Its life

    async def start(self) -> "Node":
        """Run pre_init and init, then take the messages out of the spool; raises if kumod would exit."""
        await self.process.run(self._started())
        return self

    async def _started(self) -> None:
        process = self.process
        async with process.context(fresh=True) as context:
            await context.call("pre_init", several=True)
            await context.call("init")
        process.background(self.scheduler.maintain(), "maintain")
        for message in list(self.spool.values()):
            if not await self.scheduler.enumerate(message):
                self.stranded.append(message)

    async def stop(self) -> None:
        """End the process at once; files and spool stay."""
        await self.ready.close()
        await self.process.close()

    async def restart(self, **settings: Any) -> "Node":
        """End it and start it again, with nothing in memory."""
        await self.stop()
        self._settings |= settings
        self._start_anew()
        return await self.start()

    async def validate(self) -> tuple[bool, list[str]]:
        """kumod --validate: whether it would exit with 0, and what was printed."""
        process = Process(self._policy, clock=self.clock, **{**self._settings, "validating": True})
        process.problems = self.problems
        try:
            fine = await process.run(_validated(process))
        finally:
            await process.close()
        return fine and not process.validation_failed, process.printed

    async def script(self, *arguments: Any) -> list[str]:
        """kumod --script: call `main`, with neither pre_init nor init."""
        process = Process(self._policy, clock=self.clock, **self._settings)
        process.problems = self.problems
        try:
            await process.run(process.call("main", *arguments))
        finally:
            await process.close()
        return process.printed

    # Time

    async def advance(self, seconds: float, *, at_once: bool = False) -> None:
        """Let *seconds* pass, step by step; or *at_once*, as for a machine that was asleep: weeks then cost nothing."""
        await self.process.advance(seconds, at_once=at_once)

    async def settle(self) -> None:
        """Wait until nothing goes on that does not need time to pass."""
        await self.process.settle()

    async def until(
        self, condition: Callable[[], Any | Awaitable[Any]], *, within: float = 20.0, step: float = 0.25
    ) -> None:
        """Let time pass until *condition* holds; each of the first steps is at least 20 real milliseconds for those outside."""
        await self.process.until(condition, within=within, step=step)

    async def run(self, work: Awaitable[Result]) -> Result:
        return await self.process.run(work)

    # What may be asked of it

    async def call(self, event: str, *arguments: Any) -> tuple[Any, ...] | None:
        """What the handlers of any event return, decoded; None if there are none."""
        results = await self.process.run(self.process.call(event, *arguments))
        return None if results is None else tuple(decoded(value) for value in results)

    def session(self, **settings: Any) -> Session:
        """An SMTP connection: see Session."""
        return Session(node=self, **settings)

    async def receive(
        self, sender: str, *recipients: str, data: bytes | None = None, **settings: Any
    ) -> Reply:
        """A message over an SMTP connection of its own."""
        return await self.session(**settings).mail(sender, *recipients, data=data)

    async def http_login(self, username: str, password: str | None) -> HttpLogin:
        """An HTTP request with Basic credentials, as far as the listener's handler decides."""
        return await self.process.run(validated(self.process, username, password, PEER))

    async def inject(
        self,
        sender: str,
        *recipients: str,
        data: bytes | None = None,
        deferred: bool = False,
        login: HttpLogin | None = None,
    ) -> Injection:
        """A message over HTTP, from a trusted host or a *login*; *deferred* is deferred_generation."""
        injecting = Injection.of(self, sender, recipients, data, deferred=deferred, login=login)
        return await self.process.run(injecting)

    async def queue(self, name: str) -> ScheduledQueue:
        """The live queue of that name, made if there is none; raises HandlerFailed as kumod fails."""
        return await self.process.run(self.scheduler.resolve(name))

    async def queue_config(self, name: str) -> dict[str, Any]:
        """What the handlers answer for a queue now, as kumo.invoke_get_queue_config does."""

        async def ask() -> dict[str, Any]:
            async with self.process.context() as context:
                return await Resolver(self.process).queue_config(name, context)

        return await self.process.run(ask())

    async def egress_pool(self, name: str) -> dict[str, Any]:
        return await self._made("egress_pool", name)

    async def egress_source(self, name: str) -> dict[str, Any]:
        return await self._made("egress_source", name)

    async def egress_path(self, domain: str, source: str) -> dict[str, Any]:
        async def ask() -> dict[str, Any]:
            async with self.process.context() as context:
                return await Resolver(self.process).path(domain, source, context)

        return await self.process.run(ask())

    async def listener_domain(
        self, domain: str, listener: str = "127.0.0.1:25", **meta: Any
    ) -> dict[str, Any] | None:
        """The parameters of a listener domain, None for none; raises HandlerFailed, which SMTP answers with 421."""
        return await self.process.run(self.session(listener=listener, meta=meta).ask(domain))

    async def _made(self, kind: str, name: str) -> dict[str, Any]:
        from tests.lua.kumo_sim.resolving import made

        event = f"get_{kind}"
        return made(kind, await self.process.run(self.process.call(event, name)), event)

    # What becomes of messages

    async def accept(self, message: Message) -> None:
        """Spool a message and queue it; raises if it has no queue, and then it is not spooled."""
        self.spool[message.number] = message
        self._record("Reception", message, "250 OK")
        try:
            await self.scheduler.insert(message)
        except HandlerFailed as failure:
            self._dropped(message)
            self._record("Bounce", message, f"500 QueueManager::insert failed during reception: {failure}")
            raise

    def queued(self) -> list[Message]:
        """The messages that wait in scheduled queues."""
        queues = [queue for queue in self.scheduler.queues.values() if isinstance(queue, ScheduledQueue)]
        return [message for queue in queues for message in queue.messages.values()]

    def _sink(self, message: Message) -> str:
        return self.sink(message)

    def _dropped(self, message: Message) -> None:
        self.spool.pop(message.number, None)

    def _record(self, kind: str, message: Message, response: str, **fields: Any) -> None:
        record = log_record(self.process, kind, message, response, **fields)
        self.records.append(record)
        if self.process.log_hooks and message.meta.get("reception_protocol") != "LogRecord":
            self.process.background(offer(self.process, self.scheduler, record, message), "log hooks")


async def _validated(process: Process) -> bool:
    try:
        async with process.context(fresh=True) as context:
            await context.call("pre_init", several=True)
            await context.call("init")
            await context.call("validate_config", several=True)
    except HandlerFailed as failure:
        process.print(str(failure).encode())
        return False
    return True
