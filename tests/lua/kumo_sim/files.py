"""kumo.fs: files without blocking, as far as Lua can tell."""

import glob
from pathlib import Path
from typing import Any, BinaryIO

from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, bytes_of, integer_of, text_of


class AsyncFile(Userdata):
    """An open file."""

    awaiting = ("read", "write", "flush", "close")
    elsewhere = ("seek",)

    def __init__(self, file: BinaryIO) -> None:
        self._file: BinaryIO | None = file

    async def read(self, count: Any = None) -> bytes:
        return self._open("read").read(-1 if count is None else integer_of(count))

    async def write(self, data: Any) -> tuple[()]:
        self._open("write").write(bytes_of(data))
        return ()

    async def flush(self) -> tuple[()]:
        self._open("flush").flush()
        return ()

    async def close(self) -> tuple[()]:
        if self._file is not None:
            self._file.close()
            self._file = None
        return ()

    def _open(self, what: str) -> BinaryIO:
        if self._file is None:
            raise KumoError(f"attempt to {what} a closed file handle")
        return self._file


class Metadata(Userdata):
    """What stat says."""

    def __init__(self, path: str) -> None:
        self._stat = Path(path).stat()

    def field(self, name: object) -> Any:
        match name:
            case b"size" | b"len":
                return self._stat.st_size
            case b"mode":
                return self._stat.st_mode & 0o7777
            case _:
                return super().field(name)


def library() -> dict[str, Native]:
    return {
        "kumo.fs.open": Native(_open, awaits=True),
        "kumo.fs.read_dir": Native(_read_dir, awaits=True),
        "kumo.fs.glob": Native(_glob, awaits=True),
        "kumo.fs.uncached_glob": Native(_glob, awaits=True),
        "kumo.fs.metadata_for_path": Native(_metadata, awaits=True),
    }


async def _open(path: Any, mode: Any = b"r") -> AsyncFile:
    try:
        return AsyncFile(open(text_of(path), text_of(mode).replace("b", "") + "b"))  # type: ignore[arg-type]  # noqa: PTH123
    except (OSError, ValueError) as error:
        raise KumoError(f"opening {text_of(path)}: {error}") from None


async def _read_dir(path: Any) -> list[str]:
    try:
        return sorted(str(entry) for entry in Path(text_of(path)).iterdir())
    except OSError as error:
        raise KumoError(f"reading directory {text_of(path)}: {error}") from None


async def _glob(pattern: Any) -> list[str]:
    return sorted(glob.glob(text_of(pattern)))  # noqa: PTH207 - the pattern is absolute


async def _metadata(path: Any) -> Metadata:
    try:
        return Metadata(text_of(path))
    except OSError as error:
        raise KumoError(f"{text_of(path)}: {error.strerror} (os error {error.errno})") from None
