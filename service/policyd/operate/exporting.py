"""The database's policy as a directory of files: all of them, or none."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from policyd.config import KeyRootConfig
from policyd.errors import PolicydError
from policyd.policy.position import Position
from policyd.store import rows as store
from policyd.store.pool import Connection
from policyd.store.samples import count_secretive
from policyd.store.shaping import read_shaping
from policyd.transfer.exporting import TABLES, Exported, export

_MODE = 0o644  # as helper files have it: no secret is in them
_DIRECTORY_MODE = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The policy as files, as of one position, and how much of it no file may hold."""

    position: Position
    exported: Exported
    credentials: int
    tokens: int


class DirectoryNotEmpty(PolicydError):
    """Something is in the directory that the files would be written to."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not empty: files of the same names would be replaced")

    hint = "choose another directory, or say --force: other files in it stay"


async def read_policy(connection: Connection, key_roots: Mapping[str, KeyRootConfig]) -> Reading:
    """Everything that files can say, read from one snapshot."""
    async with store.one_reading(connection):
        rows = await store.read_rows(connection, TABLES)
        shaping = await read_shaping(connection)
        position = await store.read_head(connection)
        credentials, tokens = await count_secretive(connection)
    return Reading(
        position=position,
        exported=export(rows, shaping, key_roots),
        credentials=credentials,
        tokens=tokens,
    )


def write_directory(directory: Path, files: Mapping[str, str], *, force: bool) -> None:
    """
    Writes the files. What goes wrong leaves everything as it was.

    A new directory appears with all of its files. In one that is there, which takes *force* unless it is empty, all
    files are written beside the old ones first and then take their places one after the other; others stay.
    """
    try:
        if not directory.exists():
            _appear(directory, files)
        elif force or not any(directory.iterdir()):
            _replace(directory, files)
        else:
            raise DirectoryNotEmpty(directory)
    except OSError as error:
        raise PolicydError(f"{directory} cannot be written: {error.strerror or error}") from None


def _appear(directory: Path, files: Mapping[str, str]) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        for name, text in files.items():
            _write(partial / name, text)
        partial.chmod(_DIRECTORY_MODE)
        _sync(partial)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(directory.parent)


def _replace(directory: Path, files: Mapping[str, str]) -> None:
    for name in files:
        if (directory / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{name} is a directory")
    partial = {name: directory / f".{name}.{os.getpid()}.part" for name in files}
    try:
        for name, text in files.items():
            _write(partial[name], text)
        _sync(directory)
        for name, path in partial.items():
            path.rename(directory / name)
    except BaseException:
        for path in partial.values():
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    _sync(directory)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        path.chmod(_MODE)
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
