"""What somebody wrote, in TOML or as text, as a value of the type that a setting has."""

import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

from policyd.units import Address, Bytes, Seconds, parse_address, parse_boolean, parse_duration, parse_size


def converted(wanted: Any, value: object) -> object:
    """*value* as the type *wanted*; ValueError with the half of a sentence that says what would have been right."""
    if typing.get_origin(wanted) in (UnionType, typing.Union):  # of a NewType it is the latter
        [wanted] = [option for option in typing.get_args(wanted) if option is not NoneType]
        if value in ("", "none"):
            return None
    if typing.get_origin(wanted) is Literal:
        options = typing.get_args(wanted)
        if value not in options:
            raise ValueError(f"is none of {', '.join(options)}")
        return value
    if isinstance(value, bool) and wanted is not bool:
        raise ValueError("is a boolean, and that is not what belongs here")
    if wanted is str or wanted is Path:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("is not text")
        return Path(value).expanduser().absolute() if wanted is Path else value
    if wanted in (Seconds, Bytes, float, int) and isinstance(value, int | float):
        return _number(wanted, value)
    if wanted is bool and isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _PARSERS[wanted](value)
    raise ValueError("has the wrong type")


def _number(wanted: Any, value: float) -> float:
    if wanted in (int, Bytes):
        if not float(value).is_integer():
            raise ValueError("is not a whole number")
        return int(value)
    return float(value)


def _parse_int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("is not a number") from None


_PARSERS: Mapping[Any, Callable[[str], object]] = {
    Address: parse_address,
    Bytes: parse_size,
    Seconds: parse_duration,
    bool: parse_boolean,
    float: _parse_float,
    int: _parse_int,
}
