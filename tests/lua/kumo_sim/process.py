"""What one kumod process has: contexts, tasks, caches, a clock; and how a test lets things happen in it."""

import asyncio
import contextlib
import inspect
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.lua.kumo_sim.clock import Clock
from tests.lua.kumo_sim.context import Context
from tests.lua.kumo_sim.errors import HandlerFailed, Stuck
from tests.lua.kumo_sim.libraries import natives
from tests.lua.kumo_sim.memoize import Memos
from tests.lua.kumo_sim.series import Queues, Series

Result = TypeVar("Result")

SEVERAL = frozenset(
    {
        "get_queue_config",
        "throttle_insert_ready_queue",
        "requeue_message",
        "should_enqueue_log_record",
        "get_acl_definition",
        "pre_init",
        "validate_config",
    }
)
MOST_USES = 1024
LONGEST_LIFE = 300.0
REAL_SECONDS = 10.0
# What runs in this process answers within as many turns of the loop, however slow the machine is.
TURNS = 100
# What does not (PostgreSQL) has had its time after as many steps of a wait.
PROMPT_STEPS, PROMPT_WITHIN = 40, 20.0


@dataclass(frozen=True, slots=True)
class Flight:
    """A request that is not answered yet: to where, since when."""

    what: str
    since: float
    turn: int
    may_be_held: Callable[[], bool]


class Process:
    """A kumod process without its queues and sessions; those are a Node's."""

    def __init__(
        self,
        policy: str | Path,
        *,
        package_path: str,
        clock: Clock | None = None,
        absent: frozenset[str] = frozenset(),
        version: str = "2026.08.04-3ebc1e85",
        validating: bool = False,
        seed: int = 0,
        patience: float = 10.0,
        mx: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.policy = policy
        self.package_path = package_path
        self.clock = clock or Clock()
        self.absent = absent
        self.version = version
        self.validating = validating
        self.patience = patience
        self.mx = mx or {}
        self.random = random.Random(seed)
        self.several = SEVERAL
        self.epoch = 0
        self.epoch_bumped = asyncio.Event()
        self.steps = 0
        self.printed: list[str] = []
        self.log: list[tuple[str, str]] = []
        self.problems: list[BaseException] = []
        self.validation_failed = False
        self.capacities: dict[str, int] = {}
        self.log_hooks: dict[str, Any] = {}
        self.configured: list[tuple[str, Any]] = []
        self.contexts_made = 0
        self.disk_full = False
        self.connections: list[Any] = []
        self.memos = Memos(self)
        self.series = Series(self.clock)
        self.queues = Queues(self)
        self.throttles: dict[str, Any] = {}
        self.keys: dict[Any, Any] = {}
        self.http_logins: dict[Any, Any] = {}
        self.tasks: dict[asyncio.Task[Any], str] = {}
        self.cleaning: set[asyncio.Task[Any]] = set()
        self._idle: list[Context] = []
        self._in_use: set[Context] = set()
        self._moving = asyncio.Lock()
        self._active = 0
        self._parked = 0
        self._turns = 0
        self._held: set[str] = set()
        self._in_flight: dict[object, Flight] = {}

    # What Lua's side calls

    def print(self, line: bytes) -> tuple[()]:
        self.printed.append(line.decode(errors="surrogateescape"))
        return ()

    def note(self, level: str, text: str) -> None:
        """Write to kumod's diagnostic log."""
        self.log.append((level, text))

    def bump_epoch(self) -> None:
        self.epoch += 1
        self.epoch_bumped.set()

    def spawn(self, event: str, arguments: Any) -> None:
        """Start a task with a context of its own, as kumo.spawn_task does; under --validate, nothing."""
        if not self.validating:
            self.background(self._task(event, arguments), event)

    def background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let *work* go on beside all else, until it ends or the process does."""
        task = asyncio.ensure_future(self._counted(work))
        self.tasks[task] = name
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.pop(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.problems.append(problem)

    async def _task(self, event: str, arguments: Any) -> None:
        try:
            async with self.context(fresh=True, discard=True) as context:
                if await context.call(event, arguments) is None:
                    self.note("ERROR", f"Event {event} has not been registered")
        except HandlerFailed as failure:
            self.note("ERROR", f"Error while dispatching {event}: {failure}")

    # Contexts

    async def make_context(self) -> Context:
        """A new context with the policy evaluated in it."""
        context = Context(self, natives)
        self.contexts_made += 1
        self._in_use.add(context)
        text, name = self._policy()
        try:
            if self.validating:
                await context.evaluate(b"_VALIDATING_CONFIG = true", "validating")
            await context.evaluate(text, name)
        except BaseException:
            self._drop(context)
            raise
        return context

    def _policy(self) -> tuple[bytes, str]:
        if isinstance(self.policy, Path):
            return self.policy.read_bytes(), str(self.policy)
        return self.policy.encode(), "policy.lua"

    @contextlib.asynccontextmanager
    async def context(self, *, discard: bool = False, fresh: bool = False) -> AsyncIterator[Context]:
        """A context out of the pool for one event; back it goes if nothing went wrong and it is not too old."""
        context = await (self.make_context() if fresh else self._take())
        try:
            yield context
        except BaseException:
            self._drop(context)
            raise
        context.uses += 1
        if discard or self._is_stale(context) or context.uses > MOST_USES:
            self._drop(context)
        else:
            self._in_use.discard(context)
            self._idle.append(context)

    async def _take(self) -> Context:
        while self._idle:
            context = self._idle.pop(0)
            self._in_use.add(context)
            if not self._is_stale(context):
                return context
            self._drop(context)
        return await self.make_context()

    def _is_stale(self, context: Context) -> bool:
        return context.epoch != self.epoch or self.clock.now - context.born > LONGEST_LIFE

    def _drop(self, context: Context) -> None:
        self._in_use.discard(context)
        if not context.closed:
            context.close()

    async def call(self, event: str, *arguments: Any, discard: bool = False) -> tuple[Any, ...] | None:
        """What an event's handlers answer, in a context of the pool; None if there is no handler."""
        async with self.context(discard=discard) as context:
            return await context.call(event, *arguments, several=event in self.several)

    # Letting things happen

    @contextlib.contextmanager
    def _activity(self) -> Iterator[None]:
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    @contextlib.contextmanager
    def parked(self) -> Iterator[None]:
        """Around every wait for something that only time or another activity brings."""
        self._parked += 1
        try:
            yield
        finally:
            self._parked -= 1
            self.steps += 1

    @contextlib.contextmanager
    def in_flight(self, what: str, *, may_be_held: Callable[[], bool]) -> Iterator[None]:
        """Around every wait for a server; one that may be held is waited for only shortly, and shorter when it was before."""
        key = object()
        self._in_flight[key] = Flight(what, time.monotonic(), self._turns, may_be_held)
        try:
            with self.parked():
                yield
        finally:
            del self._in_flight[key]

    def _pause(self) -> float | None:
        """How long to wait for servers before looking again; None if nobody is waited for."""
        pauses = [self._pause_for(flight) for flight in self._in_flight.values()]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _pause_for(self, flight: "Flight") -> float | None:
        passed = time.monotonic() - flight.since
        if not flight.may_be_held():
            return 0.001 if passed < self.patience else None
        if self._turns - flight.turn < TURNS:
            return 0.0
        if flight.what not in self._held and passed < min(0.03, self.patience):
            return 0.001
        self._held.add(flight.what)
        return None

    async def settle(self, done: asyncio.Future[Any] | None = None) -> None:
        """Wait until nothing can go on here without time passing (or *done* is)."""
        quiet, steps = 0, self.steps
        while quiet < 4 and not (done is not None and done.done()):
            pause = self._pause()
            quiet = quiet if pause is None else 0
            self._turns += 1
            await asyncio.sleep(pause or 0)
            still = self._active == self._parked and self.steps == steps
            quiet, steps = (quiet + 1 if still else 0), self.steps

    async def run(self, work: Awaitable[Result], *, at_most: float = 900.0) -> Result:
        """Do *work*; while it waits, and all else does, time moves on to whatever is due next."""
        task = asyncio.ensure_future(self._counted(work))
        limit = self.clock.now + at_most
        try:
            while not task.done():
                # One at a time: whoever moves the clock has seen that nothing else can go on.
                async with self._moving:
                    await self.settle(task)
                    if not task.done():
                        self._move_on(limit)
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _move_on(self, limit: float) -> None:
        deadline = self.clock.next_deadline
        if deadline is None or deadline > limit:
            raise Stuck("nothing happens any more, and what is waited for has not")
        self.clock.move_to(deadline)

    async def _counted(self, work: Awaitable[Result]) -> Result:
        with self._activity():
            return await work

    async def advance(self, seconds: float, *, at_once: bool = False) -> None:
        """Let *seconds* pass, step by step; or *at_once*, as for a machine that was asleep."""
        end = self.clock.now + seconds
        async with self._moving:
            await self.settle()
            if at_once:
                self.clock.move_to(end)
            while (deadline := self.clock.next_deadline) is not None and deadline <= end:
                self.clock.move_to(deadline)
                await self.settle()
            self.clock.move_to(end)
            await self.settle()

    async def until(self, condition: Callable[[], Any], *, within: float, step: float) -> None:
        """
        Let time pass until *condition* holds, step by step; the first ones are some real time for those outside too.

        When *within* is over, time stands still, and a slow machine gets a few real seconds to catch up.
        """
        end, last = self.clock.now + within, time.monotonic() + REAL_SECONDS
        # Who lets minutes pass waits for time, and for those outside only at first.
        prompt = PROMPT_STEPS if within <= PROMPT_WITHIN else PROMPT_STEPS // 4
        pauses = itertools.chain(itertools.repeat(4 * [0.005], prompt), itertools.repeat([0.001]))
        while True:
            for pause in next(pauses):
                if await _holds(condition):
                    return
                await asyncio.sleep(pause)
                await self.settle()
            if self.clock.now < end:
                await self.advance(step)
            elif not await _holds(condition) and time.monotonic() > last:
                raise Stuck(f"not within {within} s")

    async def sleep(self, seconds: float) -> None:
        timer = self.clock.timer(seconds)
        try:
            with self.parked():
                await timer
        finally:
            timer.cancel()

    async def bumped(self, *, within: float) -> None:
        """Wait for a bump of the epoch, or until the time is over."""
        timer: asyncio.Future[Any] = self.clock.timer(within)
        waiting: asyncio.Future[Any] = asyncio.ensure_future(self.epoch_bumped.wait())
        try:
            with self.parked():
                await asyncio.wait({timer, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            waiting.cancel()
        self.epoch_bumped.clear()

    async def close(self) -> None:
        """End it at once, as kill -9 does; files stay."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for context in [*self._idle, *self._in_use]:
            self._drop(context)
        self._idle.clear()
        # What a process has locked is free when it is gone.
        for connection in self.connections:
            connection.close()
        while self.cleaning:
            await asyncio.gather(*self.cleaning, return_exceptions=True)


async def _holds(condition: Callable[[], Any]) -> bool:
    found = condition()
    return bool(await found if inspect.isawaitable(found) else found)
