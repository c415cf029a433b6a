"""
Which limits hold for one domain and source, and which section of shaping each is from: for explanations alone.

In KumoMTA's order: the default, then each provider that matches and what it implies, then what these say of the source,
then the domain's own sections, then what those say of the source. What only kumod can know is told, not guessed: KumoMTA's own
file below all of this, and sections of other domains with the same MX.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from policyd.policy.asking import Field, Json, Layer, Resolution, Resolver, Shown, Step, ask
from policyd.policy.lookup import Kind, Lookup, Parameter
from policyd.policy.names import normalise_domain
from policyd.policy.shaping import SHAPING, sections

_MAPS: Final = (
    "additional_connection_limits",
    "additional_message_rate_throttles",
    "additional_source_selection_rates",
)
_RATE: Final = "provider_source_selection_rate"
_NOT_OPTIONS: Final = frozenset(
    (
        "mx_rollup",
        "replace_base",
        "automation",
        "sources",
        "match",
        "provider_connection_limit",
        "provider_max_message_rate",
        _RATE,
    )
)

Section = Mapping[str, Json]


@dataclass(slots=True)
class _Path:
    """What was found on the way."""

    domain: str
    source: str | None
    hosts: tuple[str, ...]
    layers: list[Layer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def add(self, name: str, options: Section, implied: Mapping[Field, Json] | None = None) -> None:
        """Lay these options over what there is."""
        fields: dict[Field, Json] = {}
        for option, value in options.items():
            if option in _NOT_OPTIONS:
                continue
            if option in _MAPS and isinstance(value, dict):
                fields |= {(option, each): limit for each, limit in value.items()}
            else:
                fields[(option,)] = value
        self.layers.append(Layer(f"{SHAPING} {name}", fields | dict(implied or {})))

    def tell(self, says: str, *, counts: bool | None = None) -> None:
        """Add a step."""
        self.steps.append(Step(says, SHAPING, counts))


def resolve(lookup: Lookup, now: float) -> Resolver:
    """Parameters of `kumo.make_egress_path`, as far as rows make them."""
    del now
    seen = yield ask(SHAPING)
    path = _walk(lookup, seen[SHAPING] or {"domains": [], "providers": []})
    return Resolution(layers=tuple(layer for layer in path.layers if layer.fields), steps=tuple(path.steps))


def narrate_path(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Which sections apply, and why; the resolver has told it already."""
    del lookup, now, shown
    yield from resolution.steps


def _walk(lookup: Lookup, body: Mapping[str, Json]) -> _Path:
    found = sections(body)
    path = _Path(
        domain=lookup.key,
        source=lookup.parameters.get("source"),
        hosts=tuple(lookup.parameters.get("mx", "").split(",")) if "mx" in lookup.parameters else (),
    )
    path.tell(
        "KumoMTA's own shaping file lies under all of this, unless nodes do not load it; what it says is not known here"
    )
    default = found.get(("default",))
    path.tell(
        "default lies under all others" if default is not None else "there is no default",
        counts=default is not None,
    )
    if default is not None:
        path.add("default", default)
    providers = {
        name: section
        for (kind, *rest), section in found.items()
        if kind == "provider" and rest
        for name in rest
    }
    _providers(path, providers)
    _domains(path, {name: section for (name, *rest), section in found.items() if not rest})
    return path


def _providers(path: _Path, providers: Mapping[str, Section]) -> None:
    matching = []
    for name, section in providers.items():
        matches, why = _matches(section["match"], path.domain, path.hosts)
        path.tell(f"provider {name}: {why}", counts=matches)
        if matches:
            matching.append(name)
            path.add(f"provider {name}", section, _implied(name, section, path.source))
    for name in matching:
        own = providers[name].get("sources", {}).get(path.source)
        if own is not None:
            path.tell(f"provider {name} says something of source {path.source}", counts=True)
            # KumoMTA applies what is implied again with it, so of several providers this one's name is what counts.
            implied = _implied(name, providers[name], path.source) | _selection(name, own, path.source)
            path.add(f"provider {name}, source {path.source}", own, implied)


def _domains(path: _Path, domains: Mapping[str, Section]) -> None:
    own = []
    for name in (f"{path.domain}.", path.domain):
        section = domains.get(name)
        if section is None or name == "default":
            continue
        rolls_up = section.get("mx_rollup") is not False
        says = f"section {name} is for {'all domains with its MX' if rolls_up else 'this domain alone'}"
        if rolls_up:
            says += "; sections of other domains with the same MX are laid over each other with it, which only kumod can tell"
        path.tell(says, counts=True)
        own.append((name, section))
    if not own:
        path.tell(
            f"there is no section {path.domain}; that of a domain with the same MX would apply, which only kumod can tell",
            counts=False,
        )
    for name, section in own:
        if section.get("replace_base"):
            path.tell(
                f"section {name} replaces its base: nothing of the default and of providers is left",
                counts=True,
            )
            path.layers.clear()
        path.add(name, section)
    for name, section in own:
        said = section.get("sources", {}).get(path.source)
        if said is not None:
            path.tell(f"section {name} says something of source {path.source}", counts=True)
            path.add(f"{name}, source {path.source}", said)


def _implied(name: str, section: Section, source: str | None) -> dict[Field, Json]:
    """What a provider says without saying it: its name, and limits that its domains share for each source."""
    fields: dict[Field, Json] = {("provider_name",): name}
    if "provider_connection_limit" in section:
        fields["additional_connection_limits", f"{_prefix(name, source)}-limit"] = section[
            "provider_connection_limit"
        ]
    if "provider_max_message_rate" in section:
        fields["additional_message_rate_throttles", f"{_prefix(name, source)}-rate"] = section[
            "provider_max_message_rate"
        ]
    return fields


def _selection(name: str, own: Section, source: str | None) -> dict[Field, Json]:
    if _RATE not in own:
        return {}
    return {("additional_source_selection_rates", f"{_prefix(name, source)}-selection-rate"): own[_RATE]}


def _prefix(name: str, source: str | None) -> str:
    return f"shaping-provider-{name}-{source or 'SOURCE'}"


def _matches(rules: Sequence[Mapping[str, str]], domain: str, hosts: Sequence[str]) -> tuple[bool, str]:
    """Whether a provider is the domain's, and why."""
    if not rules:
        return False, "it has no match (KumoMTA's own file may have some for it)"
    suffixes = [rule["DomainSuffix"] for rule in rules if "DomainSuffix" in rule]
    hit = next((suffix for suffix in suffixes if domain.endswith(suffix)), None)
    if hit is not None:
        return True, f"{domain} ends with {hit}"
    by_host = [rule for rule in rules if "DomainSuffix" not in rule]
    if not by_host:
        return False, f"{domain} ends with none of {', '.join(suffixes)}"
    wanted = " or ".join(
        f"{'is' if kind == 'HostName' else 'ends with'} {value}"
        for rule in by_host
        for kind, value in rule.items()
    )
    if not hosts:
        return False, f"it is if each MX of {domain} {wanted}: say them, mx=HOST,HOST"
    strange = next((host for host in hosts if not any(_is_of(host, rule) for rule in by_host)), None)
    if strange is not None:
        return False, f"MX {strange} is of none of its names"
    return True, f"each MX of {domain} {wanted}"


def _is_of(host: str, rule: Mapping[str, str]) -> bool:
    return host == rule.get("HostName") or ("MXSuffix" in rule and host.endswith(rule["MXSuffix"]))


def _hosts(asked: str) -> str | None:
    hosts = [host.strip().lower().removesuffix(".") for host in asked.split(",")]
    return ",".join(host for host in hosts if host) or None


SHAPING_PATH = Kind(
    name="shaping_path",
    segment="shaping",
    summary="The limits to a domain, and which section of shaping each is from",
    key=Parameter(name="domain", meaning="the routing domain", normalise=normalise_domain, least=1),
    parameters=(
        Parameter(name="source", meaning="the egress source", normalise=lambda asked: asked or None),
        Parameter(
            name="mx",
            meaning="the hosts of its MX, joined by commas: providers are known by them",
            normalise=_hosts,
        ),
    ),
    resolve=resolve,
)
