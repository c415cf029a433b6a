"""kumo.domain_map: a trie without a way back; every read out of a cache copies it whole."""

from typing import Any

from tests.contract.reference.trie import matching_key
from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, frozen, lua_kind, text_of, thawed


class DomainMap(Userdata):
    """Values by domain, wildcards at labels."""

    memoizable = True

    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries = entries

    def field(self, name: object) -> Any:
        key = matching_key(self._entries, text_of(name), "stock")
        return None if key is None else thawed(self._entries[key])

    def assign(self, name: object, value: object) -> None:
        self._entries[text_of(name)] = frozen(value)


def _new(entries: Any = None) -> DomainMap:
    if entries is None:
        return DomainMap({})
    if lua_kind(entries) != "table":
        raise KumoError(f"error converting Lua {lua_kind(entries)} to HashMap")
    return DomainMap({text_of(key): frozen(value) for key, value in entries.items()})


def library() -> dict[str, Native]:
    return {"kumo.domain_map.new": Native(_new)}
