"""kumo.regex, as far as Python's patterns are Rust's."""

import re
from typing import Any

from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, text_of


class Regex(Userdata):
    """A compiled pattern."""

    sync = ("captures", "is_match", "find")
    elsewhere = ("find_all", "replace", "replace_all", "replacen", "split")

    def __init__(self, pattern: Any) -> None:
        try:
            self._pattern = re.compile(text_of(pattern))
        except re.error as error:
            raise KumoError(f"Parsing error: {error}") from None

    def captures(self, text: Any) -> dict[Any, str] | None:
        found = self._pattern.search(text_of(text))
        return (
            None
            if found is None
            else {0: found[0], **dict(enumerate(found.groups(), 1)), **found.groupdict()}
        )

    def is_match(self, text: Any) -> bool:
        return self._pattern.search(text_of(text)) is not None

    def find(self, text: Any) -> str | None:
        found = self._pattern.search(text_of(text))
        return None if found is None else found[0]


def library() -> dict[str, Native]:
    return {
        "kumo.regex.compile": Native(Regex),
        "kumo.regex.escape": Native(lambda text: re.escape(text_of(text))),
    }
