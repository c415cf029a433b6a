"""TOML, and JSON with comments as KumoMTA reads it, with the line of each key."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from policyd.transfer.findings import Json

Path = tuple[str, ...]

_JSON_STRING = r'"(?:\\.|[^"\\])*"'
_JSON_COMMENT = re.compile(rf"({_JSON_STRING})|//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_JSON_TOKEN = re.compile(rf"({_JSON_STRING})|[\[\]{{}}:,\n]", re.DOTALL)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_TOML_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_TOML_KEY = rf"{_TOML_PART}(?:\s*\.\s*{_TOML_PART})*"
_TOML_LINE = re.compile(rf"\s*(?:(?P<header>\[\[?)\s*)?(?P<key>{_TOML_KEY})\s*(?(header)\]|=)")
_TOML_FENCE = re.compile(r'"""|\'\'\'')


class SyntaxProblem(ValueError):
    """The text is not what its name says; the message names a place and never quotes a value, which may be a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The data of one file, the line of each key, and the keys that stand twice (KumoMTA takes the last)."""

    data: Json
    lines: dict[Path, int]
    repeated: tuple[str, ...] = ()


def parse_toml(text: str) -> Parsed:
    """The TOML document; dates and times, which no KumoMTA option takes, come back as text."""
    text = text.removeprefix("\ufeff")  # KumoMTA's reader skips it, too
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise SyntaxProblem(f"this is not TOML: {exc}") from None
    except RecursionError:
        raise SyntaxProblem("this is not TOML that anybody can read: it is nested too deeply") from None
    return Parsed(data=_storable(_plain(data)), lines=_with_implied(_toml_lines(text)))


def parse_json(text: str) -> Parsed:
    """The JSON document without its `//`, `#` and `/* */` comments and without members that are null."""
    stripped = strip_comments(text)
    repeated: list[str] = []

    def members(pairs: list[tuple[str, Json]]) -> Json:
        table = dict(pairs)
        if len(table) < len(pairs):
            names = [name for name, _ in pairs]
            repeated.extend(sorted({name for name in names if names.count(name) > 1}))
        return {name: value for name, value in table.items() if value is not None}

    try:
        data = json.loads(stripped, object_pairs_hook=members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise SyntaxProblem(
            f"this is not JSON: {exc.msg} (at line {exc.lineno}, column {exc.colno})"
        ) from None
    except RecursionError:
        raise SyntaxProblem("this is not JSON that anybody can read: it is nested too deeply") from None
    return Parsed(data=_storable(data), lines=dict(_json_lines(stripped)), repeated=tuple(repeated))


def strip_comments(text: str) -> str:
    """The JSON text with blanks in place of its comments, so that every line and column stays what it was."""

    def blank(found: re.Match[str]) -> str:
        string: str | None = found[1]
        return string if string is not None else re.sub(r"[^\n]", " ", found[0])

    return _JSON_COMMENT.sub(blank, text)


def _refuse_constant(name: str) -> Json:
    raise SyntaxProblem(f"this is not JSON: {name} is no number that JSON knows")


def _storable(data: Json) -> Json:
    """The data. Refused is what JSON in PostgreSQL cannot hold, and no option of KumoMTA either."""
    try:
        text = json.dumps(data, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise SyntaxProblem("a string holds half of a surrogate pair, which is no text") from None
    except ValueError:
        raise SyntaxProblem(
            "a number is infinite or none at all (inf, nan), which KumoMTA does not survive"
        ) from None
    if _NUL.search(text):
        raise SyntaxProblem("a string holds the character NUL, which no name or option can")
    return data


def _plain(value: object) -> Json:
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _with_implied(written: Iterator[tuple[Path, int]]) -> dict[Path, int]:
    """The lines, and for a table that only its parts are written of (`[a.b]` makes `a`) that of the first part."""
    lines = dict(written)
    for path, line in list(lines.items()):
        for end in range(len(path) - 1, 0, -1):
            lines.setdefault(path[:end], line)
    return lines


def _toml_lines(text: str) -> Iterator[tuple[Path, int]]:
    section: Path = ()
    items: dict[Path, int] = {}
    inside_fence = False
    for number, line in enumerate(text.splitlines(), start=1):
        if not inside_fence and (found := _TOML_LINE.match(line)):
            path = _toml_key(found["key"])
            if found["header"] == "[[":
                items[path] = items.get(path, 0) + 1
                section = (*path, str(items[path]))  # the first one is 1, as people count
                yield section, number
            elif found["header"]:
                section = path
                yield section, number
            else:
                yield (*section, *path), number
        inside_fence ^= len(_TOML_FENCE.findall(line)) % 2 == 1


def _toml_key(written: str) -> Path:
    return tuple(_toml_part(part) for part in re.findall(_TOML_PART, written))


def _toml_part(part: str) -> str:
    if part[0] not in "\"'":
        return part
    if "\\" not in part:
        return part[1:-1]
    try:
        return next(iter(tomllib.loads(f"{part} = 0")))
    except tomllib.TOMLDecodeError:
        return part[1:-1]


def _json_lines(stripped: str) -> Iterator[tuple[Path, int]]:
    """Every member's line. The text has been parsed already, so a string before a colon is a key."""
    line, keys, last = 1, [""], ""
    for token in _JSON_TOKEN.finditer(stripped):
        match token[0]:
            case "\n":
                line += 1
            case "{" | "[":
                keys.append("")
            case "}" | "]":
                keys.pop()
            case ":":
                keys[-1] = json.loads(last)
                yield tuple(key for key in keys[1:] if key), line
            case ",":
                pass
            case string:
                last = string
