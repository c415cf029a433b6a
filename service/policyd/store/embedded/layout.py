"""Where the embedded PostgreSQL keeps what, and who holds it."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from policyd.errors import AlreadyRunning, EmbeddedUnavailable
from policyd.store.embedded.account import Account

# sun_path is 108 bytes on Linux and 104 elsewhere, with the NUL; the socket's name is /.s.PGSQL.5432.
LONGEST_SOCKET_DIRECTORY = 103 - len("/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one state directory."""

    state: Path

    @property
    def data(self) -> Path:
        return self.state / "data"

    @property
    def run(self) -> Path:
        """Directory of the socket, or a link to it where the state directory's path is too long for a socket."""
        return self.state / "run"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def log(self) -> Path:
        return self.state / "postgresql.log"

    @property
    def hba(self) -> Path:
        return self.state / "pg_hba.conf"

    @property
    def ident(self) -> Path:
        return self.state / "pg_ident.conf"


def make_state(layout: Layout, account: Account | None) -> None:
    """Create the state directory, closed to others; one that is there already keeps its mode."""
    state = layout.state
    try:
        missing = [path for path in (state, *state.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=0o755 if path != state else 0o711 if account else 0o700)
    except OSError as error:
        raise EmbeddedUnavailable(
            f"cannot create the state directory {state}: {error.strerror}",
            hint="give another one with --state DIR",
        ) from error
    owner = state.stat().st_uid
    if owner != os.geteuid():
        raise EmbeddedUnavailable(
            f"the state directory {state} belongs to the user with id {owner}, not to this one",
            hint="start policyd as that user, or give another directory with --state DIR",
        )
    if account:
        _refuse_if_shut_out(state, account)


def _refuse_if_shut_out(state: Path, account: Account) -> None:
    for path in (state, *state.parents):
        found = path.stat()
        bit = (
            stat.S_IXUSR
            if found.st_uid == account.uid
            else stat.S_IXGRP
            if found.st_gid == account.gid
            else stat.S_IXOTH
        )
        if not found.st_mode & bit:
            raise EmbeddedUnavailable(
                f"PostgreSQL does not run as root, and the user {account.name} cannot enter {path}",
                hint="give another directory with --state DIR, for example one below /var/lib",
            )


@contextlib.contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Hold the state directory; AlreadyRunning where another process does."""
    # Never unlinked: a lock on a file that has lost its name excludes nobody.
    with layout.lock.open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(pid=holder(layout), state=str(layout.state)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
        lock.truncate(0)


def holder(layout: Layout) -> int | None:
    """Process that says in the lock file that it holds the state directory."""
    try:
        return int(layout.lock.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def make_socket_directory(layout: Layout, account: Account | None) -> Path:
    """Directory for the socket, for its owner only; a short one elsewhere where the path is too long."""
    if len(os.fsencode(layout.run)) <= LONGEST_SOCKET_DIRECTORY and not layout.run.is_symlink():
        return make_private(layout.run, account)
    if layout.run.is_symlink():
        earlier = layout.run.readlink()
        if _is_private(earlier, account):
            return earlier
        layout.run.unlink()
    elif layout.run.exists():
        layout.run.rmdir()
    short = Path(tempfile.mkdtemp(prefix="policyd-", dir=_short_parent()))
    if account:
        os.chown(short, account.uid, account.gid)
    layout.run.symlink_to(short)
    return short


def make_private(path: Path, account: Account | None) -> Path:
    """Directory that nobody but its owner enters."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        if account:
            os.chown(path, account.uid, account.gid)
    if not _is_private(path, account):
        owner = account.name if account else "this user"
        raise EmbeddedUnavailable(
            f"{path} must be a directory of {owner} that nobody else can enter",
            hint=f"look at it with ls -ld {path}; if it holds nothing of value, remove it and start again",
        )
    return path


def _is_private(path: Path, account: Account | None) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    owner = account.uid if account else os.geteuid()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and not found.st_mode & 0o077


def _short_parent() -> Path:
    return Path("/run" if os.geteuid() == 0 and Path("/run").is_dir() else "/tmp")  # noqa: S108 - mkdtemp makes it ours


def socket_directory(layout: Layout) -> Path:
    """Where a running server's socket is."""
    return layout.run.resolve()
