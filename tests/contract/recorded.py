"""
The parity sets: helper files, questions, and what KumoMTA's own helpers answered to them.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.contract.reference.files import Policy

HERE = Path(__file__).parent / "parity"
SETS = sorted(folder.name for folder in HERE.iterdir() if folder.is_dir())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One question, and the `res` that the stock helper answered; None is no answer."""

    line: int
    question: dict[str, str | None]
    result: Any


def folder(name: str) -> Path:
    """Where the files of a set are."""
    return HERE / name


@cache
def files(name: str) -> Policy:
    """The parsed files of a set by kind, in the form in which the strategies draw them."""
    return {
        "listener_domains": [_toml(folder(name) / "listener_domains.toml")],
        "sources": [_toml(folder(name) / "sources.toml")],
        "queues": [_toml(folder(name) / "queues.toml")],
        "dkim": [_toml(folder(name) / "dkim_data.toml")],
    }


def answers(name: str, *kinds: str) -> Iterator[Recorded]:
    """The questions of the given kinds with their answers."""
    questions = json.loads((folder(name) / "queries.json").read_text())
    lines = (folder(name) / "answers.jsonl").read_text().splitlines()
    for number, (question, line) in enumerate(zip(questions, lines, strict=True), start=1):
        answered = json.loads(line)
        if (answered["i"], answered["ok"]) != (number, True):
            raise ValueError(f"set {name}: line {number} answers another question, or failed")
        if question["kind"] in kinds:
            yield Recorded(line=number, question=question, result=answered.get("res"))


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())
