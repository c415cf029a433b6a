"""Answers as ready bytes: rendered once, sent many times."""

import hashlib
import struct
from typing import Any, Self, TypeAlias

import orjson

from policyd.policy.asking import overlay
from policyd.policy.lookup import File
from policyd.policy.resolving import Resolved

Kept: TypeAlias = bytes
"""An answer in one piece: what the rule needs to judge it, then its body."""

_KEPT = struct.Struct("=qdI?")
"""What stands before a kept body: its label, until when it is valid, where its tags end, whether something is there."""
_JUDGED = struct.Struct("=qd")
_FOREVER = float("inf")
FOUND_AT = _KEPT.size - 1
BODY_AT = _KEPT.size

_OVERHEAD = 200
"""Bytes that an entry costs besides its body and path, measured (tests/bench)."""
_LEAVING_AT_A_TIME = 4
_TAGS_AT = len(b'{"tags":')


class Answer:
    """
    One rendered answer: its body, and what the rule needs to judge it.

    The tags are kept in the body alone: most hits are labelled with the head already and never look at them, and a
    second copy would be half of the cache's memory.
    """

    __slots__ = ("_tags_end", "body", "found", "label", "valid_until")

    def __init__(
        self, body: bytes, *, tags_end: int, found: bool, label: int, valid_until: float | None
    ) -> None:
        self.body = body
        self.found = found
        self.label = label
        self.valid_until = valid_until
        self._tags_end = tags_end

    @classmethod
    def unpack(cls, kept: Kept) -> Self:
        """The answer that was packed."""
        label, until, tags_end, found = _KEPT.unpack_from(kept)
        return cls(
            kept[BODY_AT:],
            tags_end=tags_end,
            found=found,
            label=label,
            valid_until=None if until == _FOREVER else until,
        )

    def pack(self) -> Kept:
        """Everything in one piece."""
        until = _FOREVER if self.valid_until is None else self.valid_until
        return _KEPT.pack(self.label, until, self._tags_end, self.found) + self.body

    @property
    def tags(self) -> list[str]:
        """The tags that the answer was made from."""
        tags: list[str] = orjson.loads(memoryview(self.body)[_TAGS_AT : self._tags_end])
        return tags


class FileAnswer(Answer):
    """An answer whose body is a file, to be sent as it is; what the rule needs stands beside it."""

    __slots__ = ("_tags", "entity_tag", "media_type")

    def __init__(self, resolved: Resolved, file: File) -> None:
        super().__init__(
            file.write(overlay(resolved.resolution.layers)),
            tags_end=0,
            found=True,
            label=resolved.position.number,
            valid_until=resolved.resolution.valid_until,
        )
        self._tags = list(resolved.tags)
        self.entity_tag = f'"{hashlib.sha256(self.body).hexdigest()}"'
        self.media_type = file.media_type

    @property
    def tags(self) -> list[str]:
        """The tags that the file was made from."""
        return self._tags


def beginning(label: int) -> bytes:
    """How every packed answer begins that is labelled *label* and does not end by itself."""
    return _JUDGED.pack(label, _FOREVER)


def render(resolved: Resolved, file: File | None = None) -> Answer:
    """
    The envelope `{"tags", "answer"?, "with"?, "valid_until"?}` of a resolution, labelled with where it was read.

    Of a kind that is a *file*, the file, if there is one.
    """
    resolution = resolved.resolution
    if file is not None and resolution.layers:
        return FileAnswer(resolved, file)
    tags = orjson.dumps(resolved.tags)
    rest: dict[str, Any] = {}
    if resolution.layers:
        rest["answer"] = overlay(resolution.layers)
    if resolution.brings:
        rest["with"] = {
            part.path: {"tags": part.tags, "answer": overlay(part.layers)} for part in resolution.brings
        }
    if resolution.valid_until is not None:
        rest["valid_until"] = resolution.valid_until
    tail = orjson.dumps(rest)
    head = b'{"tags":' + tags
    return Answer(
        head + (b"," + tail[1:] if rest else b"}"),
        tags_end=len(head),
        found=bool(resolution.layers),
        label=resolved.position.number,
        valid_until=resolution.valid_until,
    )


class AnswerCache:
    """
    Answers by canonical path, bounded by bytes; those that were not used for long go first.

    Strangers choose the domains that are asked for, so answers that nothing is there have a small share of their
    own and cannot push out the others.
    """

    def __init__(self, *, most_bytes: int, none_share: float) -> None:
        self._found = _Share(int(most_bytes * (1 - none_share)))
        self._none = _Share(int(most_bytes * none_share))
        self._files: dict[str, FileAnswer] = {}  # one for each kind that is a file

    def __len__(self) -> int:
        return len(self._found) + len(self._none) + len(self._files)

    @property
    def bytes(self) -> int:
        """Bytes held, with an estimate of what Python adds to each entry."""
        return self._found.size + self._none.size + sum(len(file.body) for file in self._files.values())

    def kept(self, path: str) -> Kept | None:
        """The answer kept for *path* as it is kept, valid or not; none that is a file."""
        return self._found.newer.get(path) or self._found.get(path) or self._none.get(path)

    def get(self, path: str) -> Answer | None:
        """The answer kept for *path*, valid or not."""
        kept = self.kept(path)
        return self._files.get(path) if kept is None else Answer.unpack(kept)

    def put(self, path: str, answer: Answer) -> None:
        """Keep *answer* for *path*, instead of any other."""
        self._found.drop(path)
        self._none.drop(path)
        self._files.pop(path, None)
        if isinstance(answer, FileAnswer):
            self._files[path] = answer
        else:
            (self._found if answer.found else self._none).put(path, answer.pack())

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()
        self._none.clear()
        self._files.clear()


class _Share:
    """
    Two generations of entries, and a third on its way out: what is used moves to the newest.

    Entries are bytes in plain dictionaries, because the garbage collector does not walk through those. A quarter of a
    million objects, or the links of an OrderedDict, would have it stop the event loop for tens of milliseconds, and
    cost half as much memory again.
    """

    __slots__ = ("_leaving", "_limit", "_newer_size", "_older", "newer", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.clear()

    def __len__(self) -> int:
        return len(self.newer) + len(self._older)

    def clear(self) -> None:
        self.newer: dict[str, Kept] = {}
        self._older: dict[str, Kept] = {}
        self._leaving: dict[str, Kept] = {}
        self._newer_size = self.size = 0

    def get(self, path: str) -> Kept | None:
        kept = self.newer.get(path)
        if kept is None:
            kept = self._older.pop(path, None)
            if kept is not None:
                self._place(path, kept)
        return kept

    def put(self, path: str, kept: Kept) -> None:
        if _size(path, kept) > self._limit // 2:
            return  # it would push out everything else
        self.size += _size(path, kept)
        self._place(path, kept)
        # A few at a time: letting go of a hundred thousand at once would be felt.
        for _ in range(_LEAVING_AT_A_TIME):
            self._let_one_go()
        while self.size > self._limit:
            self._let_one_go()

    def drop(self, path: str) -> None:
        kept = self.newer.pop(path, None)
        if kept is not None:
            self._newer_size -= _size(path, kept)
        else:
            kept = self._older.pop(path, None)
        if kept is not None:
            self.size -= _size(path, kept)

    def _place(self, path: str, kept: Kept) -> None:
        size = _size(path, kept)
        if self._newer_size + size > self._limit // 2:
            while self._leaving:
                self._let_one_go()
            self._leaving, self._older, self.newer = self._older, self.newer, {}
            self._newer_size = 0
        self.newer[path] = kept
        self._newer_size += size

    def _let_one_go(self) -> None:
        if self._leaving:
            self.size -= _size(*self._leaving.popitem())


def _size(path: str, kept: Kept) -> int:
    return len(path) + len(kept) + _OVERHEAD
