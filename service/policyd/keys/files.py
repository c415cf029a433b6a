"""A key root that is a directory, in KumoMTA's own layout: `DIR/DOMAIN/SELECTOR.key`."""

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from policyd.config import KeyRootConfig
from policyd.errors import KeyInvalid, SecretsUnavailable
from policyd.keys.key import LARGEST_KEY

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def read_file(root: KeyRootConfig, name: str) -> bytes | None:
    """
    What the file of *name* holds; None where there is no such file. Blocks: it belongs in a thread.

    Symbolic links are followed as long as they stay inside the directory, because sharing a key by a link is usual.
    """
    try:
        directory = root.dir.resolve(strict=True)
    except OSError as error:
        # An unmounted disk is not a customer without a key.
        raise SecretsUnavailable(
            f"the directory of private keys {root.dir}: {error.strerror}", trouble="unreachable"
        ) from error
    path = Path(os.path.realpath(directory / f"{name}{root.suffix}"))
    if not path.is_relative_to(directory):
        raise KeyInvalid(problem=f"is a symbolic link that leads out of {root.dir}")
    try:
        return _read(path)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        if error.errno == errno.ELOOP:
            raise KeyInvalid(problem="is a symbolic link that leads to itself") from None
        raise SecretsUnavailable(
            f"a private key in {root.dir} cannot be read: {error.strerror}", trouble="refused"
        ) from error


def _read(path: Path) -> bytes:
    # Never waits: a FIFO would otherwise hold the thread until somebody writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise KeyInvalid(problem="is not a regular file")
        if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise KeyInvalid(
                problem="is in a file that everybody on this machine can read or write",
                hint=f"chmod o-rwx {path}",
            )
        if found.st_size > LARGEST_KEY:
            raise KeyInvalid(problem=f"is in a file larger than {LARGEST_KEY} bytes")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return file.read(LARGEST_KEY)
