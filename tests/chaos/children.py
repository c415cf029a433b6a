"""Processes that may be killed, stopped and started again at any moment."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
Hear = Callable[[dict[str, Any]], None]


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """For a process that has just been forked: it is told to end when the thread that forked it does."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number)


class Child:
    """One of them: its lines go to *hear*, what it complains of into the file *log*."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        hear: Hear,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._hear = hear
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._wanted = False
        self.is_paused = False
        self.unexpected: list[str] = []
        """Ends that nobody asked for."""

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, unless it runs."""
        if self.is_running:
            return
        await self._heard()
        self._wanted = True
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(self._environ or {})},
                preexec_fn=end_with_parent,
                limit=2**24,
            )
        self._hearing = asyncio.ensure_future(self._listen(self._process))

    def tell(self, **what: Any) -> None:
        """Say something to it."""
        if self._process is not None and self._process.stdin is not None and self.is_running:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def pause(self) -> None:
        self.is_paused = True
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.is_paused = False
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it as a crash does."""
        self._wanted = False
        self._signal(signal.SIGKILL)
        await self._ended()

    async def stop(self) -> None:
        """End it as an operator does."""
        self._wanted = False
        self.resume()
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(30):
                await self._ended()
        except TimeoutError:
            self.unexpected.append(f"{self.name} did not end within 30 s of SIGTERM")
            await self.kill()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _ended(self) -> None:
        if self._process is not None:
            await self._process.wait()
        await self._heard()

    async def _heard(self) -> None:
        if self._hearing is not None:
            await self._hearing
            self._hearing = None

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # half a line of one that was killed
                self._hear(json.loads(line))
        status = await process.wait()
        if self._wanted:
            self.unexpected.append(f"{self.name} ended by itself with status {status}: {self._log}")


def module(name: str, *arguments: object) -> list[str]:
    """The command of one of our own modules."""
    return [sys.executable, "-m", name, *map(str, arguments)]
