"""kumo.make_listener_domain and its siblings: what they refuse, and what they were given."""

import functools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import Userdata, decoded

OPTIONS = Path(__file__).parents[3] / "sql" / "options.toml"
_REQUIRED = {"egress_source": {"name"}, "egress_pool": {"name"}}
_NOT_KUMOS = {("listener_domain", "relay_from_authz")}
CONSTRUCTORS = {
    "make_listener_domain": "listener_domain",
    "make_egress_source": "egress_source",
    "make_egress_pool": "egress_pool",
    "make_queue_config": "queue_config",
    "make_egress_path": "egress_path",
}


@dataclass(eq=False)
class Made(Userdata):
    """What a constructor made: tests read its parameters, Lua nothing."""

    kind: str
    params: dict[str, Any] = field(default_factory=dict)

    def as_text(self) -> str:
        return f"{self.kind}: 0x{id(self):x}"


@functools.cache
def fields_of(kind: str) -> dict[str, Field]:
    """The options of one constructor."""
    catalogue = tomllib.loads(OPTIONS.read_text())[kind]
    return {
        name: Field(
            option if isinstance(option, str) else option["format"], name in _REQUIRED.get(kind, set())
        )
        for name, option in catalogue.items()
        if "." not in name and (kind, name) not in _NOT_KUMOS
    }


def make(kind: str, params: Any) -> Made:
    """The object, or the error that kumod raises."""
    return Made(kind, decoded(record(kind, fields_of(kind), params)))
