"""kumo.json_parse and kumo.json_encode: comments allowed, null lost, errors that quote what they were given."""

import json
import math
import re
from typing import Any, NoReturn

from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Plain

_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|#[^\n]*|/\*.*?\*/', re.DOTALL)
_LARGEST = 2**63


def parse(text: str) -> Any:
    """The value, with dict, list and text; null is None."""
    stripped = _COMMENT.sub(lambda found: found[1] or " ", text)
    try:
        value = json.loads(stripped, parse_constant=_no_constant, parse_int=_integer)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise KumoError(f"parsing {text} as json: {_wording(stripped, error)}") from None
    except (ValueError, UnicodeEncodeError):
        raise KumoError(f"parsing {text} as json: expected value at line 1 column 1") from None
    return value


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _integer(digits: str) -> int | float:
    value = int(digits)
    return value if -_LARGEST <= value < _LARGEST else float(value)


def _wording(text: str, error: json.JSONDecodeError) -> str:
    if error.pos >= len(text.rstrip()):
        return f"EOF while parsing a value at line {error.lineno} column {max(error.colno - 1, 0)}"
    words = "trailing characters" if error.msg == "Extra data" else "expected value"
    return f"{words} at line {error.lineno} column {error.colno}"


def encode(value: Plain, *, sort: bool = False) -> str:
    """JSON of a plain value, keys as they come unless *sort*."""
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"), sort_keys=sort)


def encode_pretty(value: Plain) -> str:
    return json.dumps(_jsonable(value), ensure_ascii=False, indent=2, sort_keys=True)


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return list(value)
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise KumoError("key must be a string") from None
    return json.dumps(key)
