"""Delivery by Lua: the constructor's object, one context for as long as it lives, and what its answers mean."""

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lupa.lua54 import lua_type

from tests.lua.kumo_sim.errors import HandlerFailed, KumoError
from tests.lua.kumo_sim.messages import Message
from tests.lua.kumo_sim.resolving import duration

if TYPE_CHECKING:
    from tests.lua.kumo_sim.delivering import Ready
    from tests.lua.kumo_sim.process import Process
    from tests.lua.kumo_sim.scheduling import ScheduledQueue


@dataclass(eq=False)
class LuaQueue:
    """The messages that wait for one constructor, and its live object."""

    process: "Process"
    ready: "Ready"
    options: dict[str, Any]
    _waiting: list[tuple["ScheduledQueue", Message]] = field(default_factory=list)
    _sending: bool = False
    _connection: Any = None
    _stack: contextlib.AsyncExitStack | None = None

    def push(self, queue: "ScheduledQueue", message: Message) -> None:
        self._waiting.append((queue, message))
        if not self._sending:
            self._sending = True
            self.process.background(self._send_all(), f"lua:{self.options['constructor']}")

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < self.options.get("min_batch_size", 1):
                    await self.process.sleep(duration(self.options, "max_batch_latency", 0))
                size = self.options.get("batch_size", 1)
                batch, self._waiting = self._waiting[:size], self._waiting[size:]
                await self._send(batch[0][0], [message for _, message in batch])
        finally:
            self._sending = False

    async def _send(self, queue: "ScheduledQueue", messages: list[Message]) -> None:
        try:
            response = await self._answer(queue, messages)
        except HandlerFailed as failure:
            rejection = failure.rejection
            if rejection is None or rejection.code == 421:
                await self.close()
            if rejection is not None and rejection.code >= 500:
                for message in messages:
                    self.ready.record("Bounce", message, str(rejection))
                    self.ready.dropped(message)
                return
            if rejection is None:
                self.process.note("ERROR", f"failed to send message: {failure}")
            for message in messages:
                await self.ready.defer(message, str(rejection or f"400 KumoMTA internal: {failure}"))
            return
        for message in messages:
            self.ready.record("Delivery", message, f"200 {response}")
            self.ready.dropped(message)

    async def _answer(self, queue: "ScheduledQueue", messages: list[Message]) -> str:
        context, connection = await self._connected(queue)
        alone = self.options.get("batch_size", 1) == 1
        send = connection[b"send" if alone else b"send_batch"]
        if lua_type(send) != "function":
            raise HandlerFailed(KumoError("sender: send method not found"))
        results = await context.call_function(send, connection, messages[0] if alone else messages)
        if not results or not isinstance(results[0], bytes):
            raise HandlerFailed(KumoError("error converting Lua value to String"))
        return results[0].decode(errors="replace")

    async def _connected(self, queue: "ScheduledQueue") -> tuple[Any, Any]:
        if self._connection is None:
            stack = contextlib.AsyncExitStack()
            try:
                context = await stack.enter_async_context(self.process.context(discard=True))
                parts = queue.parts
                results = await context.call(
                    self.options["constructor"], parts.domain, parts.tenant, parts.campaign
                )
            except BaseException:
                await stack.aclose()
                raise
            if not results or lua_type(results[0]) != "table":
                await stack.aclose()
                raise HandlerFailed(KumoError("invalid connection object"))
            self._stack, self._connection = stack, (context, results[0])
        connection: tuple[Any, Any] = self._connection
        return connection

    async def close(self) -> None:
        """Call the object's close, and let its context go."""
        stack, self._stack = self._stack, None
        connection, self._connection = self._connection, None
        if stack is not None:
            context, table = connection
            with contextlib.suppress(HandlerFailed):
                if lua_type(table[b"close"]) == "function":
                    await context.call_function(table[b"close"], table)
            del table, connection
            await stack.aclose()
