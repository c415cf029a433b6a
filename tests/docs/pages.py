"""What a page asks its reader to type, taken out of it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
"""Pages that people wrote; what is under docs/reference is made."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code: its language, its text, and the line of the page where it begins."""

    language: str
    text: str
    line: int


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in one of the languages, in order."""
    text = page.read_text()
    return [
        Block(found[1], found[2], text.count("\n", 0, found.start()) + 2)
        for found in _BLOCK.finditer(text)
        if found[1] in languages
    ]


def typed(block: Block) -> Iterator[tuple[int, str]]:
    """Each command of a console, and its line; what a command prints is not one, and one that goes on is put together."""
    text = re.sub(r" \\\n +", " ", block.text)
    for number, line in enumerate(text.splitlines()):
        if line.startswith("$ "):
            yield block.line + number, line.removeprefix("$ ").split("   #")[0].rstrip()
