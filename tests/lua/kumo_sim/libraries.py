"""Which functions the simulated kumo has, and what stands behind each of them."""

import functools
import tomllib
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lua.kumo_sim import cidrs, domain_map, files, http, keys, regexes, shaping, signing, text_json
from tests.lua.kumo_sim.constructors import CONSTRUCTORS, make
from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import HandlerFailed, KumoError, NotSimulated, Rejected
from tests.lua.kumo_sim.messages import make_message
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.resolving import Resolver
from tests.lua.kumo_sim.sqlite import open_database
from tests.lua.kumo_sim.throttles import make_throttle
from tests.lua.kumo_sim.values import decoded, integer_of, lua_kind, plain, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.context import Context
    from tests.lua.kumo_sim.process import Process

LRUTTL_CACHES = frozenset(
    {"dkim_signer_cache", "dkim_key_cache", "egress_source_pools", "egress_source_sources"}
)
TASK = {"event_name": Field("text", required=True), "args": Field("any", required=True)}
LOG_HOOK = {
    "name": Field("text", required=True),
    "back_pressure": Field("count"),
    "meta": Field("list:text"),
    "headers": Field("list:text"),
    "per_record": Field("any"),
    "deferred_spool": Field("bool"),
}
# Called in `init` or at file scope for what a simulation has no use for: noted in Process.configured, and no more.
NOTED = (
    "configure_accounting_db_path",
    "configure_bounce_classifier",
    "configure_local_logs",
    "define_spool",
    "set_config_monitor_globs",
    "set_diagnostic_log_filter",
    "set_lua_gc_on_put",
    "set_max_lua_context_age",
    "set_max_lua_context_use_count",
    "set_max_spare_lua_contexts",
    "start_esmtp_listener",
    "start_http_listener",
)


def natives(context: "Context") -> dict[str, Native]:
    """Every function by its dotted name."""
    process = context.process
    return {
        **_json(),
        **_process_wide(process),
        **_making(process),
        **keys.library(process),
        **files.library(),
        **signing.library(process),
        **shaping.library(process),
        **cidrs.library(),
        **domain_map.library(),
        **regexes.library(),
        **_asking(process),
        "kumo.http.build_client": Native(functools.partial(http.build_client, context)),
        "kumo.http.connect_websocket": Native(http.connect_websocket),
        "sqlite.open": Native(functools.partial(open_database, process)),
    }


def _json() -> dict[str, Native]:
    functions = {
        "json_parse": Native(lambda text: text_json.parse(text_of(text))),
        "json_encode": Native(lambda value=None: text_json.encode(plain(value, serializing=True))),
        "json_encode_pretty": Native(
            lambda value=None: text_json.encode_pretty(plain(value, serializing=True))
        ),
        "json_load": Native(_loader(text_json.parse), awaits=True),
        "toml_load": Native(_loader(_toml), awaits=True),
        "toml_parse": Native(lambda text: _toml(text_of(text))),
    }
    return {f"kumo.{module}{name}": native for module in ("", "serde.") for name, native in functions.items()}


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise KumoError(f"parsing {text} as toml: {error}") from None


def _loader(parse: Any) -> Any:
    async def load(path: Any) -> Any:
        name = text_of(path)
        try:
            return parse(Path(name).read_text())
        except OSError as error:
            raise KumoError(f"reading file {name}: {error.strerror} (os error {error.errno})") from None

    return load


def _process_wide(process: "Process") -> dict[str, Native]:
    async def sleep(seconds: Any) -> tuple[()]:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise KumoError(f"error converting Lua {lua_kind(seconds)} to f64")
        if not 0 <= seconds < 2**63:
            raise NotSimulated("a negative or endless sleep ends kumod itself")
        await process.sleep(seconds)
        return ()

    return {
        "kumo.sleep": Native(sleep, awaits=True),
        "kumo.time.sleep": Native(sleep, awaits=True),
        "kumo.reject": Native(_reject),
        "kumo.bump_config_epoch": Native(functools.partial(_bump, process)),
        "kumo.spawn_task": Native(functools.partial(_spawn, process)),
        "kumo.validation_failed": Native(functools.partial(_validation_failed, process)),
        "kumo.counter_series.define": Native(process.series.define),
        "kumo.mpsc.define": Native(process.queues.define),
        "kumo.set_lruttl_cache_capacity": Native(functools.partial(_capacity, process)),
        "kumo.configure_log_hook": Native(functools.partial(_log_hook, process)),
        **{f"kumo.{name}": Native(functools.partial(_noted, process, name)) for name in NOTED},
        **{
            f"kumo.log_{level}": Native(functools.partial(_logged, process, level.upper()))
            for level in ("error", "warn", "info", "debug")
        },
    }


def _making(process: "Process") -> dict[str, Native]:
    return {
        **{f"kumo.{name}": Native(functools.partial(_make, kind)) for name, kind in CONSTRUCTORS.items()},
        "kumo.make_throttle": Native(functools.partial(make_throttle, process)),
        "kumo.make_message": Native(functools.partial(make_message, process)),
    }


def _make(kind: str, params: Any = None) -> Any:
    return make(kind, params)


def _noted(process: "Process", name: str, *given: Any) -> tuple[()]:
    process.configured.append((name, [decoded(plain(value)) for value in given]))
    return ()


def _logged(process: "Process", level: str, *given: Any) -> tuple[()]:
    process.note(level, " ".join(map(str, map(_shown_one, given))))
    return ()


def _shown_one(value: Any) -> Any:
    return decoded(value) if isinstance(value, bytes) else str(value)


def _asking(process: "Process") -> dict[str, Native]:
    """What kumod's own handlers' users ask: like a queue that is made now, in another context."""

    async def queue_config(name: Any) -> dict[str, Any]:
        async with process.context() as other:
            return await _told(Resolver(process).queue_config(text_of(name), other))

    async def pool(name: Any = None) -> dict[str, Any]:
        async with process.context(discard=True) as other:
            return await _told(Resolver(process).pool(None if name is None else text_of(name), other))

    async def source(name: Any) -> dict[str, Any]:
        async with process.context(discard=True) as other:
            return await _told(Resolver(process).source(text_of(name), other))

    async def globs() -> list[str]:
        return []

    return {
        "kumo.invoke_get_queue_config": Native(queue_config, awaits=True),
        "kumo.invoke_get_egress_pool": Native(pool, awaits=True),
        "kumo.invoke_get_egress_source": Native(source, awaits=True),
        "kumo.eval_config_monitor_globs": Native(globs, awaits=True),
    }


async def _told(asked: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await asked
    except HandlerFailed as failure:
        raise KumoError(str(failure)) from None


def _reject(code: Any, message: Any = None) -> Any:
    raise Rejected(integer_of(code, bits=16), text_of(message))


def _bump(process: "Process") -> tuple[()]:
    process.bump_epoch()
    return ()


def _spawn(process: "Process", params: Any) -> tuple[()]:
    given = record("TaskParams", TASK, params)
    arguments = decoded(given["args"])
    process.spawn(given["event_name"].decode(), arguments if isinstance(arguments, list) else [])
    return ()


def _validation_failed(process: "Process") -> tuple[()]:
    process.validation_failed = True
    return ()


def _capacity(process: "Process", name: Any, capacity: Any) -> tuple[()]:
    spelled = text_of(name)
    if spelled not in LRUTTL_CACHES:
        raise KumoError(
            f"could not set capacity for cache {spelled} as that is not a pre-defined lruttl cache name"
        )
    process.capacities[spelled] = integer_of(capacity)
    return ()


def _log_hook(process: "Process", params: Any) -> tuple[()]:
    given = decoded(record("LogHookParams", LOG_HOOK, params))
    if given["name"] in process.log_hooks:
        raise KumoError(f"log hook named {given['name']} already exists")
    process.log_hooks[given["name"]] = given
    return ()
