"""Answers as ready bytes: rendered once, sent many times."""

import hashlib
from collections import OrderedDict
from typing import Any

import orjson

from policyd.policy.asking import overlay
from policyd.policy.lookup import File
from policyd.policy.resolving import Resolved

_OVERHEAD = 400
"""Bytes that an entry costs besides its body and path, measured (tests/bench)."""
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
    Answers by canonical path, bounded by bytes; the least recently used go first.

    Strangers choose the domains that are asked for, so answers that nothing is there have a small share of their
    own and cannot push out the others.
    """

    def __init__(self, *, most_bytes: int, none_share: float) -> None:
        self._shares = {
            True: _Share(int(most_bytes * (1 - none_share))),
            False: _Share(int(most_bytes * none_share)),
        }

    def __len__(self) -> int:
        return sum(len(share.answers) for share in self._shares.values())

    @property
    def bytes(self) -> int:
        """Bytes held, with an estimate of what Python adds to each entry."""
        return sum(share.bytes for share in self._shares.values())

    def get(self, path: str) -> Answer | None:
        """The answer kept for *path*, valid or not."""
        found = self._shares[True]
        answer = found.answers.get(path)
        if answer is not None:
            found.answers.move_to_end(path)
            return answer
        none = self._shares[False]
        answer = none.answers.get(path)
        if answer is not None:
            none.answers.move_to_end(path)
        return answer

    def put(self, path: str, answer: Answer) -> None:
        """Keep *answer* for *path*, instead of any other."""
        for share in self._shares.values():
            share.drop(path)
        self._shares[answer.found].put(path, answer)

    def clear(self) -> None:
        """Forget everything."""
        for share in self._shares.values():
            share.answers.clear()
            share.bytes = 0


class _Share:
    __slots__ = ("answers", "bytes", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self.answers: OrderedDict[str, Answer] = OrderedDict()

    def put(self, path: str, answer: Answer) -> None:
        self.answers[path] = answer
        self.bytes += _cost(path, answer)
        while self.bytes > self.limit and self.answers:
            oldest, gone = self.answers.popitem(last=False)
            self.bytes -= _cost(oldest, gone)

    def drop(self, path: str) -> None:
        gone = self.answers.pop(path, None)
        if gone is not None:
            self.bytes -= _cost(path, gone)


def _cost(path: str, answer: Answer) -> int:
    return len(path) + len(answer.body) + _OVERHEAD
