"""One Lua context: a Lua 5.4 of its own with the simulated kumo in it and the whole policy evaluated."""

import contextlib
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lupa.lua54 import LuaRuntime

from tests.lua.kumo_sim.errors import HandlerFailed, KumoError, NotSimulated
from tests.lua.kumo_sim.values import Userdata, encoded

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

PRELUDE = (Path(__file__).parent / "prelude.lua").read_bytes()


@dataclass(frozen=True, slots=True)
class Native:
    """A function of kumod's; one that awaits is a coroutine function."""

    call: Callable[..., Any]
    awaits: bool = False


class Plug:
    """Something for Lua to hold whose only use is its metatable."""


class Context:
    """
    A context; `close` it, because Python's collector does not see through Lua.

    Python objects that Lua holds may know the context, and never anything of Lua's.
    """

    def __init__(self, process: "Process", natives: Callable[["Context"], Mapping[str, Native]]) -> None:
        self.process = process
        self.epoch = process.epoch
        self.born = process.clock.now
        self.uses = 0
        self.closing: dict[object, Callable[[], None]] = {}
        self._methods: dict[tuple[type, bytes], tuple[str, Any]] = {}
        self._lua: Any = LuaRuntime(encoding=None, unpack_returned_tuples=True, register_eval=False)
        self.table: Callable[[Any], Any] = self._lua.table_from
        host = self.table({name.encode(): self._guarded(call) for name, call in self._host().items()})
        absent = self.table(dict.fromkeys((name.encode() for name in process.absent), True))
        self._bridge: Any = self._lua.execute(PRELUDE, host, absent)
        self._bridge.dress(Plug())
        for path, native in natives(self).items():
            self._bridge.define(path.encode(), self._native(native))
        self._bridge.define(b"kumo.version", process.version.encode())
        self._lua.execute(b"package.path = ...", process.package_path.encode())
        self._lua.execute(b"math.randomseed(...)", process.random.getrandbits(31))

    @property
    def closed(self) -> bool:
        return self._lua is None

    def close(self) -> None:
        """Free it."""
        for close in list(self.closing.values()):
            close()
        self.closing.clear()
        self._methods.clear()
        self._bridge = self._lua = None
        self.table = _closed

    # Calling into Lua

    async def evaluate(self, text: bytes, name: str) -> None:
        """Run a script, as kumod does with the policy when it makes a context."""
        try:
            thread = self._bridge.chunk(text, name.encode())
        except Exception as error:  # noqa: BLE001 - a syntax error, whatever lupa calls it
            raise HandlerFailed(str(error).encode()) from None
        await self._drive(thread, ())

    async def call(self, event: str, *arguments: Any, several: bool = False) -> tuple[Any, ...] | None:
        """
        What the handlers of an event answered: None if there are none.

        Where several handlers may be, the first that returns any value ends it, be it nil.
        """
        count = self._bridge.handler_count(event.encode())
        if not count:
            return None
        given = tuple(self.lua_value(argument) for argument in arguments)
        results: tuple[Any, ...] = ()
        for i in range(1, count + 1 if several else 2):
            results = await self._drive(self._bridge.event(event.encode(), i), given)
            if results:
                break
        return results

    async def call_function(self, function: Any, *arguments: Any) -> tuple[Any, ...]:
        """What a Lua function of this context returns."""
        given = tuple(self.lua_value(argument) for argument in arguments)
        return await self._drive(self._bridge.thread(function), given)

    def has(self, event: str) -> bool:
        return bool(self._bridge.handler_count(event.encode()))

    def events(self) -> list[str]:
        return sorted(name.decode() for name in self._bridge.handlers_named().values())

    async def _drive(self, thread: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        resume = self._bridge.resume
        while True:
            self.process.steps += 1
            status, ok, *results = _tuple(resume(thread, *given))
            if not ok:
                raise HandlerFailed(results[0] if results else None)
            if status == b"dead":
                return tuple(results)
            given = await self._awaited(results[0] if results else None)

    async def _awaited(self, pending: Any) -> tuple[Any, ...]:
        if not isinstance(pending, Coroutine):
            raise HandlerFailed(b"attempt to yield from outside a coroutine")
        try:
            return (True, *self._results(await pending))
        except KumoError as error:
            return (False, self._bare(error))

    # Being called by Lua

    def _native(self, native: Native) -> Any:
        wrap = self._bridge.awaiting if native.awaits else self._bridge.sync
        return wrap(self._guarded(native.call))

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def run(*arguments: Any) -> tuple[Any, ...]:
            try:
                return (True, *self._results(call(*arguments)))
            except KumoError as error:
                return (False, self._bare(error))
            except Exception as error:  # noqa: BLE001 - a fault of the simulation must not look like one of kumod
                where = "".join(traceback.format_exception(error))
                self.process.problems.append(AssertionError(f"the simulation is wrong: {where}"))
                return (False, KumoError(f"the simulation is wrong: {error!r}"))

        return run

    def _bare(self, error: KumoError) -> KumoError:
        """
        The error without its traceback: frames hold Lua values, and those of a coroutine must not outlive it.

        lupa lets go of a value through the state that it came from, which is freed with the coroutine.
        """
        error.__traceback__ = error.__context__ = error.__cause__ = None
        if isinstance(error, NotSimulated):
            self.process.problems.append(error)
        return error

    def _results(self, result: Any) -> Iterable[Any]:
        values = result if type(result) is tuple else (result,)
        return [self.lua_value(value) for value in values]

    def lua_value(self, value: Any) -> Any:
        """The value as Lua takes it: text as bytes, lists and dicts as tables."""
        return encoded(value, self.table)

    def _host(self) -> dict[str, Callable[..., Any]]:
        process = self.process
        return {
            "missing": _missing,
            "bad_handler": _bad_handler,
            "may_register": _may_register(process),
            "already_registered": _already_registered,
            "index": self._index,
            "assign": _assign,
            "length": lambda ud: _userdata(ud).length(),
            "items": self._items,
            "as_text": lambda ud: (
                ud.as_lua_shows_it() if isinstance(ud, KumoError) else _userdata(ud).as_text()
            ),
            "memo_declare": process.memos.declare,
            "memo_begin": process.memos.begin(self),
            "memo_store": process.memos.store,
            "params": _params,
            "wall": lambda: int(process.clock.wall),
            "print": process.print,
        }

    def _index(self, ud: Any, key: Any) -> tuple[str, Any]:
        # Methods are wrapped by the prelude: while a coroutine runs, nothing of Lua's may be called from here.
        if isinstance(key, bytes) and (method := self._method(type(ud), key)) is not None:
            return method
        return "field", _userdata(ud).field(key)

    def _method(self, kind: type, key: bytes) -> tuple[str, Any] | None:
        known = self._methods.get((kind, key))
        if known is None and issubclass(kind, Userdata):
            name = key.decode(errors="replace")
            if name in kind.sync or name in kind.awaiting:
                how = "sync" if name in kind.sync else "awaiting"
                known = self._methods[kind, key] = (how, self._guarded(_unbound(kind, name)))
        return known

    def _items(self, ud: Any) -> tuple[Any, Any]:
        pairs = list(_userdata(ud).items())
        keys = self.table({i: self.lua_value(key) for i, (key, _) in enumerate(pairs, 1)})
        values = {i: self.lua_value(value) for i, (_, value) in enumerate(pairs, 1) if value is not None}
        return keys, self.table(values)


def _unbound(kind: type, name: str) -> Callable[..., Any]:
    # A name that is a builtin's here has an underscore behind it.
    method: Callable[..., Any] = getattr(kind, f"{name}_", None) or getattr(kind, name)

    def call(*arguments: Any) -> Any:
        if not arguments or not isinstance(arguments[0], kind):
            raise KumoError(f"bad argument `self` to `{kind.__name__}.{name}`: userdata expected")
        return method(*arguments)

    return call


def _userdata(ud: Any) -> Userdata:
    if isinstance(ud, Userdata):
        return ud
    raise KumoError(f"attempt to index a {type(ud).__name__} value")


def _assign(ud: Any, key: Any, value: Any) -> tuple[()]:
    _userdata(ud).assign(key, value)
    return ()


def _missing(name: bytes) -> Any:
    raise NotSimulated(f"{name.decode()} is not simulated")


def _bad_handler() -> Any:
    raise KumoError("bad argument: error converting Lua value to function")


def _already_registered(name: bytes, where: bytes) -> Any:
    raise KumoError(f"{name.decode()} event already has a handler defined at {where.decode()}")


def _may_register(process: "Process") -> Callable[[bytes, bytes | None], bool]:
    def several(name: bytes, during: bytes | None) -> bool:
        if during not in {None, b"main"}:
            raise KumoError(
                f"Attempting to register an event handler via `kumo.on('{name.decode()}', ...)` "
                f"from within the event handler '{during.decode() if during else ''}'."
            )
        return name.decode() in process.several

    return several


def _params(kind: bytes, made: Any) -> dict[str, Any]:
    if getattr(made, "kind", None) != kind.decode():
        raise KumoError(f"error converting Lua value to {kind.decode()}")
    params: dict[str, Any] = made.params
    return params


def _tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _closed(_: Any) -> Any:
    raise KumoError("this Lua context is closed")


@contextlib.asynccontextmanager
async def closing(context: Context) -> AsyncIterator[Context]:
    """The context for one use."""
    try:
        yield context
    finally:
        context.close()
