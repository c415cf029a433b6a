"""SIGHUP is a wish to reload, and never the end of a service; a terminal that is closed is the end of what it started."""

import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.integration.conftest import make_token
from tests.integration.processes import process

SETTINGS = ("lookup.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "logging.format=json")


async def test_a_service_without_tls_lives_through_every_sighup(dsn, db):
    await make_token(db)
    async with process(dsn) as service:
        for _ in range(2):
            said = len(service.lines)
            await service.says("started")
            service.send(signal.SIGHUP)
            assert (await service.says("SIGHUP", after=said))["certificate"] is None
        service.send(signal.SIGTERM)
        assert await service.ended() == 0


def test_who_pulls_a_file_now_and_then_goes_on_after_a_sighup(tmp_path):
    pulling = subprocess.Popen(
        [
            *(sys.executable, "-m", "policyd", "shaping", "pull", str(tmp_path / "shaping.json")),
            *("--url", "http://127.0.0.1:9", "--every", "1s"),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert pulling.stderr is not None
    try:
        for _ in range(2):
            assert "does not answer" in pulling.stderr.readline()
            pulling.send_signal(signal.SIGHUP)
        assert pulling.poll() is None
        pulling.send_signal(signal.SIGTERM)
        assert pulling.wait(60) == -signal.SIGTERM
    finally:
        pulling.kill()
        pulling.stderr.close()
        pulling.wait()


def _serve_at_a_terminal(dsn: str, *, nohup: bool) -> tuple[int, int]:
    """The process, and the other end of its terminal; what is written to the terminal can be read there."""
    pid, terminal = pty.fork()
    if pid == 0:
        if nohup:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        arguments = [word for setting in SETTINGS for word in ("--set", setting)]
        program = [sys.executable, "-m", "policyd", "serve", *arguments]
        os.execve(sys.executable, program, {**os.environ, "POLICYD_DATABASE_DSN": dsn})
    return pid, terminal


def _read_until(terminal: int, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        said += os.read(terminal, 65_536)
    return said


@pytest.mark.parametrize("nohup", [False, True], ids=["", "nohup"])
async def test_a_terminal_that_is_closed_ends_the_service_in_order_unless_nohup_says_otherwise(
    dsn, db, nohup
):
    await make_token(db)
    pid, terminal = _serve_at_a_terminal(dsn, nohup=nohup)
    ended = False
    try:
        _read_until(terminal, b'"started"')
        os.kill(pid, signal.SIGHUP)
        _read_until(terminal, b"SIGHUP: ")
        os.close(terminal)
        if nohup:
            os.kill(pid, signal.SIGHUP)
            assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        ended = True
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
