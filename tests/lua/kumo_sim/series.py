"""Small process-wide things: kumo.counter_series and kumo.mpsc."""

import asyncio
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.clock import Clock
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.formats import problem, seconds_of
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import Userdata, frozen, integer_of, lua_kind, thawed

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

_MOST = 2**64 - 1
DEFINITION = {
    "name": Field("text", required=True),
    "num_buckets": Field("u8", required=True),
    "bucket_size": Field("duration", required=True),
    "initial_value": Field("count"),
}


class LuaCounterSeries(Userdata):
    """A ring of counters, of which only the current one is written."""

    sync = ("increment", "delta", "observe", "sum", "sum_over")

    def __init__(self, clock: Clock, buckets: int, size: int, value: int) -> None:
        self.shape = (buckets, size)
        self._clock = clock
        self._buckets = [value, *[0] * (buckets - 1)]
        self._at = 0
        self._updated = clock.now

    def increment(self, by: Any) -> tuple[()]:
        return self._set(self._buckets[self._current()] + _u64("increment", by))

    def delta(self, by: Any) -> tuple[()]:
        return self._set(self._buckets[self._current()] + integer_of(by, unsigned=False))

    def observe(self, value: Any) -> tuple[()]:
        return self._set(_u64("observe", value))

    def sum(self) -> int:
        self._current()
        return sum(self._buckets)

    def sum_over(self, duration: Any) -> int:
        if (wrong := problem("duration", duration)) is not None:
            raise KumoError(f"deserialize error: {wrong}")
        at, (buckets, size) = self._current(), self.shape
        count = max(1, min(buckets, math.ceil(int(seconds_of(duration)) / size)))
        return sum(self._buckets[(at - i) % buckets] for i in range(count))

    def _set(self, value: int) -> tuple[()]:
        self._buckets[self._current()] = min(max(value, 0), _MOST)
        return ()

    def _current(self) -> int:
        buckets, size = self.shape
        slots = int(self._clock.now - self._updated) // size
        if slots:
            self._at = (self._at + slots) % buckets
            self._updated = self._clock.now
            for i in range(min(slots, buckets)):
                self._buckets[(self._at - i) % buckets] = 0
        return self._at


def _u64(method: str, value: Any) -> int:
    try:
        return integer_of(value)
    except KumoError as error:
        raise KumoError(f"bad argument #2 to `LuaCounterSeries.{method}`: {error}") from None


class Series:
    """The counter series of a process, by name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: dict[str, LuaCounterSeries] = {}

    def define(self, params: Any) -> LuaCounterSeries:
        given = record("DefineParams", DEFINITION, params)
        shape = (given["num_buckets"], math.ceil(seconds_of(given["bucket_size"])))
        if shape[0] == 0:
            raise KumoError("num_buckets must be >= 1")
        if shape[1] == 0:
            raise KumoError("bucket_size must be >= 1 second")
        name = given["name"].decode()
        known = self.known.get(name)
        if known is None or known.shape != shape:
            known = LuaCounterSeries(self._clock, *shape, given.get("initial_value", 0))
            self.known[name] = known
        return known


@dataclass(eq=False)
class Queue:
    """What handles of one name share."""

    limit: int | None
    values: deque[Any] = field(default_factory=deque)
    being_received: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def full(self) -> bool:
        return self.limit is not None and len(self.values) >= self.limit

    def push(self, value: Any) -> None:
        self.values.append(value)
        self.changed.set()


class QueueHandle(Userdata):
    """A handle of an mpsc queue; every method waits, as far as Lua can tell."""

    awaiting = ("send", "try_send", "recv", "try_recv", "recv_many", "len", "is_empty", "is_closed")
    elsewhere = ("send_timeout", "close")

    def __init__(self, process: "Process", queue: Queue) -> None:
        self._process = process
        self._queue = queue

    async def send(self, value: Any) -> tuple[()]:
        held = frozen(value)
        while self._queue.full:
            await self._change()
        self._queue.push(held)
        return ()

    async def try_send(self, value: Any = None) -> bool:
        held = frozen(value)
        if self._queue.full:
            return False
        self._queue.push(held)
        return True

    async def recv(self) -> Any:
        return (await self._received(1))[0]

    async def try_recv(self) -> Any:
        self._must_be_free()
        return thawed(self._taken(1)[0]) if self._queue.values else None

    async def recv_many(self, limit: Any) -> list[Any]:
        return await self._received(integer_of(limit))

    async def len(self) -> int:
        self._must_be_free()
        return len(self._queue.values)

    async def is_empty(self) -> bool:
        self._must_be_free()
        return not self._queue.values

    async def is_closed(self) -> bool:
        return False

    def _must_be_free(self) -> None:
        if self._queue.being_received:
            raise KumoError("operation would block")

    async def _received(self, limit: int) -> list[Any]:
        self._must_be_free()
        self._queue.being_received = True
        try:
            while not self._queue.values:
                await self._change()
            return [thawed(value) for value in self._taken(limit)]
        finally:
            self._queue.being_received = False

    def _taken(self, limit: int) -> list[Any]:
        values = self._queue.values
        taken = [values.popleft() for _ in range(min(limit, len(values)))]
        self._queue.changed.set()
        return taken

    async def _change(self) -> None:
        self._queue.changed.clear()
        with self._process.parked():
            await self._queue.changed.wait()


class Queues:
    """The mpsc queues of a process, by name; the first definition fixes the limit."""

    def __init__(self, process: "Process") -> None:
        self._process = process
        self.known: dict[str, Queue] = {}

    def define(self, name: Any, limit: Any = None) -> QueueHandle:
        if not isinstance(name, bytes):
            raise KumoError(f"error converting Lua {lua_kind(name)} to String")
        queue = self.known.setdefault(name.decode(), Queue(None if limit is None else integer_of(limit)))
        return QueueHandle(self._process, queue)
