"""Start a program that ends when policyd does, as another user if need be."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from policyd.store.embedded.account import Account

# Runs between fork and exec of the program, in a Python of its own: a preexec_fn could deadlock in a process with
# threads, and the kernel forgets PR_SET_PDEATHSIG when a user id changes, so it must come after setuid.
# Whoever kills policyd with -9 so leaves a database that shuts itself down.
_LAUNCHER = """
import os, sys
starter, number, uid, gid = map(int, sys.argv[1:5])
try:
    import ctypes
    prctl = ctypes.CDLL(None).prctl
except (ImportError, AttributeError, OSError):
    prctl = None
if uid >= 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if prctl:
    prctl(1, number, 0, 0, 0)
    if os.getppid() != starter:
        os._exit(1)
os.execv(sys.argv[5], sys.argv[5:])
"""


def launch(
    command: Sequence[str | Path],
    *,
    account: Account | None,
    on_our_death: signal.Signals,
    cwd: Path,
    output: IO[bytes] | int,
    given: IO[bytes] | int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """
    Child in a session of its own, so that a terminal's ctrl-C reaches policyd alone.

    It gets *on_our_death* when the calling *thread* ends (Linux), so call it from the main thread.
    """
    who = (str(account.uid), str(account.gid)) if account else ("-1", "-1")
    return subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _LAUNCHER,
            str(os.getpid()),
            str(int(on_our_death)),
            *who,
            *command,
        ],
        cwd=cwd,
        env=environment(os.environ),
        stdin=given,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What PostgreSQL's programs need to know: no PGDATA or PGOPTIONS of the person, and none of our secrets."""
    return {"LC_ALL": "C", "PATH": environ.get("PATH", os.defpath), "TZ": "UTC"}
