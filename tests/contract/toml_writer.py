"""
Writes the plain values of the test data as TOML, because Python's standard library only reads it.
"""

import json
from collections.abc import Iterator, Mapping


def to_toml(file: Mapping[str, object]) -> str:
    """The text that `tomllib` reads back as the same tables."""
    return "\n".join(_section(file, ())) + "\n"


def _section(table: Mapping[str, object], path: tuple[str, ...]) -> Iterator[str]:
    if path:
        yield f"[{'.'.join(_text(part) for part in path)}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{_text(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _section(value, (*path, key))


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            return f"{{{', '.join(f'{_text(key)} = {_value(item)}' for key, item in value.items())}}}"
        case _:
            raise TypeError(f"TOML has no way to write {value!r}")


def _text(value: str) -> str:
    # JSON's escapes are TOML's, save that TOML also wants DEL escaped and knows no surrogate pairs.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
