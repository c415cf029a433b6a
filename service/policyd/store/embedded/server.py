"""One PostgreSQL server, from its first start to its end."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from policyd.config import EmbeddedConfig
from policyd.errors import EmbeddedUnavailable
from policyd.store.embedded import account as accounts
from policyd.store.embedded import leftovers
from policyd.store.embedded.account import Account
from policyd.store.embedded.binaries import MAJOR, ROOM, programs
from policyd.store.embedded.launch import launch
from policyd.store.embedded.layout import (
    Layout,
    held,
    make_private,
    make_socket_directory,
    make_state,
    socket_directory,
)

SUPERUSER = "postgres"
DATABASE = "policyd"

START_TIMEOUT = 60.0
LARGEST_LOG = 10 * 2**20

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Rows and statements of people do not belong in a log file.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    # A small database that is asked short questions: compiling them costs more than they do.
    "jit": "off",
    "io_method": "sync",
}
NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Server:
    """A running server. `running` makes one."""

    def __init__(self, layout: Layout, command: list[str | Path], account: Account | None) -> None:
        self.layout = layout
        self._command = command
        self._account = account
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def dsn(self, database: str = DATABASE) -> str:
        """DSN for the user who started the server; libpq and asyncpg read it alike."""
        return _dsn(self.layout, database)

    def start(self) -> None:
        """Start, and return when it answers. From the main thread: it stops when the thread that started it ends."""
        position = self.spawn()
        deadline = time.monotonic() + START_TIMEOUT
        while not self.is_ready():
            if self._status() is not None or time.monotonic() > deadline:
                self.stop()
                raise EmbeddedUnavailable(
                    f"PostgreSQL did not start: {_tail(self.layout.log, position)}",
                    hint=f"its log is {self.layout.log}",
                )
            time.sleep(0.01)

    def spawn(self) -> int:
        """Start without waiting; where in its log this start begins. From the main thread, as `start`."""
        _shorten(self.layout.log)
        with self.layout.log.open("ab") as log:
            self._process = launch(
                self._command,
                account=self._account,
                on_our_death=signal.SIGINT,
                cwd=self.layout.data,
                output=log,
            )
            return log.tell()

    def is_ready(self) -> bool:
        """Whether it accepts connections."""
        return self._process is not None and _is_ready(self.layout.data, self._process.pid)

    def clear(self) -> None:
        """Wait for what a server that was killed left behind, so that the next one can start."""
        leftovers.clear(self.layout.data, socket_directory(self.layout))

    def stop(self) -> None:
        """Stop cleanly: sessions are ended, a checkpoint is written."""
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in leftovers.PATIENCE:
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    async def ended(self) -> int:
        """Exit status, once the server ended without having been told to."""
        while (status := self._status()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.25)  # a child has no event to wait for that works everywhere
        return status

    def _status(self) -> int | None:
        return self._process.poll() if self._process else 0


@contextlib.contextmanager
def running(
    config: EmbeddedConfig, *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """
    Server on the configured state directory, made at the first start, stopped at the end.

    AlreadyRunning where another policyd holds the directory. *durable* is for everybody but tests.
    """
    layout = Layout(config.state)
    starter = accounts.starter()
    account = accounts.choose(layout.data, wanted=config.account)
    make_state(layout, account)
    with held(layout):
        binaries = programs(layout.state, copied=account is not None)
        _write_authentication(layout, starter)
        _create_cluster(layout, binaries, account, durable=durable)
        _refuse_other_version(layout)
        sockets = make_socket_directory(layout, account)
        leftovers.clear(layout.data, sockets)
        in_force = {
            **SETTINGS,
            "unix_socket_directories": str(sockets),
            "hba_file": str(layout.hba),
            "ident_file": str(layout.ident),
            **({} if durable else NOT_DURABLE),
            **(settings or {}),
        }
        command: list[str | Path] = [binaries / "postgres", "-D", layout.data]
        for name, value in in_force.items():
            command += ["-c", f"{name}={value}"]
        server = Server(layout, [*command, "-c", f"{leftovers.MARK}{layout.state}"], account)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def running_dsn(config: EmbeddedConfig, database: str = DATABASE) -> str | None:
    """DSN of the server that another process runs on this state directory; None where none does."""
    layout = Layout(config.state)
    return _dsn(layout, database) if (socket_directory(layout) / ".s.PGSQL.5432").exists() else None


def _dsn(layout: Layout, database: str) -> str:
    # Everything is said, so that no PG… variable of the person's environment has a say.
    host = quote(str(socket_directory(layout)), safe="/")
    return f"postgresql://{SUPERUSER}@/{quote(database)}?host={host}&port=5432&sslmode=disable"


def _write_authentication(layout: Layout, starter: str) -> None:
    # Beside the data and not in it: that directory may belong to another user, who could put links there.
    layout.hba.write_text("local all all peer map=policyd\n", encoding="ascii")
    layout.ident.write_text(f'policyd "{starter}" all\n', encoding="utf-8")
    for path in (layout.hba, layout.ident):
        path.chmod(0o644)


def _create_cluster(layout: Layout, binaries: Path, account: Account | None, *, durable: bool) -> None:
    for partial in layout.state.glob("data.part-*"):
        shutil.rmtree(partial, ignore_errors=True)
    if layout.data.exists():
        make_private(layout.data, account)
        return
    partial = Path(tempfile.mkdtemp(prefix="data.part-", dir=layout.state))
    try:
        if account:
            os.chown(partial, account.uid, account.gid)
        _initialise(partial, binaries, account, durable=durable)
        partial.rename(layout.data)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _initialise(partial: Path, binaries: Path, account: Account | None, *, durable: bool) -> None:
    _run(
        [
            *(binaries / "initdb", "-D", partial, "--username", SUPERUSER, "--encoding", "UTF8"),
            # The locale of PostgreSQL itself: an upgrade of the system's C library changes no index.
            *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
            *("--auth-local", "peer", "--auth-host", "reject", "--data-checksums", "--no-instructions"),
            *(() if durable else ("--no-sync",)),
        ],
        account,
        partial,
    )
    # Alone on it, before it has its name: whoever sees the cluster sees the database.
    _run(
        [
            binaries / "postgres",
            "--single",
            "-D",
            partial,
            *(() if durable else ("-c", "fsync=off")),
            "postgres",
        ],
        account,
        partial,
        given=f"create database {DATABASE}\n".encode(),
    )


def _run(command: list[str | Path], account: Account | None, cwd: Path, *, given: bytes = b"") -> None:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
        source.write(given)
        source.seek(0)
        child = launch(
            command, account=account, on_our_death=signal.SIGKILL, cwd=cwd, output=output, given=source
        )
        status = child.wait()
        if status != 0:
            output.seek(0)
            said = _worst(output.read().decode(errors="replace").strip().splitlines())
            raise EmbeddedUnavailable(
                f"{Path(command[0]).name} failed (status {status}): {said}",
                hint=ROOM if "No space left" in said else None,
            )


def _refuse_other_version(layout: Layout) -> None:
    try:
        found = (layout.data / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError:
        found = "unknown"
    if found != str(MAJOR):
        raise EmbeddedUnavailable(
            f"{layout.data} was written by PostgreSQL {found}, and this policyd brings {MAJOR}",
            hint=(
                f"with the policyd that wrote it: pg_dump --schema policy > policy.sql; then mv {layout.data} "
                f"{layout.data}-{found}, start this one and read the dump with policyd sql --file policy.sql"
            ),
        )


def _is_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _shorten(log: Path) -> None:
    with contextlib.suppress(OSError):
        if log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))


def _tail(log: Path, position: int) -> str:
    with log.open("rb") as file:
        file.seek(position)
        lines = file.read()[-2000:].decode(errors="replace").strip().splitlines()
    return _worst(lines)


def _worst(lines: Sequence[str]) -> str:
    """What a program said of its end: what was fatal, or else the last that it said."""
    fatal = [line for line in lines if re.search(r"\b(FATAL|PANIC|error):", line)]
    return " ".join(line.partition("] ")[2] or line for line in (fatal or lines)[-4:]) or "it said nothing"
