"""Positions: the last revision that somebody knows of, comparable across histories."""

import re
from dataclasses import dataclass
from typing import Self

_WRITTEN = re.compile(r"(0|[1-9][0-9]{0,17})-([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Position:
    """
    A revision's number and its random stamp, written `105-3f9a12bc`.

    Numbers alone compare only inside one history; the stamp tells a restored or failed-over database apart.
    """

    number: int
    stamp: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position that *text* writes; ValueError for anything else."""
        written = _WRITTEN.fullmatch(text)
        if written is None:
            raise ValueError("a position is written NUMBER-STAMP, like 105-3f9a12bc")
        return cls(int(written[1]), written[2])

    def __str__(self) -> str:
        return f"{self.number}-{self.stamp}"
