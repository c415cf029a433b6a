"""
The chaos beside everything else: it mostly waits, so that it runs while the other tests do, and is judged as the last one.

Where only a few tests are wanted it begins when its own turn comes.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.children import end_with_parent

MANY = 300
"""Tests that take longer than the chaos."""
_MINUTES = os.environ.get("CHAOS_MINUTES", "2")
_SEED = os.environ.get("CHAOS_SEED", "1")
_RUN = pytest.StashKey[subprocess.Popen[str]]()


def _is_chaos(item: pytest.Item) -> bool:
    return "chaos_run" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """It is asked for last, when it has had its time."""
    items.sort(key=_is_chaos)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin it at once where there is enough else to do."""
    if (
        len(session.items) >= MANY
        and any(map(_is_chaos, session.items))
        and not session.config.option.collectonly
    ):
        session.config.stash[_RUN] = _begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind when the session is broken off."""
    process = config.stash.get(_RUN, None)
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)


@pytest.fixture
def chaos_run(request: pytest.FixtureRequest) -> subprocess.Popen[str]:
    """A run of the chaos, which may have been going on for a while."""
    stash = request.config.stash
    if _RUN not in stash:
        stash[_RUN] = _begin()
    return stash[_RUN]


def _begin() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.chaos", "--seed", _SEED, "--minutes", _MINUTES],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_quietly,  # noqa: PLW1509 - it takes no lock
    )


def _quietly() -> None:
    os.nice(5)
    end_with_parent(signal.SIGTERM)
