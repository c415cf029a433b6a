"""`policyd serve` as a process of its own, and what it says."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DEADLINE = 60


@dataclass(slots=True)
class Process:
    """A running `policyd serve`, whose log is read line by line."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def says(self, message: str, *, after: int = 0) -> dict[str, Any]:
        """The first line of the log after so many that begins with *message*, as soon as it is written."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.lines[after:]:
                    if line["message"].startswith(message):
                        return line
                await self._read()

    async def url(self, listener: str = "lookup") -> str:
        return f"http://{(await self.says('started'))[listener]}"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The exit status; everything that was said until then is in `lines`."""
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(EOFError):
                while True:
                    await self._read()
            return await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        line = await self.process.stderr.readline()
        if not line:
            raise EOFError(f"policyd serve has ended; it said {self.lines}")
        with contextlib.suppress(ValueError):
            self.lines.append(json.loads(line))
            return
        self.lines.append({"message": line.decode().rstrip()})


@contextlib.asynccontextmanager
async def process(
    dsn: str, *settings: str, environ: Mapping[str, str] | None = None, before: tuple[str, ...] = ()
) -> AsyncIterator[Process]:
    """`policyd serve` with *settings* like `lookup.listen=127.0.0.1:0`, run by the command *before*; killed at the end."""
    chosen = ("lookup.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "logging.format=json", *settings)
    arguments = [word for setting in chosen for word in ("--set", setting)]
    started = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-m", "policyd", "serve", *arguments),
        env={**os.environ, "POLICYD_DATABASE_DSN": dsn, **(environ or {})},
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    running = Process(started)
    try:
        yield running
    finally:
        if started.returncode is None:
            started.kill()
        await running.ended()
