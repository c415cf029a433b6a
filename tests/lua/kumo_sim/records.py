"""Parameter tables as serde reads them: unknown fields refused, with the whole table in the error's text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.lua.kumo_sim import text_json
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.formats import problem
from tests.lua.kumo_sim.values import plain


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a parameter table."""

    format: str
    required: bool = False


def record(name: str, fields: Mapping[str, Field], value: Any, *, lenient: bool = False) -> dict[str, Any]:
    """The table's fields by name, strings as bytes; *lenient* where kumod ignores what it does not know."""
    given = plain(value)
    if not isinstance(given, dict):
        kind = "nil" if given is None else "sequence" if isinstance(given, list) else "value"
        raise _refused(
            f"invalid type: {kind}, expected {'table' if given is None else f'struct {name}'}", given
        )
    found: dict[str, Any] = {}
    for key, item in given.items():
        spelled = key.decode(errors="replace") if isinstance(key, bytes) else str(key)
        if spelled not in fields:
            if lenient:
                continue
            expected = ", ".join(f"`{known}`" for known in fields)
            raise _refused(f"unknown field `{spelled}`, expected one of {expected}", given)
        if (wrong := problem(fields[spelled].format, item)) is not None:
            raise _refused(wrong, given)
        found[spelled] = item
    for missing in (spelled for spelled, field in fields.items() if field.required and spelled not in found):
        raise _refused(f"missing field `{missing}`", given)
    return found


def _refused(wrong: str, given: Any) -> KumoError:
    return KumoError(f"deserialize error: {wrong}, while processing {text_json.encode(given, sort=True)}")
