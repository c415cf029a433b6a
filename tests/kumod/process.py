"""A kumod as a child process: what it says, where it listens, and its administrative interface."""

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

PATIENCE = 60
"""Seconds until something that should come is given up; the machine may be busy."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_LISTENER = re.compile(r" (smtp|http) listener on (\S+):(\d+)$")
READY = "initialization complete"


def binary() -> str | None:
    """The kumod that there is: $KUMOD, or where KumoMTA's packages put it."""
    named = os.environ.get("KUMOD")
    return shutil.which(named or "/opt/kumomta/sbin/kumod")


def command(*arguments: str | Path) -> list[str]:
    """kumod's command line, which has to name the user where that is root."""
    found = binary()
    assert found is not None
    return [found, "--user", pwd.getpwuid(os.getuid()).pw_name, *map(str, arguments)]


@dataclass(slots=True)
class Kumod:
    """
    One process, started again as often as a test likes; everything that it writes is in *directory*.

    `lines` is what it wrote to its standard error, without colours; `smtp` and `http` are the ports of its listeners in the order
    in which the policy starts them.
    """

    policy: Path
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    smtp: list[int] = field(default_factory=list)
    http: list[int] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> None:
        """Start it, and wait until it has read its spool and accepts mail."""
        self.smtp, self.http = [], []
        begins = len(self.lines)
        self._process = await asyncio.create_subprocess_exec(
            *command("--policy", self.policy),
            env=self.surroundings(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._reader = asyncio.create_task(self._read())
        await self.says(READY, after=begins)

    def surroundings(self) -> dict[str, str]:
        """The environment of every process of this kumod."""
        return {**os.environ, "KUMO_NODE_ID_PATH": str(self.directory / "nodeid"), **self.environment}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, if it still runs; `SIGKILL` is a crash."""
        process, reader = self._process, self._reader
        if process is None or reader is None:
            return
        self._process = None
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(by)
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
                await reader
        except TimeoutError:
            process.kill()
            raise
        assert process.returncode in {0, -by}, self.tail()

    async def restart(self, by: signal.Signals = signal.SIGTERM) -> None:
        await self.stop(by)
        await self.start()

    async def says(self, text: str, *, after: int = 0) -> str:
        """The first line, at or after the given number, that holds *text*; waits for it."""
        return await self.line(lambda line: text in line, after=after)

    async def line(self, matches: Callable[[str], bool], *, after: int = 0) -> str:
        seen = after
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    for line in self.lines[seen:]:
                        if matches(line):
                            return line
                    seen = len(self.lines)
                    assert self._reader is None or not self._reader.done(), f"kumod ended\n{self.tail()}"
                    self._said.clear()
                    await self._said.wait()
        except TimeoutError:
            raise AssertionError(f"kumod never said it\n{self.tail()}") from None

    def memory(self) -> float:
        """What it has in memory at most until now, in MB."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def tail(self) -> str:
        return "\n".join(self.lines[-40:])

    async def admin(self, path: str, body: Any = None, **query: Any) -> Any:
        """What /api/admin/*path* answers; a body makes it a POST."""
        url = f"http://127.0.0.1:{self.http[0]}/api/admin/{path}"
        verb = "GET" if body is None else "POST"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.request(verb, url, json=body, params=query) as response,
        ):
            text = await response.text()
            assert response.status == 200, text
            return await response.json(content_type=None) if text else None

    async def scheduled(self, queue: str) -> dict[str, Any] | None:
        """A scheduled queue and its messages, or None where there is no such queue."""
        url = f"http://127.0.0.1:{self.http[0]}/api/admin/inspect-sched-q/v1"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session,
            session.get(url, params={"queue_name": queue}) as response,
        ):
            found: dict[str, Any] | None = await response.json() if response.status == 200 else None
            return found

    async def flush(self) -> None:
        """What waits in scheduled queues is due now (`kcli rebind --always-flush`)."""
        await self.admin(
            "rebind/v1", {"reason": "test", "data": {}, "always_flush": True, "suppress_logging": True}
        )

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = _COLOURS.sub("", raw.decode(errors="replace")).rstrip()
            self.lines.append(line)
            listening = _LISTENER.search(line)
            if listening:
                ports = self.smtp if listening[1] == "smtp" else self.http
                ports.append(int(listening[3]))
            self._said.set()
        self._said.set()
