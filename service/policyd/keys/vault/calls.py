"""
Questions to Vault from the event loop: in a few threads, each with a deadline, and none while Vault is known to be gone.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Literal, TypeAlias

from policyd.config import VaultConfig
from policyd.errors import Trouble, VaultUnavailable
from policyd.keys.threads import Threads
from policyd.keys.vault.wire import Question, Refused, Reply, Unreachable, Wire
from policyd.observe.events import BackendAnswered, BackendLost, BackendReached, Observer
from policyd.pauses import jittered

Operation: TypeAlias = Literal["read", "mount", "login", "lookup", "renew", "health"]

_BACKEND: Final = "vault"
_GONE: Final = (429, 472, 501, 502, 503, 504)
"""Over its quota, a disaster-recovery secondary, not initialised, sealed: nobody's question would be answered."""
_STANDBY: Final = (429, 473)
"""What `sys/health` says of a standby, which answers reads: there 429 is no quota."""
_FIRST_RETRY: Final = 0.5
_LAST_RETRY: Final = 15.0
_GRACE: Final = 0.25
"""Seconds that a thread gets to say itself why it is late."""


class Calls:
    """Bounded, timed and observed questions to one Vault. Belongs to one event loop."""

    def __init__(self, config: VaultConfig, observe: Observer) -> None:
        self._wire = Wire(config)
        self._observe = observe
        self._threads = Threads("vault", most=config.connections, most_pending=config.max_pending)
        self._reason = ""
        self._failures = 0
        self._again_at = 0.0
        self._reached = False
        self._lost: Callable[[], None] = lambda: None

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Let *tell* be called whenever Vault stops answering."""
        self._lost = tell

    @property
    def is_lost(self) -> bool:
        """Whether the last question that counted was not answered."""
        return self._failures > 0

    @property
    def again_in(self) -> float:
        """Seconds until it is worth asking again; 0 while Vault answers."""
        return max(0.0, self._again_at - time.monotonic()) if self.is_lost else 0.0

    async def ask(
        self,
        operation: Operation,
        question: Question,
        *,
        deadline: float,
        token: str = "",
        repeatable: bool = True,
    ) -> Reply:
        """
        Vault's reply to *question*; Refused where it says no, SecretsUnavailable where nobody answers.

        *deadline* is by `time.monotonic`. While Vault is lost this raises at once, until a moment to try again comes.
        """
        if self.again_in:
            raise VaultUnavailable(f"Vault: {self._reason}")

        def timed() -> tuple[Reply, float]:
            began = time.perf_counter()
            reply = self._wire.ask(question, token=token, deadline=deadline, repeatable=repeatable)
            return reply, time.perf_counter() - began

        return await self._answer(operation, self._threads.begin(timed), deadline)

    async def _answer(
        self, operation: Operation, work: "Future[tuple[Reply, float]]", deadline: float
    ) -> Reply:
        try:
            async with asyncio.timeout(deadline - time.monotonic() + _GRACE):
                reply, seconds = await asyncio.wrap_future(work)
        except TimeoutError:
            self._lose("did not answer in time", "timeout")
            raise VaultUnavailable(f"Vault: {self._reason}") from None
        except Unreachable as unreachable:
            self._lose(str(unreachable), unreachable.trouble)
            raise VaultUnavailable(f"Vault: {self._reason}") from None
        except Refused as refused:
            if refused.status in _GONE and not (operation == "health" and refused.status in _STANDBY):
                self._lose(str(refused), "full" if refused.status == 429 else "sealed")
                raise VaultUnavailable(f"Vault: {self._reason}") from None
            self._reach()
            raise
        self._reach()
        self._observe(BackendAnswered(backend=_BACKEND, operation=operation, seconds=seconds))
        return reply

    def close(self) -> None:
        """Ask nothing any more; threads end with their question's deadline."""
        self._threads.close()
        self._wire.close()

    def _lose(self, reason: str, trouble: Trouble) -> None:
        if self.again_in:  # asked before the failure was known: one outage, not several
            return
        delay = jittered(min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(self._failures, 10)))
        self._failures += 1
        self._reason = reason
        self._reached = False
        self._again_at = time.monotonic() + delay
        self._observe(BackendLost(backend=_BACKEND, trouble=trouble, reason=reason, retry_in=delay))
        self._lost()

    def _reach(self) -> None:
        self._failures = 0
        if not self._reached:
            self._reached = True
            self._observe(BackendReached(backend=_BACKEND))
