"""
What SIGHUP means: the terminal that this was started from is gone, or somebody wants a reload.

The signal is the same. After a hang-up the kernel has taken the controlling terminal away; `kill -HUP` leaves it.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable


def terminal_watch() -> Callable[[], bool]:
    """
    What tells whether the terminal is gone that this process has now.

    Never, where there is none, as under systemd, and where SIGHUP is ignored, as under nohup: then nobody's terminal
    has a say in how long this runs.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or not _has_terminal():
        return lambda: False
    return lambda: not _has_terminal()


def end_with_the_terminal() -> None:
    """Let SIGHUP end this process where its terminal is gone, and do nothing else from now on."""
    if threading.current_thread() is not threading.main_thread():  # signals reach no other
        return
    is_abandoned = terminal_watch()

    def end(number: int, _: object) -> None:
        if is_abandoned():
            sys.exit(128 + number)

    signal.signal(signal.SIGHUP, end)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
