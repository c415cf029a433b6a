"""KumoMTA's helper files from disk: named one by one, by kind, or as a directory of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from policyd.config import KeyRootConfig
from policyd.transfer.files import (
    HelperFile,
    HelperKind,
    UnreadableFile,
    UnrecognisedFile,
    kind_named,
    read_helper_file,
)
from policyd.transfer.findings import Note, Origin, Problem
from policyd.transfer.reading import Transfer, transfer

SUFFIXES = (".toml", ".json")


def read_paths(
    paths: Sequence[str],
    *,
    node_group: str | None = None,
    listener_names: Mapping[str, str] | None = None,
    packaged_shaping: bool = True,
    key_directory: str | None = None,
    key_roots: Mapping[str, KeyRootConfig] | None = None,
) -> Transfer:
    """What the files come to, in the order given. What cannot be read is among its problems."""
    found = [each for path in paths for each in _read(path)]
    files = [each for each in found if isinstance(each, HelperFile)]
    come_to = transfer(
        files,
        node_group=node_group,
        listener_names=listener_names,
        packaged_shaping=packaged_shaping,
        key_directory=key_directory,
        key_roots=key_roots,
    )
    return replace(
        come_to,
        problems=(*(each for each in found if isinstance(each, Problem)), *come_to.problems),
        notes=(*(each for each in found if isinstance(each, Note)), *come_to.notes),
    )


def _read(path: str) -> Iterator[HelperFile | Problem | Note]:
    before, equals, after = path.partition("=")
    kind = kind_named(before) if equals and not Path(path).exists() else None
    if kind is not None:
        yield from _read_file(Path(after), kind)
    elif not Path(path).is_dir():
        yield from _read_file(Path(path), None)
    else:
        yield from _read_directory(Path(path))


def _read_directory(directory: Path) -> Iterator[HelperFile | Problem | Note]:
    """The helper files among the directory's, by name; others are left out, because nobody asked for them by name."""
    try:
        members = sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and path.is_file())
    except OSError as error:
        yield Problem(origin=Origin(file=str(directory)), sentence=f"cannot be read: {error.strerror}")
        return
    if not members:
        yield Problem(
            origin=Origin(file=str(directory)), sentence="there is no .toml or .json file in this directory"
        )
    for path in members:
        try:
            yield from _read_file(path, None, unrecognised=True)
        except UnrecognisedFile as error:
            yield Note(topic="not imported", origin=error.origin, sentence=f"left out: {error.sentence}")


def _read_file(
    path: Path, kind: HelperKind | None, *, unrecognised: bool = False
) -> Iterator[HelperFile | Problem]:
    """The file, or why there is none; raises only `UnrecognisedFile`, and only where *unrecognised* asks for it."""
    origin = Origin(file=str(path))
    try:
        yield read_helper_file(str(path), path.read_text(encoding="utf-8"), kind)
    except OSError as error:
        yield Problem(origin=origin, sentence=f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        yield Problem(origin=origin, sentence="cannot be read: it is not UTF-8")
    except UnreadableFile as error:
        if unrecognised and isinstance(error, UnrecognisedFile):
            raise
        yield Problem(origin=error.origin, sentence=error.sentence)
