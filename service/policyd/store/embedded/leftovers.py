"""
What an earlier policyd left behind on this data directory, and nothing else.

After kill -9 a `postmaster.pid` may name a process that has nothing to do with us. Ours is who runs `postgres` in our
data directory and carries our mark on its command line; everybody else is only waited for, or reported.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from policyd.errors import EmbeddedUnavailable

PROC = Path("/proc")

# A setting of that name on the command line of a server, which `postgres` accepts and ignores.
MARK = "policyd.state="

# How long a server may take to finish its checkpoint, and each harder way after that.
PATIENCE = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class Found:
    """A PostgreSQL process that works in the data directory."""

    pid: int
    command: tuple[str, ...]

    @property
    def is_marked(self) -> bool:
        return any(argument.startswith(MARK) for argument in self.command)

    @property
    def is_ending(self) -> bool:
        # The kernel has taken its memory away, and its arguments with it; a moment later it is gone.
        return not self.command

    @property
    def is_backend(self) -> bool:
        # Children of a postmaster say what they are: `postgres: checkpointer`.
        return self.command[:1] != () and self.command[0].startswith("postgres: ")


def clear(data: Path, sockets: Path) -> None:
    """
    Make room for a server on *data*, with its socket in *sockets*: what an earlier one left is stopped or waited for.

    A PostgreSQL that somebody else started there is named and left alone.
    """
    last_was_ours = _last_was_ours(data)
    for found in list(processes(data)):
        if not (found.is_marked or found.is_backend or found.is_ending):
            raise EmbeddedUnavailable(
                f"process {found.pid} uses {data}, and policyd did not start it: {' '.join(found.command)[:200]}",
                hint="stop it if nobody needs it, then start again",
            )
    for found in list(processes(data)):
        if found.is_marked:
            stop(found, data)
    # Backends end by themselves when their postmaster is gone, as soon as they look up from what they do.
    left = _wait_for_none(data, 2.0)
    if left and last_was_ours:
        for found in left:
            stop(found, data, patience=PATIENCE[1:])
        left = _wait_for_none(data, 1.0)
    if left:
        numbers = ", ".join(str(found.pid) for found in left)
        raise EmbeddedUnavailable(f"PostgreSQL processes still use {data}: {numbers}", hint=f"kill {numbers}")
    _remove_stale_locks(data, sockets)


def processes(data: Path) -> Iterator[Found]:
    """Every PostgreSQL process whose working directory is *data*; none where there is no /proc."""
    here = data.stat()
    numbers = [entry.name for entry in PROC.iterdir() if entry.name.isdecimal()] if PROC.is_dir() else []
    for number in numbers:
        with contextlib.suppress(OSError):
            cwd = (PROC / number / "cwd").stat()
            if (cwd.st_dev, cwd.st_ino) != (here.st_dev, here.st_ino):
                continue
            program = (PROC / number / "exe").readlink().name.removesuffix(" (deleted)")
            text = (PROC / number / "cmdline").read_bytes().decode(errors="replace")
            found = Found(int(number), tuple(part for part in text.split("\0") if part))
            # A shell or an editor that somebody opened there is none of our business. Marked, but not yet
            # postgres: the moment before a server's exec.
            if program == "postgres" or found.is_marked:
                yield found


def stop(found: Found, data: Path, *, patience: Sequence[tuple[signal.Signals, float]] = PATIENCE) -> None:
    """End one process, gently first. What is signalled is what was found, whoever has its number by now."""
    try:
        handle = os.pidfd_open(found.pid)
    except ProcessLookupError:
        return
    try:
        if found not in list(processes(data)):
            return
        for number, seconds in patience:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if ended(handle, seconds):
                return
    finally:
        os.close(handle)


def ended(handle: int, seconds: float) -> bool:
    """Whether the process of this pidfd ends within *seconds*."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _wait_for_none(data: Path, seconds: float) -> list[Found]:
    deadline = time.monotonic() + seconds
    while (left := list(processes(data))) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _last_was_ours(data: Path) -> bool:
    try:
        return MARK in (data / "postmaster.opts").read_text(errors="replace")
    except OSError:
        return False


def _remove_stale_locks(data: Path, sockets: Path) -> None:
    # postgres itself takes any live process of its user with that number for a server, even one that has just died,
    # and refuses to start. Nobody works in the data directory, and we hold the lock: the number is nobody's.
    if not PROC.is_dir():
        return
    for stale in (data / "postmaster.pid", sockets / ".s.PGSQL.5432.lock", sockets / ".s.PGSQL.5432"):
        stale.unlink(missing_ok=True)
