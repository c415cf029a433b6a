"""kumo.cidr: values by network; the longest one that holds an address is its."""

import ipaddress
from typing import Any

from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError
from tests.lua.kumo_sim.values import Userdata, frozen, lua_kind, text_of, thawed

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class CidrMap(Userdata):
    """Values by network."""

    memoizable = True

    def __init__(self) -> None:
        self._entries: dict[Network, Any] = {}

    def field(self, name: object) -> Any:
        asked = _network(text_of(name))
        holding = [
            network
            for network in self._entries
            if network.version == asked.version and asked.subnet_of(network)  # type: ignore[arg-type]
        ]
        return thawed(self._entries[max(holding, key=lambda each: each.prefixlen)]) if holding else None

    def assign(self, name: object, value: object) -> None:
        self._entries[_network(text_of(name))] = frozen(value)


def _network(written: str) -> Network:
    for text in (written, written.rpartition(":")[0].strip("[]"), written.strip("[]")):
        try:
            return ipaddress.ip_network(text)
        except ValueError:
            continue
    raise KumoError(f"failed to parse '{written}' as an IP address")


def _make(entries: Any = None) -> CidrMap:
    made = CidrMap()
    if entries is not None:
        if lua_kind(entries) != "table":
            raise KumoError(f"error converting Lua {lua_kind(entries)} to HashMap")
        for key, value in entries.items():
            made.assign(key, value)
    return made


def library() -> dict[str, Native]:
    return {"kumo.cidr.make_map": Native(_make)}
