"""Scheduled queues: when messages are due, what happens to them then, and how queues learn of new settings."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.kumo_sim.formats import throttle_of
from tests.lua.kumo_sim.messages import Message
from tests.lua.kumo_sim.queue_names import QueueName
from tests.lua.kumo_sim.resolving import Resolver, duration
from tests.lua.kumo_sim.throttles import Throttle

if TYPE_CHECKING:
    from tests.lua.kumo_sim.delivering import Ready
    from tests.lua.kumo_sim.process import Process

TICK = 10.0
FAILED_QUEUE_FOR = 60.0
RETRY, LONGEST = 20 * 60.0, 7 * 86400.0


@dataclass(eq=False, slots=True)
class ScheduledQueue:
    """A live queue, with the settings and the pool that it has found."""

    name: str
    config: dict[str, Any]
    pool: dict[str, Any]
    epoch: int
    refreshed: float
    messages: dict[str, Message] = field(default_factory=dict)
    turn: int = 0

    @property
    def parts(self) -> QueueName:
        return QueueName.parse(self.name)

    @property
    def max_age(self) -> float:
        return duration(self.config, "max_age", LONGEST)

    def delay_for(self, attempt: int) -> float:
        delay = float(int(duration(self.config, "retry_interval", RETRY)) * (1 << min(attempt, 64)))
        return min(delay, duration(self.config, "max_retry_interval", float("inf")))

    def attempts_at(self, age: float) -> int:
        """How many attempts kumod believes a message of this age has had: it keeps no count in the spool."""
        elapsed, attempts = 0.0, 0
        while (delay := self.delay_for(attempts)) and elapsed + delay <= age:
            elapsed += delay
            attempts += 1
        return attempts


@dataclass(frozen=True, slots=True)
class Failed:
    """A queue that could not be made."""

    failure: HandlerFailed
    expires: float


@dataclass(eq=False)
class Scheduler:
    """All scheduled queues of a process."""

    process: "Process"
    resolver: Resolver
    ready: "Ready"
    record: Callable[..., None]
    dropped: Callable[[Message], None]
    queues: dict[str, ScheduledQueue | Failed] = field(default_factory=dict)
    lost: list[Message] = field(default_factory=list)
    refreshes: int = 0
    _making: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def resolve(self, name: str) -> ScheduledQueue:
        """The live queue; a failure is remembered for a minute."""
        lock = self._making.setdefault(name, asyncio.Lock())
        with self.process.parked():
            await lock.acquire()
        try:
            known = self.queues.get(name)
            if isinstance(known, ScheduledQueue):
                return known
            now = self.process.clock.now
            if known is not None and now < known.expires:
                raise known.failure
            try:
                self.queues[name] = queue = await self._make(name)
            except HandlerFailed as failure:
                self.queues[name] = Failed(failure, now + FAILED_QUEUE_FOR)
                raise
            return queue
        finally:
            lock.release()

    async def _make(self, name: str) -> ScheduledQueue:
        epoch = self.process.epoch
        async with self.process.context() as context:
            config = await self.resolver.queue_config(name, context)
            pool = await self.resolver.pool(config.get("egress_pool"), context)
        return ScheduledQueue(name, config, pool, epoch, self.process.clock.now)

    # Messages

    async def insert(self, message: Message) -> None:
        """Put a message into its queue; due ones go on at once."""
        await self._insert(await self.resolve(message.queue), message)

    async def _insert(self, queue: ScheduledQueue, message: Message) -> None:
        if message.due is not None and message.due > self.process.clock.now:
            queue.messages[message.number] = message
            self.process.background(self._until_due(queue, message), f"due {message.number}")
        else:
            await self._insert_ready(queue, message)

    async def _until_due(self, queue: ScheduledQueue, message: Message) -> None:
        await self.process.sleep(max(0.0, (message.due or 0.0) - self.process.clock.now))
        del queue.messages[message.number]
        try:
            await self._insert_ready(queue, message)
        except HandlerFailed as failure:
            # On disk, and in nobody's memory until a restart.
            self.process.note("ERROR", f"Error reinserting message: {failure}")
            self.lost.append(message)

    async def _insert_ready(self, queue: ScheduledQueue, message: Message) -> None:
        if (waits := self._rate(queue)) > 0:
            await self.requeue(message, "451 4.4.4 throttled message rate", delay=waits)
            return
        await self.process.call("throttle_insert_ready_queue", message)
        if message.due is not None and message.due > self.process.clock.now:
            # Not an attempt. kumod then makes it due at random within a minute, whatever set_due said.
            await self.requeue(message, "451 4.4.4 throttle_insert_ready_queue event throttled message rate")
            return
        try:
            await self.ready.insert(queue, message)
        except HandlerFailed as failure:
            self.record("TransientFailure", message, f"451 4.4.4 {failure}", pool=queue.pool["name"])
            await self.requeue(message, f"451 4.4.4 {failure}", attempted=True)

    def _rate(self, queue: ScheduledQueue) -> float:
        spec = queue.config.get("max_message_rate")
        if spec is None:
            return 0.0
        throttle_of(spec.encode())
        return Throttle(self.process, f"schedq-{queue.name}-message-rate", spec.encode()).take()

    async def requeue(
        self, message: Message, response: str, *, attempted: bool = False, delay: float | None = None
    ) -> None:
        """Put it back, after asking requeue_message, which may have put it into another queue."""
        before = message.queue
        try:
            await self.process.call("requeue_message", message, response, {}, attempted, delay)
        except HandlerFailed as failure:
            if failure.rejection is not None:
                self.record("Bounce", message, str(failure.rejection))
                self.dropped(message)
                return
            self.process.note(
                "ERROR", f"Error while calling requeue_message event: {failure}. will reuse current queue"
            )
        if message.queue != before:
            message.attempts += 1
            attempted, delay, message.due = False, 0.0, None
        try:
            queue = await self.resolve(message.queue)
        except HandlerFailed as failure:
            self.process.note("ERROR", f"requeue_message failed: {failure}")
            self.lost.append(message)
            return
        await self._put_back(queue, message, attempted=attempted, delay=delay)

    async def _put_back(
        self, queue: ScheduledQueue, message: Message, *, attempted: bool, delay: float | None
    ) -> None:
        if attempted:
            delay = queue.delay_for(message.attempts)
            message.attempts += 1
        elif delay is None:
            delay = float(int(self.process.random.random() * 60))
        message.delay(delay)
        if self.process.clock.now + delay - message.created >= queue.max_age:
            self.record("Expiration", message, "551 5.4.7 Next delivery time > max_age")
            self.dropped(message)
        else:
            await self._insert(queue, message)

    async def enumerate(self, message: Message) -> bool:
        """Take a message out of the spool at start; False leaves it there until the next restart."""
        try:
            queue = await self.resolve(message.queue)
            age = self.process.clock.now - message.created
            message.attempts = queue.attempts_at(age)
            if age >= queue.max_age:
                self.record("Expiration", message, "551 5.4.7 age > max_age")
                self.dropped(message)
                return True
            overall = sum(queue.delay_for(i) for i in range(1, message.attempts))
            message.delay(max(0.0, overall - age))
            await self._insert(queue, message)
        except HandlerFailed as failure:
            self.process.note("ERROR", f"Ignoring message until kumod is restarted: {failure}")
            return False
        return True

    # Refresh

    async def maintain(self) -> None:
        """Refresh queues at every bump and every ten seconds, one after the other."""
        while True:
            await self.process.bumped(within=TICK)
            for queue in [queue for queue in self.queues.values() if isinstance(queue, ScheduledQueue)]:
                await self._refresh(queue)
            await self.ready.refresh()

    async def _refresh(self, queue: ScheduledQueue) -> None:
        now, epoch = self.process.clock.now, self.process.epoch
        if queue.config.get("refresh_strategy", "Ttl") == "Epoch":
            wanted = queue.epoch != epoch
        else:
            wanted = now - queue.refreshed >= duration(queue.config, "refresh_interval", 60)
        if not wanted:
            return
        self.refreshes += 1
        queue.refreshed = now
        try:
            async with self.process.context(discard=True) as context:
                config = await self.resolver.queue_config(queue.name, context)
                try:
                    queue.pool = await self.resolver.pool(config.get("egress_pool"), context)
                except HandlerFailed as failure:
                    # The old pool stays, the epoch counts as seen: nobody looks again before the next bump.
                    self.process.note("ERROR", f"error while processing queue config update: {failure}")
        except HandlerFailed:
            return
        queue.config, queue.epoch = config, epoch
