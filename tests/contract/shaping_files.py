"""Random shaping files, the recorded ones, and the files that policyd answers with."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from tests.contract import recorded
from tests.contract.reference import shaping
from tests.contract.reference.files import Fields, File, table

SOURCES = ("ip-0", "ip-1", "Ip 2/x", "ü")
DOMAINS = ("a.test", "b.test", "c.test", "vanity.a.test", "nowhere.test", "_d.test")
# a and b are of one site; vanity mixes two providers; nowhere has no MX that anybody knows.
EXCHANGERS: shaping.Exchangers = {
    "a.test": ("mx1.big.test", "mx2.big.test"),
    "b.test": ("mx1.big.test", "mx2.big.test"),
    "c.test": ("mx.small.test",),
    "vanity.a.test": ("mx1.big.test", "mx.small.test"),
    "_d.test": ("_d.test",),
}
_RATES = st.sampled_from(["10/30s", "100/s", "local:1_000/hour", "5/m,max_burst=2"])
_LIMITS = st.sampled_from([1, 20, "local:7", "1_000", {"limit": 3, "force_local": True}])
_NAMES = st.sampled_from(["shared", "acct", "secret"])
_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "connection_limit": _LIMITS,
    "max_message_rate": _RATES,
    "idle_timeout": st.sampled_from([30, 2.5, "1h 30m"]),
    "enable_tls": st.sampled_from(["Required", "Opportunistic"]),
    "skip_hosts": st.lists(st.sampled_from(["10.0.0.0/8", "192.0.2.1"]), max_size=2),
    "smtp_port": st.sampled_from([25, 2525]),
    "additional_connection_limits": st.dictionaries(_NAMES, _LIMITS, min_size=1, max_size=2),
    "additional_message_rate_throttles": st.dictionaries(_NAMES, _RATES, min_size=1, max_size=2),
    "additional_source_selection_rates": st.dictionaries(_NAMES, _RATES, min_size=1, max_size=2),
}
_options = st.fixed_dictionaries({}, optional=_OPTIONS)
_replace = st.fixed_dictionaries({}, optional={"replace_base": st.booleans()})
_setting = st.fixed_dictionaries({"name": st.just("max_message_rate"), "value": _RATES})
_action = st.one_of(
    st.sampled_from(
        ["Suspend", "SuspendTenant", "SuspendCampaign", "Bounce", "BounceTenant", "BounceCampaign"]
    ),
    _setting.map(lambda setting: {"SetConfig": setting}),
    _setting.map(lambda setting: {"SetDomainConfig": setting}),
)
_regex = st.sampled_from([r"\[TS0[14]\]", "busy", 'say "no" (now|later)', "/5\\.7\\.1/", "ü"])
_rule = st.fixed_dictionaries(
    {
        "regex": _regex | st.lists(_regex, min_size=1, max_size=2),
        "action": _action | st.lists(_action, min_size=1, max_size=2),
        "duration": st.sampled_from(["1h", 3600, "2 days"]),
    },
    optional={
        "trigger": st.just("Immediate") | _RATES.map(lambda rate: {"Threshold": rate}),
        "match_internal": st.booleans(),
    },
)
_rules = st.fixed_dictionaries({}, optional={"automation": st.lists(_rule, max_size=2)})
_sources = st.fixed_dictionaries(
    {}, optional={"sources": st.dictionaries(st.sampled_from(SOURCES), _options, max_size=2)}
)
_rollup = st.fixed_dictionaries({}, optional={"mx_rollup": st.booleans()})
_match = st.one_of(
    st.sampled_from([".big.test", ".small.test", "test"]).map(lambda suffix: {"MXSuffix": suffix}),
    st.sampled_from(["a.test", ".a.test", "c.test"]).map(lambda suffix: {"DomainSuffix": suffix}),
    st.sampled_from(["mx1.big.test", "mx.small.test"]).map(lambda host: {"HostName": host}),
)
_own = st.fixed_dictionaries(
    {},
    optional={
        "match": st.lists(_match, max_size=3),
        "provider_connection_limit": _LIMITS,
        "provider_max_message_rate": _RATES,
    },
)
_provider_source = st.fixed_dictionaries({}, optional={**_OPTIONS, "provider_source_selection_rate": _RATES})
_provider_sources = st.fixed_dictionaries(
    {}, optional={"sources": st.dictionaries(st.sampled_from(SOURCES), _provider_source, max_size=2)}
)


def _together(*parts: Fields) -> Fields:
    return {name: value for part in parts for name, value in part.items()}


_domain = st.builds(_together, _options, _replace, _rollup, _sources, _rules)
_default = st.builds(_together, _options, _replace, _rules)
_provider = st.builds(_together, _own, _options, _replace, _provider_sources, _rules)


def files() -> st.SearchStrategy[list[Fields]]:
    """One to three shaping files."""
    one = st.builds(
        _together,
        st.fixed_dictionaries({}, optional={"default": _default}),
        st.dictionaries(st.sampled_from(DOMAINS), _domain, max_size=4),
        st.fixed_dictionaries(
            {},
            optional={
                "provider": st.dictionaries(st.sampled_from(["big", "a/b", "ü"]), _provider, max_size=3)
            },
        ),
    )
    return st.lists(one, min_size=1, max_size=3)


def recorded_files(name: str) -> list[Fields]:
    """The shaping files of a parity set, in the order in which they were loaded."""
    folder = recorded.folder(name)
    return [tomllib.loads((folder / f"shaping{number}.toml").read_text()) for number in (1, 2)]


def recorded_exchangers(name: str) -> shaping.Exchangers:
    """What the parity set's zones say of its domains."""
    return shaping.exchangers((recorded.folder(name) / "zones.json").read_text())


def with_absolute(mx: shaping.Exchangers) -> shaping.Exchangers:
    """The same for names with the root's dot: they are the same names."""
    return {**mx, **{f"{name}.": hosts for name, hosts in mx.items()}}


def together_by_domain(given: Sequence[File]) -> list[File]:
    """
    The files with the blocks of each domain that rolls up one after the other: where its first one stands.

    The one way in which an import of several files differs from loading them, because who has the same MX is known
    only to who loads them: of interest to domains that do, and whose blocks stand in turns.
    """
    first: dict[str, Fields] = {}
    blocks: dict[str, list[Fields]] = {}
    for file in given:
        for name, said in file.items():
            fields = table(said)
            if name not in ("default", "provider") and fields.get("mx_rollup", True) is not False:
                blocks.setdefault(name, []).append(fields)
    for name, several in blocks.items():
        alone = shaping.load([{name: fields} for fields in several], {name: (name,)}).sites[(name,)]
        first[name] = {
            **alone.params,
            "replace_base": alone.replaces_base,
            "sources": alone.sources,
            "automation": alone.automation,
        }
    rest = [_without(file, blocks) for file in given]
    return [first, *rest]


def _without(file: Mapping[str, object], rolling_up: Mapping[str, object]) -> Fields:
    return {
        name: said
        for name, said in file.items()
        if name not in rolling_up or table(said).get("mx_rollup", True) is False
    }
