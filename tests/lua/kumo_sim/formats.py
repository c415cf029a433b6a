"""Which values kumod's constructors take: `problem` is serde's sentence about one that they refuse, held to constructors.jsonl."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

_UNITS = {
    1e-9: "nsec ns",
    1e-6: "usec us",
    1e-3: "msec ms",
    1: "seconds second secs sec s",
    60: "minutes minute mins min m",
    3600: "hours hour hrs hr h",
    86400: "days day d",
    604800: "weeks week wks wk w",
    2630016: "months month M",
    31557600: "years year yrs yr y",
}
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names.split()}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_THROTTLE = re.compile(
    r"(local:)?([\d_,]*\d[\d_]*)/(\d*)(s|sec|second|m|min|minute|h|hr|hour|d|day)(?:,max_burst=([\d_,]+))?"
)
_LIMIT = re.compile(r"(?:local:)?([\d_,]+)")
_SOCKET = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
_OPENSSL = frozenset(["ALL", "NO_SSLV2", "NO_SSLV3", "NO_TLSV1", "NO_TLSV1_1", "NO_TLSV1_2", "NO_TLSV1_3"])
_RUSTLS = frozenset(
    ["TLS13_AES_256_GCM_SHA384", "TLS13_AES_128_GCM_SHA256", "TLS13_CHACHA20_POLY1305_SHA256"]
    + [
        f"TLS_ECDHE_{key}_WITH_{cipher}"
        for key in ("RSA", "ECDSA")
        for cipher in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
    ]
)


def seconds_of(value: Any) -> float:
    """Seconds of a duration that was accepted."""
    if isinstance(value, int | float):
        return float(value)
    text = value.decode()
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))


def throttle_of(value: bytes) -> tuple[int, float, int]:
    """Limit, period in seconds and burst of a rate that was accepted."""
    found = _THROTTLE.fullmatch(value.decode())
    assert found is not None
    limit = _number(found[2])
    return limit, float(found[3] or 1) * _SECONDS[found[4]], _number(found[5]) if found[5] else limit


def problem(spelled: str, value: Any) -> str | None:
    """What is wrong with *value* for an option of this format, or None."""
    if spelled.startswith("list:"):
        return _list(spelled.removeprefix("list:"), value)
    if spelled.startswith("map:"):
        return _map(spelled.removeprefix("map:"), value)
    if spelled.startswith("bool|") and isinstance(value, bool):
        return None
    spelled = spelled.removeprefix("bool|")
    if spelled.startswith("enum:"):
        names = spelled.removeprefix("enum:").split("|")
        wanted = ", ".join(f"`{name}`" for name in names)
        known = isinstance(value, bytes) and value.decode(errors="replace") in names
        return None if known else f"unknown variant {_spelled(value)}, expected one of {wanted}"
    check, expected = _CHECKS[spelled]
    if check(value):
        return None
    of_numbers = spelled in {"port", "u8", "count", "positive"}
    kind = (
        "value" if isinstance(value, int if of_numbers else bytes) and not isinstance(value, bool) else "type"
    )
    return f"invalid {kind}: {_spelled(value)}, expected {expected}"


def _list(inner: str, value: Any) -> str | None:
    if isinstance(value, dict):
        return None  # mlua reads a table's sequence, and a map has none
    if not isinstance(value, list):
        return f"invalid type: {_spelled(value)}, expected a sequence"
    return next((found for item in value if (found := problem(inner, item))), None)


def _map(inner: str, value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"invalid type: {_spelled(value)}, expected a map"
    return next((found for item in value.values() if (found := problem(inner, item))), None)


def _spelled(value: Any) -> str:
    if isinstance(value, bytes):
        return f'string "{value.decode(errors="replace")}"'
    if isinstance(value, bool):
        return f"boolean `{str(value).lower()}`"
    if isinstance(value, int):
        return f"integer `{value}`"
    if isinstance(value, float):
        return f"floating point `{value}`"
    return "nil" if value is None else "sequence" if isinstance(value, list) else "map"


def _number(digits: str) -> int:
    return int(digits.replace("_", "").replace(",", "") or 0)


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, bytes) and value.decode() is not None
    except UnicodeDecodeError:
        return False


def _is_integer(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_duration(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return 0 <= value < 2**63
    if not _is_text(value):
        return False
    rest = value.decode()
    if rest in {"", "0"}:
        return bool(rest)
    while rest:
        found = _DURATION_PART.match(rest)
        if found is None or found[2] not in _SECONDS:
            return False
        rest = rest[found.end() :]
    return not value.endswith(b" ")


def _is_throttle(value: Any) -> bool:
    found = _THROTTLE.fullmatch(value.decode()) if _is_text(value) else None
    return found is not None and _number(found[2]) > 0


def _is_limit(value: Any) -> bool:
    if isinstance(value, dict):
        return (
            value.keys() <= {b"limit", b"force_local"}
            and _is_integer(0, 2**63)(value.get(b"limit"))
            and isinstance(value.get(b"force_local", True), bool)
        )
    if _is_text(value):
        found = _LIMIT.fullmatch(value.decode())
        return found is not None and _number(found[1]) > 0
    return _is_integer(1, 2**63)(value)


def _is_network(value: Any) -> bool:
    if not _is_text(value):
        return False
    text = value.decode()
    try:
        return text == "any" or bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def _is_address(value: Any) -> bool:
    try:
        return _is_text(value) and bool(ipaddress.ip_address(value.decode()))
    except ValueError:
        return False


def _is_socket(value: Any) -> bool:
    if not _is_text(value):
        return False
    found = _SOCKET.fullmatch(value.decode())
    return value.startswith(b"/") or (found is not None and int(found[2]) < 2**16)


def is_key_source(value: Any) -> bool:
    """Whether a value is one of the four shapes of a KeySource."""
    if not isinstance(value, dict):
        return _is_text(value)
    if isinstance(value.get(b"key_data"), bytes):
        return True
    if _is_text(value.get(b"vault_mount")) and _is_text(value.get(b"vault_path")):
        return True
    return _is_text(value.get(b"event_name")) and isinstance(value.get(b"event_args"), list)


def _is_suspend(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {b"duration", b"trigger"}:
        return False
    trigger = value.get(b"trigger", b"Immediate")
    threshold = isinstance(trigger, dict) and trigger.keys() == {b"Threshold"}
    return _is_duration(value.get(b"duration")) and (
        trigger == b"Immediate" or (threshold and _is_throttle(trigger[b"Threshold"]))
    )


def _is_mx(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_text(value.get(b"name")) and _is_text(value.get(b"addr"))
    return _is_text(value)


def _is_protocol(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if isinstance(smtp := value.get(b"smtp"), dict):
        hosts = smtp.get(b"mx_list", [])
        known = smtp.keys() <= {b"mx_list", b"treat_mx_list_as_secure"}
        return known and (isinstance(hosts, dict) or (isinstance(hosts, list) and all(map(_is_mx, hosts))))
    if isinstance(lua := value.get(b"custom_lua"), dict):
        known = lua.keys() <= {b"constructor", b"batch_size", b"min_batch_size", b"max_batch_latency"}
        return known and _is_text(lua.get(b"constructor"))
    if isinstance(target := value.get(b"xfer"), dict):
        return _is_text(target.get(b"target"))
    return _is_text(value.get(b"maildir_path"))


def _is_shrink(value: Any) -> bool:
    policies = {b"ShrinkDataAndMeta", b"ShrinkData", b"NoShrink"}
    return (
        isinstance(value, dict) and _is_duration(value.get(b"interval")) and value.get(b"policy") in policies
    )


def _is_entry(value: Any) -> bool:
    known = isinstance(value, dict) and value.keys() <= {b"name", b"weight"}
    return known and _is_text(value.get(b"name")) and _is_integer(0, 2**32 - 1)(value.get(b"weight", 1))


def _is_one_of(names: frozenset[str], *, joined: bool = False) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        if not _is_text(value):
            return False
        words = value.decode().upper().split("|") if joined else [value.decode().upper()]
        return all(word in names for word in words)

    return check


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "a boolean"),
    "text": (_is_text, "a string"),
    "port": (_is_integer(0, 2**16 - 1), "u16"),
    "u8": (_is_integer(0, 255), "u8"),
    **dict.fromkeys(("count", "positive"), (_is_integer(0, 2**64 - 1), "usize")),
    **dict.fromkeys(("duration", "interval", "age", "tick"), (_is_duration, "a duration")),
    "throttle": (_is_throttle, "a throttle spec"),
    "limit": (_is_limit, "a limit spec"),
    "network": (_is_network, "a CIDR"),
    "address": (_is_address, "an IP address"),
    "socket": (_is_socket, "a socket address"),
    "secret": (is_key_source, "data that did not match any variant of untagged enum KeySource"),
    "suspend": (_is_suspend, "a suspension"),
    "protocol": (_is_protocol, "data that did not match any variant of untagged enum DeliveryProto"),
    "shrink": (_is_shrink, "a shrink policy"),
    "entry": (_is_entry, "struct EgressPoolEntry"),
    "openssl_options": (_is_one_of(_OPENSSL, joined=True), "openssl options"),
    "rustls": (_is_one_of(_RUSTLS), "a cipher suite"),
    "any": (lambda _: True, "anything"),
}
