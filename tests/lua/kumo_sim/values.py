"""
Values on their way between Lua and kumod's Rust side.

Lua strings are bytes here. What serde makes of a Lua value is `plain`: None, bool, int, float, bytes, list, dict.
What memoize and mpsc hold is `Frozen`, and Lua gets a `MemoizedTable` of it.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, TypeAlias

from lupa.lua54 import lua_type

from tests.lua.kumo_sim.errors import KumoError, NotSimulated

Plain: TypeAlias = bool | int | float | bytes | list[Any] | dict[Any, Any] | None


class Userdata:
    """What Lua sees as a userdata with methods; names in *elsewhere* are kumod's and not simulated."""

    sync: ClassVar[tuple[str, ...]] = ()
    awaiting: ClassVar[tuple[str, ...]] = ()
    elsewhere: ClassVar[tuple[str, ...]] = ()
    memoizable = False

    def field(self, name: object) -> Any:
        """A field that is no method."""
        if isinstance(name, bytes) and name.decode(errors="replace") in self.elsewhere:
            raise NotSimulated(f"{type(self).__name__}:{name.decode()} is not simulated")
        return None

    def assign(self, name: object, value: object) -> None:
        raise KumoError(f"attempt to index a {type(self).__name__} value (no __newindex): {name!r}")

    def length(self) -> int:
        raise KumoError(f"attempt to get length of a {type(self).__name__} value")

    def items(self) -> Iterator[tuple[Any, Any]]:
        raise KumoError(f"bad argument #1 to 'for iterator' (table expected, got {type(self).__name__})")

    def as_text(self) -> str | bytes:
        return f"{type(self).__name__}: 0x{id(self):x}"


class Frozen:
    """A table as a cache holds it."""

    __slots__ = ("entries",)

    def __init__(self, entries: dict[bytes | int, Any]) -> None:
        self.entries = entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self.entries == other.entries

    __hash__ = None  # type: ignore[assignment]  # compared, never a key


class MemoizedTable(Userdata):
    """A handle of a cached table: cheap to read, private when written."""

    memoizable = True

    def __init__(self, frozen: Frozen) -> None:
        self.entries = frozen.entries
        self._shared = True

    def field(self, name: object) -> Any:
        if isinstance(name, float) or not isinstance(name, bytes | int):
            return None
        return thawed(self.entries.get(name))

    def assign(self, name: object, value: object) -> None:
        if isinstance(name, bool) or not isinstance(name, bytes | int):
            raise KumoError("invalid key type while trying to call __newindex and assign a value")
        if self._shared:
            self.entries = dict(self.entries)
            self._shared = False
        self.entries[name] = frozen(value)

    def length(self) -> int:
        return len(self.entries)

    def items(self) -> Iterator[tuple[Any, Any]]:
        # nil stored by an assignment is still yielded, and ends nothing in mlua's own iterator.
        return ((key, thawed(value)) for key, value in self.entries.items())


def thawed(value: Any) -> Any:
    """What Lua gets for a value out of a cache."""
    return MemoizedTable(value) if isinstance(value, Frozen) else value


def frozen(value: Any) -> Any:
    """The value as a cache holds it; raises for what cannot be held."""
    kind = lua_type(value)
    if isinstance(value, MemoizedTable):
        return Frozen(value.entries)
    if isinstance(value, Userdata):
        if value.memoizable:
            return value
        raise KumoError(f"error converting Lua nil to function: {type(value).__name__} has no __memoize")
    if kind == "table":
        return Frozen({_map_key(key): frozen(item) for key, item in value.items()})
    if isinstance(value, bytes):
        _must_be_text(value)
        return value
    return plain(value)


def _map_key(key: Any) -> bytes | int:
    if isinstance(key, bool) or not isinstance(key, bytes | int):
        raise KumoError(f"table key {key!r} cannot be used as a key in a memoizable table")
    return key


def _must_be_text(value: bytes) -> None:
    try:
        value.decode()
    except UnicodeDecodeError:
        listed = ",".join(map(str, value))
        raise KumoError(
            f"deserialize error: invalid type: byte array, expected any valid JSON value, while processing [{listed}]"
        ) from None


def plain(value: Any, *, serializing: bool = False) -> Plain:
    """What serde sees: tables become lists if they have a border, otherwise maps."""
    kind = lua_type(value)
    if kind is None:
        if isinstance(value, MemoizedTable):
            return _plain_frozen(Frozen(value.entries))
        if isinstance(value, Userdata | BaseException):
            raise KumoError(_unsupported("userdata", serializing=serializing))
        return value  # type: ignore[no-any-return]  # a scalar
    if kind != "table":
        raise KumoError(_unsupported(kind, serializing=serializing))
    border = len(value)
    if border > 0:
        return [plain(value[i], serializing=serializing) for i in range(1, border + 1)]
    return {key: plain(item, serializing=serializing) for key, item in value.items()}


def _plain_frozen(value: Any) -> Plain:
    if not isinstance(value, Frozen):
        return value  # type: ignore[no-any-return]  # a scalar
    entries = value.entries
    if 1 in entries and all(isinstance(key, int) for key in entries):
        return [_plain_frozen(entries.get(i)) for i in range(1, max(map(int, entries)) + 1)]
    # A nil that was assigned is there for `pairs` and gone for a table.
    return {key: _plain_frozen(item) for key, item in entries.items() if item is not None}


def _unsupported(kind: str, *, serializing: bool) -> str:
    if serializing:
        return f"cannot serialize <{kind}>"
    return (
        f"deserialize error: unsupported value type `{kind}`, while processing "
        f"<unable to encode as json: cannot serialize <{kind}>>"
    )


def text_of(value: object, *, what: str = "String") -> str:
    """A string argument, as mlua's String takes it: numbers too, nothing else."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise KumoError("error converting Lua string to String (invalid utf-8 sequence)") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise KumoError(f"error converting Lua {lua_kind(value)} to {what} (expected string or number)")


def bytes_of(value: object) -> bytes:
    """A byte string argument."""
    return value if isinstance(value, bytes) else text_of(value).encode()


def integer_of(value: object, *, unsigned: bool = True, bits: int = 64) -> int:
    """An integer argument: floats with a whole value are integers in Lua, and others are truncated by mlua."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KumoError(f"error converting Lua {lua_kind(value)} to {'u' if unsigned else 'i'}{bits}")
    whole = int(value)
    least, most = (0, 2**bits) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not least <= whole < most:
        name = f"{'u' if unsigned else 'i'}{bits}"
        raise KumoError(f"error converting Lua integer to {name} (out of range)")
    return whole


def lua_kind(value: object) -> str:
    """Lua's name for the type of a value."""
    kind = lua_type(value)
    if kind is not None:
        return str(kind)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, bytes):
        return "string"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "userdata"


def decoded(value: Any) -> Any:
    """A plain value with text instead of bytes, for tests to look at."""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, dict):
        return {decoded(key): decoded(item) for key, item in value.items()}
    return value


def encoded(value: Any, table: Callable[[Any], Any]) -> Any:
    """A Python value as Lua takes it; *table* makes a Lua table of a dict."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, list | tuple):
        # Made full and then given its holes, so that its length is the list's, as with mlua.
        made = table([False if item is None else encoded(item, table) for item in value])
        for i in (i for i, item in enumerate(value, 1) if item is None):
            made[i] = None
        return made
    if isinstance(value, dict):
        return table({encoded(k, table): encoded(v, table) for k, v in value.items() if v is not None})
    return value
