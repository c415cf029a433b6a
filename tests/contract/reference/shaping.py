"""
`kumo.shaping`: files merged as the loader merges them, and the egress path that they come to.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from tests.contract.reference.files import Fields, File, table

Exchangers = Mapping[str, tuple[str, ...]]
"""Domain → the hosts of its MX, best first. A domain that is not there has none and no site."""

_Key = TypeVar("_Key")

MERGED_BY_KEY = frozenset(
    {
        "additional_connection_limits",
        "additional_message_rate_throttles",
        "additional_source_selection_rates",
    }
)
DEFAULT, PROVIDERS = "default", "provider"
SECTION_KEYS = frozenset({"mx_rollup", "replace_base", "automation", "sources"})
PROVIDER_KEYS = (SECTION_KEYS - {"mx_rollup"}) | {
    "match",
    "provider_connection_limit",
    "provider_max_message_rate",
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(slots=True, kw_only=True)
class Block:
    """What the files said of one site, domain or provider so far."""

    replaces_base: bool
    params: Fields
    sources: dict[str, Fields]
    automation: list[object]
    matches: list[Fields] = field(default_factory=list)
    connection_limit: object = None
    message_rate: object = None


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What `kumo.shaping.load` holds; the order in which things came first is kept."""

    sites: dict[tuple[str, ...], Block] = field(default_factory=dict)
    domains: dict[str, Block] = field(default_factory=dict)
    providers: dict[str, Block] = field(default_factory=dict)


def exchangers(zones: str) -> Exchangers:
    """What a parity set's zones say: the MX of a domain, or the domain itself where it has only an address."""
    found: dict[str, tuple[str, ...]] = {}
    for zone in json.loads(zones):
        origin = re.search(r"\$ORIGIN (\S+)", zone)
        if origin is None:
            raise ValueError(f"a zone without an origin: {zone!r}")
        hosts = sorted((int(best), host.rstrip(".")) for best, host in re.findall(r"MX (\d+) (\S+)", zone))
        found[origin[1].rstrip(".")] = tuple(host for _, host in hosts) or (origin[1].rstrip("."),)
    return found


def load(files: Iterable[File], mx: Exchangers) -> Loaded:
    """The files merged in order: domains that roll up become one with all others of their site."""
    loaded = Loaded()
    for file in files:
        top = table(file)
        providers = table(top.pop(PROVIDERS, None))
        if DEFAULT in top:
            _add(loaded.domains, DEFAULT, _block(table(top.pop(DEFAULT)), SECTION_KEYS))
        for name, said in top.items():
            fields = table(said)
            if fields.get("mx_rollup", True) is False:
                _add(loaded.domains, name, _block(fields, SECTION_KEYS))
            elif name in mx:
                _add(loaded.sites, mx[name], _block(fields, SECTION_KEYS))
        for name, said in providers.items():
            _add_provider(loaded.providers, name, _block(table(said), PROVIDER_KEYS))
    return loaded


def path_config(loaded: Loaded, mx: Exchangers, domain: str, source: str) -> Fields:
    """`get_egress_path_config(domain, source, site)` with the site of the domain."""
    params: Fields = {}
    if DEFAULT in loaded.domains:
        _over(params, loaded.domains[DEFAULT].params)
    matching = [
        (n, b) for n, b in loaded.providers.items() if _matches(b.matches, domain, mx.get(domain, ()))
    ]
    for name, block in matching:
        _over(params, block.params)
        _over(params, _implied(name, block, source, params))
    for name, block in matching:
        if source in block.sources:
            _over(params, block.sources[source])
            _over(params, _implied(name, block, source, params))
    own = [found for found in (loaded.sites.get(mx.get(domain, ())), loaded.domains.get(domain)) if found]
    for block in own:
        if block.replaces_base:
            params.clear()
        _over(params, block.params)
    for block in own:
        _over(params, block.sources.get(source, {}))
    return params


def _block(fields: Fields, known: frozenset[str]) -> Block:
    automation, matches = fields.get("automation", []), fields.get("match", [])
    if not isinstance(automation, list) or not isinstance(matches, list):
        raise TypeError("rules and matches are lists")
    return Block(
        replaces_base=fields.get("replace_base", False) is True,
        params={name: value for name, value in fields.items() if name not in known},
        sources={name: table(said) for name, said in table(fields.get("sources")).items()},
        automation=[rule(each) for each in automation],
        matches=[table(each) for each in matches],
        connection_limit=fields.get("provider_connection_limit"),
        message_rate=fields.get("provider_max_message_rate"),
    )


def rule(written: object) -> Fields:
    """The rule in one spelling: lists are lists, and what is not said is what KumoMTA takes."""
    fields = table(written)
    regex, action = fields["regex"], fields["action"]
    return {
        "regex": regex if isinstance(regex, list) else [regex],
        "action": action if isinstance(action, list) else [action],
        "trigger": fields.get("trigger", "Immediate"),
        "duration": fields["duration"],
        "match_internal": fields.get("match_internal", False),
    }


def _add(blocks: dict[_Key, Block], key: _Key, new: Block) -> None:
    """A later block over an earlier one. That the first one replaced its base is never forgotten, nor learned."""
    old = blocks.setdefault(key, new)
    if old is new:
        return
    if new.replaces_base:
        old.params, old.sources, old.automation = new.params, new.sources, new.automation
        return
    _over(old.params, new.params)
    for source, fields in new.sources.items():
        _over(old.sources.setdefault(source, {}), fields)
    old.automation = [*old.automation, *new.automation]


def _add_provider(blocks: dict[str, Block], name: str, new: Block) -> None:
    """As for a domain; the rate of the first block stays, whatever later ones say."""
    old = blocks.get(name)
    _add(blocks, name, new)
    if old is None:
        return
    old.matches = new.matches if new.replaces_base else [*old.matches, *new.matches]
    if new.replaces_base or new.connection_limit is not None:
        old.connection_limit = new.connection_limit


def _matches(matches: Iterable[Fields], domain: str, hosts: tuple[str, ...]) -> bool:
    by_domain = [each["DomainSuffix"] for each in matches if "DomainSuffix" in each]
    if any(domain.endswith(str(suffix)) for suffix in by_domain):
        return True
    by_host = [each for each in matches if "DomainSuffix" not in each]
    return bool(by_host and hosts) and all(
        any(
            host.endswith(str(each.get("MXSuffix", "\n"))) or host == each.get("HostName") for each in by_host
        )
        for host in hosts
    )


def _implied(name: str, block: Block, source: str, params: Fields) -> Fields:
    """What a provider adds without being asked: its name, and limits that its sites share for each source."""
    prefix = f"shaping-provider-{name}-{source}"
    implied: Fields = {"provider_name": name}
    if block.connection_limit is not None:
        implied["additional_connection_limits"] = {f"{prefix}-limit": _limit(block.connection_limit)}
    if block.message_rate is not None:
        implied["additional_message_rate_throttles"] = {f"{prefix}-rate": _rate(str(block.message_rate))}
    rate = params.pop("provider_source_selection_rate", None)
    if rate is not None:
        implied["additional_source_selection_rates"] = {f"{prefix}-selection-rate": rate}
    return implied


def _over(lower: Fields, upper: Fields) -> None:
    """Each option of the upper over that of the lower; three of them are maps that merge by key."""
    for name, value in table(upper).items():
        existing = lower.get(name)
        if name in MERGED_BY_KEY and isinstance(existing, dict) and isinstance(value, dict):
            lower[name] = {**existing, **value}
        else:
            lower[name] = value


def _limit(written: object) -> str:
    """A limit as KumoMTA writes it: `local:1000`."""
    if isinstance(written, dict):
        return f"{'local:' if written.get('force_local') else ''}{written['limit']}"
    prefix, _, number = str(written).rpartition(":")
    return f"{prefix}{':' if prefix else ''}{int(re.sub('[_,]', '', number))}"


def _rate(written: str) -> str:
    """A rate as KumoMTA writes it: `local:1000/h,max_burst=2`, `10/30s`."""
    head, _, burst = written.partition(",max_burst=")
    limit, _, period = head.rpartition("/")
    number = re.match(r"\d*", period)
    count, unit = (number[0], period[number.end() :]) if number else ("", period)
    seconds = int(count or 1) * _SECONDS[unit[0]]
    short = next((name for name, length in _SECONDS.items() if length == seconds), f"{seconds}s")
    return f"{_limit(limit)}/{short}" + (f",max_burst={int(re.sub('[_,]', '', burst))}" if burst else "")
