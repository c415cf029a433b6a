"""kumo.make_throttle: a process-wide bucket by name and rate, on the node's clock."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.formats import problem, throttle_of
from tests.lua.kumo_sim.values import Userdata, lua_kind, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process


@dataclass(slots=True)
class Bucket:
    """When the next one would arrive if all came evenly (GCRA)."""

    arrival: float = 0.0


class Throttle(Userdata):
    """A handle of a throttle."""

    awaiting = ("throttle", "sleep_if_throttled", "delay_message_if_throttled")
    elsewhere = ("explain",)

    def __init__(self, process: "Process", name: str, spec: bytes) -> None:
        self._process = process
        self.name = name
        self._limit, self._period, self._burst = throttle_of(spec)
        key = f"{name}:{self._limit}:{self._burst}:{self._period}"
        self._bucket: Bucket = process.throttles.setdefault(key, Bucket())

    async def throttle(self) -> dict[str, Any]:
        waits = self.take()
        return {
            "throttled": waits > 0,
            "limit": self._burst,
            "remaining": self._remaining(),
            "reset_after": max(0.0, self._bucket.arrival - self._process.clock.now),
            "retry_after": waits if waits > 0 else None,
        }

    async def sleep_if_throttled(self) -> bool:
        throttled = False
        while (waits := self.take()) > 0:
            throttled = True
            await self._process.sleep(waits)
        return throttled

    async def delay_message_if_throttled(self, message: Any) -> bool:
        if (waits := self.take()) <= 0:
            return False
        message.delay(waits)
        return True

    def _interval(self) -> float:
        return self._period / self._limit if self._period else 0.0

    def take(self) -> float:
        now, interval = self._process.clock.now, self._interval()
        arrival = max(self._bucket.arrival, now)
        waits = arrival - now - interval * (self._burst - 1)
        if waits > 1e-9:
            return waits
        self._bucket.arrival = arrival + interval
        return 0.0

    def _remaining(self) -> int:
        interval = self._interval()
        ahead = max(0.0, self._bucket.arrival - self._process.clock.now)
        return int((self._burst * interval - ahead) / interval) if interval else self._burst


def make_throttle(process: "Process", name: Any, spec: Any = None) -> Throttle:
    """kumo.make_throttle: a rate that is none raises."""
    if (wrong := problem("throttle", spec)) is not None:
        raise KumoError(f"error converting Lua {lua_kind(spec)} to ThrottleSpec: {wrong}")
    return Throttle(process, text_of(name), spec)
