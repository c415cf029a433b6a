"""`policyd up`: from nothing to a service that answers, and in order to its end."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

UP = ("--set", "lookup.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0")
DEADLINE = 60


class Up:
    """A running `policyd up` in a process group of its own, as a shell's foreground job has one."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.process = subprocess.Popen(
            [sys.executable, "-m", "policyd", "up", "--state", str(state), *UP],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self.page = self._read_until("Ctrl-C stops it")

    def _read_until(self, wanted: str) -> str:
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if wanted in line:
                return "".join(lines)
        self.close()
        raise AssertionError("policyd up ended: " + "".join(lines))

    def wait_for(self, wanted: str) -> str:
        return self._read_until(wanted)

    @property
    def lookups(self) -> str:
        return re.search(r"answers at (http://\S+?),", self.page)[1]  # type: ignore[index]  # it was printed

    def ask(self, path: str, **headers: str) -> tuple[int, dict[str, str], object]:
        token = (self.state / "token").read_text().strip()
        request = urllib.request.Request(
            self.lookups + path,
            headers={"Authorization": f"Bearer {token}"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, dict(response.headers), json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), json.load(error)

    def end(self, number: int = signal.SIGINT) -> int:
        """Ctrl-C: the signal goes to everybody in the group."""
        os.killpg(self.process.pid, number)
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def up(state: Path) -> Iterator[Up]:
    running = Up(state)
    try:
        yield running
    finally:
        running.close()


def sql(state: Path, statement: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "policyd", "sql", "--state", str(state), statement],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_first_run_makes_everything_and_the_second_keeps_it(fresh_state):
    with up(fresh_state) as first:
        assert "policy: imported the example" in first.page
        for secret in ("token", "credential.json"):
            assert (fresh_state / secret).stat().st_mode & 0o777 == 0o600
        assert json.loads((fresh_state / "credential.json").read_text())["password"] not in first.page
        keys = sorted((fresh_state / "dkim").rglob("*.key"))
        assert len(keys) == 6
        assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
        before = [key.read_bytes() for key in keys]
        sql(fresh_state, "delete from policy.listener_domain where domain = 'example.com'")
        token = (fresh_state / "token").read_text()
        assert first.end() == 0
    began = time.monotonic()
    with up(fresh_state) as second:
        assert time.monotonic() - began < 10
        assert "imported" not in second.page
        assert (fresh_state / "token").read_text() == token
        assert (
            sql(
                fresh_state, "select 1 from policy.listener_domain where domain = 'example.com'"
            ).splitlines()[1:]
            == []
        )
        assert second.ask("/queue-settings")[0] == 200
        assert [key.read_bytes() for key in keys] == before
        for domain in ("example.com", "alerts.example.com", "x.acme.example", "nobody.example"):
            status, _, plan = second.ask(f"/dkim/{domain}")
            assert (status, "key_id" in json.dumps(plan)) == (200, True), plan
        assert second.end() == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="the lines that are printed are for curl")
def test_the_printed_lines_work_as_they_stand(fresh_state):
    with up(fresh_state) as running:
        lines = [line.strip() for line in running.page.splitlines()]
        questions = [line for line in lines if line.startswith("curl ")]
        [change] = [line for line in lines if " sql " in line]
        assert len(questions) >= 3
        answers = [_shell(question) for question in questions]
        assert all(answer.startswith("HTTP/1.1 200 OK") for answer in answers), answers
        assert all("Policy-Position: " in answer for answer in answers)
        assert [_body(answer)["tenant"] for answer in answers if '"authenticated":true' in answer] == ["acme"]
        assert [_body(answer)["answer"]["algorithm"] for answer in answers if "PRIVATE KEY" in answer] == [
            "sha256"
        ]
        assert _shell(change) == "UPDATE 1\n"
        changed = _shell(questions[0])
        assert _body(changed) != _body(answers[0])
        running.end()


def _shell(line: str) -> str:
    # The printed program is the one on PATH; in tests it is this interpreter's.
    program = f"{sys.executable} -m policyd"
    line = re.sub(r"^\S*policyd ", f"{program} ", line)
    return subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True).stdout


def _body(response: str) -> Any:
    return json.loads(response.replace("\r", "").partition("\n\n")[2])


def test_a_change_in_sql_is_answered_by_the_next_lookup_that_knows_of_it(fresh_state):
    with up(fresh_state) as running:
        assert running.ask("/tenant/new")[0] == 404
        sql(fresh_state, "insert into policy.tenant (name) values ('new')")
        number, stamp = sql(
            fresh_state, "select number, stamp from policy.revision order by number desc limit 1"
        ).split()[2:]
        status, _, body = running.ask("/tenant/new", Policy_Position=f"{number}-{stamp}")
        assert (status, "answer" in json.dumps(body)) == (200, True)
        # Beside it, the keys that the first run made are those that doctor looks at.
        examined = subprocess.run(
            [sys.executable, "-m", "policyd", "doctor", "--set", f"embedded.state={fresh_state}"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert "every private key that rows name is there and fits" in examined.stdout
        running.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_stops_service_and_database_in_order(fresh_state, number):
    with up(fresh_state) as running:
        assert running.end(number) == 0
        assert running.process.stdout is not None
        assert "Traceback" not in running.process.stdout.read()
    log = (fresh_state / "postgresql.log").read_text()
    assert log.rstrip().endswith("database system is shut down")
    assert not (fresh_state / "data" / "postmaster.pid").exists()


def test_a_second_up_says_that_the_first_is_running(fresh_state):
    with up(fresh_state) as running:
        second = subprocess.run(
            [sys.executable, "-m", "policyd", "up", "--state", str(fresh_state), *UP],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 4
        assert f"process {running.process.pid} uses {fresh_state}" in second.stderr
        assert running.ask("/queue-settings")[0] == 200
        running.end()


def test_a_killed_up_leaves_nothing_that_stops_the_next(fresh_state):
    with up(fresh_state) as running:
        running.process.kill()
    with up(fresh_state) as running:
        assert running.ask("/queue-settings")[0] == 200
        running.end()


def test_a_killed_database_is_started_again_while_the_service_goes_on(fresh_state):
    with up(fresh_state) as running:
        assert running.ask("/queue-settings")[0] == 200
        postmaster = int((fresh_state / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGKILL)
        assert "starting it again" in running.wait_for("starting it again")
        running.wait_for("backend reached")
        assert running.ask("/tenant/acme")[0] == 200
        assert running.end() == 0


def test_an_address_in_use_is_a_sentence_and_the_database_is_stopped(fresh_state):
    with up(fresh_state) as running:
        address = running.lookups.removeprefix("http://")
        second = subprocess.run(
            [
                *(sys.executable, "-m", "policyd", "up", "--state", f"{fresh_state}2"),
                *("--set", f"lookup.listen={address}", "--set", "admin.listen=127.0.0.1:0"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert f"policyd: cannot listen on {address}: Address already in use\n" in second.stderr
        assert "--set lookup.listen=" in second.stderr
        assert "Traceback" not in second.stderr
        assert not (Path(f"{fresh_state}2") / "data" / "postmaster.pid").exists()
        running.end()


def test_a_disk_that_is_full_is_a_sentence(fresh_state):
    # A file may not grow beyond 100 KB: what the system says of it is as of a full disk, at the same places.
    first = subprocess.run(
        [
            *("sh", "-c", 'ulimit -f 200; exec "$@"', "sh"),
            *(sys.executable, "-m", "policyd", "up", "--state", str(fresh_state), *UP),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert first.returncode == 1
    assert "Traceback" not in first.stderr
    assert "File too large" in first.stderr
    assert len(first.stderr.splitlines()) <= 4
    assert [each.name for each in fresh_state.iterdir() if "part-" in each.name] == []


def test_a_second_replica_serves_the_same_database(fresh_state):
    with up(fresh_state) as running:
        replica = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "policyd",
                "serve",
                "--state",
                str(fresh_state),
                *UP,
                "--set",
                "logging.format=json",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert replica.stderr is not None
        lines = (json.loads(line) for line in replica.stderr)
        started = next(line for line in lines if line["message"] == "started")
        assert started["current"]
        request = urllib.request.Request(
            f"http://{started['lookup']}/queue-settings",
            headers={"Authorization": f"Bearer {(fresh_state / 'token').read_text().strip()}"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
        replica.send_signal(signal.SIGTERM)
        assert replica.wait(DEADLINE) == 0
        replica.stderr.close()
        running.end()
