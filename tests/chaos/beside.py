"""
The chaos beside everything else: it mostly waits, so that it runs while the other tests do, and is judged as the last one.

Where only a few tests are wanted it begins when its own turn comes. The hooks and the fixture are tests/conftest.py's.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.children import end_with_parent

_MINUTES = os.environ.get("CHAOS_MINUTES", "2")
_SEED = os.environ.get("CHAOS_SEED", "1")
_RESULT = "CHAOS_RESULT"
"""The environment variable by which the workers of pytest-xdist learn where it will be told what came of the run."""
_LONGEST = 900.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A run, and who waits for its end."""

    process: subprocess.Popen[str]
    waiting: threading.Thread
    directory: Path


_BEGUN = pytest.StashKey[Begun]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """It is asked for last, when it has had its time."""
    items.sort(key=lambda item: "chaos_run" in getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Begin it at once where everything is asked for; in a worker it has begun already."""
    if _is_everything(session.config) and _RESULT not in os.environ:
        session.config.stash[_BEGUN] = _begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind, also when the session is broken off."""
    begun = config.stash.get(_BEGUN, None)
    if begun is None:
        return
    if begun.process.poll() is None:
        begun.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            begun.process.wait(20)
    begun.waiting.join(1)
    os.environ.pop(_RESULT, None)
    shutil.rmtree(begun.directory, ignore_errors=True)


@pytest.fixture
def chaos_run() -> tuple[int, str]:
    """The exit status of a run of the chaos, which may have been going on for a while, and what it said."""
    if _RESULT not in os.environ:
        process = _process()
        said, _ = process.communicate(timeout=_LONGEST)
        return process.returncode, said
    result, end = Path(os.environ[_RESULT]), time.monotonic() + _LONGEST
    while not result.exists():
        assert time.monotonic() < end, "the chaos does not end"
        time.sleep(0.1)
    status, said = json.loads(result.read_text())
    return status, said


def _is_everything(config: pytest.Config) -> bool:
    chosen = config.option.keyword or config.option.collectonly or config.option.markexpr != "not soak"
    return config.args_source is config.ArgsSource.TESTPATHS and not chosen


def _begin() -> Begun:
    directory = Path(tempfile.mkdtemp(prefix="policyd-chaos-result-"))
    result = directory / "result.json"
    os.environ[_RESULT] = str(result)
    process = _process()

    def wait() -> None:
        said, _ = process.communicate()
        told = result.with_suffix(".part")
        told.write_text(json.dumps([process.returncode, said]))
        told.rename(result)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    return Begun(process, waiting, directory)


def _process() -> subprocess.Popen[str]:
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
