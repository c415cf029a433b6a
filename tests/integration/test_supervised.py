"""`policyd serve` under a service manager, which here is a socket."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.conftest import make_token

SERVE = ("--set", "lookup.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0")
DEADLINE = 60


async def test_a_service_manager_is_told_when_it_serves_whether_it_is_current_and_when_it_ends(dsn, db):
    await make_token(db)
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        address = str(Path(directory) / "notify")
        manager.bind(address)
        manager.settimeout(DEADLINE)
        told: list[str] = []

        def wait_for(text: str) -> None:
            while not any(text in message for message in told):
                told.append(manager.recv(4096).decode())

        process = subprocess.Popen(
            [sys.executable, "-m", "policyd", "serve", *SERVE],
            env={
                **os.environ,
                "POLICYD_DATABASE_DSN": dsn,
                "NOTIFY_SOCKET": address,
                "WATCHDOG_USEC": "3000000",
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for("READY=1")
            wait_for("STATUS=current at ")
            wait_for("WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            wait_for("STOPPING=1")
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()
