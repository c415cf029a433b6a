"""The file of shaping on a host: only ever whole, and only ever one that KumoMTA's loader can read."""

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path

from policyd.errors import PolicyInvalid, Problem
from policyd.transfer.files import UnreadableFile, read_helper_file
from policyd.transfer.reading import transfer

_MODE = 0o644  # it holds no secret, and other daemons read it


def check_shaping(name: str, data: bytes) -> None:
    """Raise PolicyInvalid for what is no shaping file, TOML or strict JSON by the name's ending."""
    try:
        text = data.decode()
        if name.endswith(".json"):
            _refuse_null(json.loads(text))
        problems = [str(each) for each in transfer([read_helper_file(name, text, "shaping")]).problems]
    except (UnreadableFile, ValueError) as error:
        problems = [str(error)]
    if problems:
        raise PolicyInvalid(
            [Problem(where="", sentence=each) for each in problems],
            hint="what was received is not written; the file that is there stays as it is",
        )


def replace_shaping(path: Path, data: bytes) -> bool:
    """
    Whether the file is another one now: *data*, in place of the old one at once, with its mode and owner.

    Readers see the old one or the new one whole, after a crash too.
    """
    target = path.resolve()  # a link stays one
    before = _status(target)
    if before is not None and target.read_bytes() == data:
        return False
    descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), _MODE if before is None else stat.S_IMODE(before.st_mode))
            if before is not None:
                with contextlib.suppress(PermissionError):  # only root gives files away
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fsync(file.fileno())
        Path(partial).replace(target)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _refuse_null(value: object) -> None:
    match value:
        case None:
            raise ValueError("it holds null, which KumoMTA's loader does not take")
        case dict():
            for item in value.values():
                _refuse_null(item)
        case list():
            for item in value:
                _refuse_null(item)
        case _:
            pass
