"""kumo.shaping.load and MX: the files are merged by the reference model, which kumod's recorded answers judge."""

import hashlib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lupa.lua54 import lua_type

from tests.contract.reference import shaping as model
from tests.lua.kumo_sim.constructors import fields_of
from tests.lua.kumo_sim.context import Native
from tests.lua.kumo_sim.errors import KumoError, NotSimulated
from tests.lua.kumo_sim.formats import problem
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import Userdata, encoded, lua_kind, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.process import Process

_LEVEL = "enum:Ignore|Warn|Error"
_CHECKS = ("provider_overlap", "dns_fail", "null_mx", "aliased_site", "remote_load", "local_load")
OPTIONS = {name: Field(_LEVEL) for name in _CHECKS} | {
    "skip_remote": Field("bool"),
    "http_timeout": Field("duration"),
}


class Shaping(Userdata):
    """Loaded shaping; cheap to memoize."""

    sync = ("get_errors", "get_warnings", "get_referenced_sources", "hash")
    awaiting = ("get_egress_path_config",)
    elsewhere = ("match_rules",)
    memoizable = True

    def __init__(
        self, loaded: model.Loaded, mx: model.Exchangers, noted: dict[str, list[str]], text: str
    ) -> None:
        self._loaded = loaded
        self._mx = mx
        self._noted = noted
        self._text = text

    def get_errors(self) -> list[str]:
        return self._noted["Error"]

    def get_warnings(self) -> list[str]:
        return self._noted["Warn"]

    def get_referenced_sources(self) -> dict[str, list[str]]:
        blocks = [
            *self._loaded.domains.items(),
            *((site_name(key), block) for key, block in self._loaded.sites.items()),
        ]
        found: dict[str, list[str]] = {}
        for name, block in blocks:
            for source in block.sources:
                found.setdefault(source, []).append(name)
        return found

    def hash(self) -> str:
        return hashlib.sha256(f"{self._text}{self._noted}".encode()).hexdigest()

    async def get_egress_path_config(self, domain: Any, source: Any, site: Any) -> dict[str, Any]:
        text_of(site)
        return dict(model.path_config(self._loaded, self._mx, text_of(domain), text_of(source)))


def site_name(hosts: tuple[str, ...]) -> str:
    """The name of a site, as KumoMTA factors it out of its hosts."""
    split = [host.lower().split(".")[::-1] for host in hosts]
    elements = []
    for i in range(max(map(len, split), default=0)):
        labels = dict.fromkeys(labels[i] if i < len(labels) else "?" for labels in split)
        optional = labels.pop("?", "") is None
        names = list(labels)
        elements.append((names[0] if len(names) == 1 else f"({'|'.join(names)})") + ("?" if optional else ""))
    return ".".join(reversed(elements))


def library(process: "Process") -> dict[str, Native]:
    async def load(paths: Any, options: Any = None) -> Shaping:
        return _load(process, paths, options)

    async def lookup_mx(domain: Any, resolver: Any = None) -> dict[str, Any]:
        del resolver
        name = text_of(domain).lower()
        hosts = process.mx.get(name)
        if hosts is None:
            raise KumoError(f"MX lookup for {name} failed: NXDOMAIN")
        return {
            "domain_name": f"{name}.",
            "hosts": [f"{host}." for host in hosts],
            "site_name": site_name(hosts),
            "is_domain_literal": False,
            "is_secure": False,
            "is_mx": True,
        }

    return {
        "kumo.shaping.load": Native(load, awaits=True),
        "kumo.dns.lookup_mx": Native(lookup_mx, awaits=True),
    }


def _load(process: "Process", paths: Any, options: Any) -> Shaping:
    if lua_type(paths) != "table":
        raise KumoError(f"error converting Lua {lua_kind(paths)} to Vec<String>")
    names = [text_of(paths[i]) for i in range(1, len(paths) + 1)]
    if options is not None and lua_type(options) != "table":
        raise KumoError(
            f"deserialize error: invalid type: {lua_kind(options)}, expected struct ShapingMergeOptions"
        )
    given = {"local_load": b"Error"} if options is None else record("ShapingMergeOptions", OPTIONS, options)
    noted: dict[str, list[str]] = {"Error": [], "Warn": [], "Ignore": []}
    files = []
    for name in names:
        if name.startswith(("http://", "https://")):
            if not given.get("skip_remote"):
                raise NotSimulated(
                    "kumo.shaping.load of a URL: what cannot be fetched is an empty file there"
                )
            noted["Warn"].append(f"Ignoring {name} because skip_remote is set to true")
            continue
        try:
            files.append(_parsed(name, Path(name).read_text()))
        except OSError as error:
            level = given.get("local_load", b"Ignore").decode()
            noted[level].append(f"local shaping source {name} error: {error.strerror}")
    for file in files:
        for where, params in _sections(file):
            _must_be_path(where, params)
    # A name with the root's dot is the same name.
    mx = {**process.mx, **{f"{domain}.": hosts for domain, hosts in process.mx.items()}}
    return Shaping(model.load(files, mx), mx, noted, json.dumps(files, sort_keys=True, default=str))


def _parsed(name: str, text: str) -> dict[str, Any]:
    parse = tomllib.loads if name.endswith(".toml") else json.loads
    if not name.endswith((".toml", ".json")):
        raise NotSimulated(f"kumo.shaping.load of {name}: only .toml and .json")
    try:
        parsed = parse(text)
    except ValueError as error:
        raise KumoError(f"parsing {name.rpartition('.')[2]} from file {name}: {error}") from None
    if not isinstance(parsed, dict):
        raise KumoError(f"parsing json from file {name}: invalid type, expected a map")
    return parsed


def _sections(file: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every table of path options in the file, less the keys that are no path options."""
    providers = file.get("provider", {})
    blocks = [*((name, block) for name, block in file.items() if name != "provider"), *providers.items()]
    for name, block in blocks:
        if not isinstance(block, dict):
            raise KumoError(f"invalid type for section {name}, expected a map")
        known = model.PROVIDER_KEYS if name in providers else model.SECTION_KEYS
        yield name, {key: value for key, value in block.items() if key not in known}
        for source, params in block.get("sources", {}).items():
            yield (
                f"{name}/{source}",
                {k: v for k, v in params.items() if k != "provider_source_selection_rate"},
            )


def _must_be_path(where: str, params: dict[str, Any]) -> None:
    fields = fields_of("egress_path")
    for name, value in params.items():
        wrong = (
            problem(fields[name].format, encoded(value, lambda made: made))
            if name in fields
            else f"unknown field `{name}`"
        )
        if wrong is not None:
            raise KumoError(f"interpreting domain '{where}' as EgressPathConfig: {wrong}")
