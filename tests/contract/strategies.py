"""
Random helper files and questions about them, for everything that must answer as KumoMTA's helpers do.

Everything drawn is plain JSON: the same cases can be given to the Lua modules. Labels are few, so that wildcards, exact
names and longer keys collide; references are made whole, so that every policy drawn is one that an import accepts.
"""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.contract.reference.files import Policy, table
from tests.contract.reference.trie import A_LABELS

Fields = dict[str, Any]
File = dict[str, Any]
Question = dict[str, str | None]


LABELS = ("a", "b", "c", "_d", "x-1", "default", *A_LABELS.values())
LISTENERS = ("10.1.2.3:2525", "[2001:db8::1]:25", "127.0.0.1:25")
SOURCES = ("ip-0", "ip-1", "Ip-1", "ip 2/x", "ü%2F")
POOLS = ("pool-0", "pool-1", "Pool 1/x%", "pööl")
TENANTS = ("t0", "T0", "t/1", "t%2F1", "tenant two", "tënant", "t&campaign=c0", "+")
CAMPAIGNS = ("c0", "C0", "c/1", "c?2#", "cämpaign")
SIGNATURES = ("esp", "e/2%", "ESP")
AUTHZ = ("alice", "bob", "svc")
# Names that no row can have, or that only normalising makes one.
STRANGE_NAMES = (
    "",
    "[10.0.0.1]",
    "[IPv6:2001:db8::1]",
    "localhost",
    "_dmarc.a",
    "nobody.example",
    "nobody.example.",
)

_DURATIONS = st.sampled_from([30, 86400, 2.5, "30s", "5m", "1h 30m", "2 days"])
_RATES = st.sampled_from(["10/30s", "100/s", "local:1_000/hour", "5/m,max_burst=2"])
_LOGGING = st.sampled_from([True, False, "Ignore", "LogThenDrop", "LogThenRelay"])
_NETWORKS = st.lists(
    st.sampled_from(["10.0.0.0/24", "172.16.0.0/12", "192.168.1.7", "2001:db8::/32", "any"]), max_size=3
)
_AUTHZ = st.lists(st.sampled_from(AUTHZ), max_size=2, unique=True)


def names() -> st.SearchStrategy[str]:
    """Domain names as a table may hold them, the left labels nearer to each other than real ones are."""
    return st.lists(st.sampled_from(LABELS[:3]) | st.sampled_from(LABELS), min_size=1, max_size=4).map(
        ".".join
    )


def keys() -> st.SearchStrategy[str]:
    """Names, wildcards and the bare `*`."""
    return st.one_of(names(), names().map("*.{}".format), st.sampled_from(["*", "a", "*.a", "b.a", "*.b.a"]))


def _fields(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Fields]:
    return st.fixed_dictionaries({}, optional=options)


_listener_domain = _fields(
    relay_to=st.booleans(),
    log_oob=_LOGGING,
    log_arf=_LOGGING,
    relay_from=_NETWORKS,
    relay_from_authz=_AUTHZ,
    ttl=st.just("5m"),
)
_queue_options: dict[str, st.SearchStrategy[Any]] = {
    "retry_interval": _DURATIONS,
    "max_retry_interval": _DURATIONS,
    "max_age": st.sampled_from(["1 day", "3 days", 86400]),
    "max_message_rate": _RATES,
    "refresh_interval": _DURATIONS,
    "refresh_strategy": st.sampled_from(["Ttl", "Epoch"]),
    "egress_pool": st.sampled_from([*POOLS, "unspecified"]),
    "strategy": st.sampled_from(["TimerWheel", "SkipList"]),
    "provider_name": st.just("provider"),
    "shrink_policy": st.sampled_from([
        [{"interval": "5m", "policy": "ShrinkData"}, {"interval": "1h", "policy": "ShrinkDataAndMeta"}],
        [{"interval": 30, "policy": "NoShrink"}],
    ]),
}  # fmt: skip
# Of one policy only one: files merge them key by key, and no protocol is both.
_PROTOCOLS: list[list[Fields]] = [
    [
        {"smtp": {"mx_list": ["mx1.a", "mx2.a:2525"]}},
        {"smtp": {"mx_list": ["mx3.a"]}},
        {"smtp": {"mx_list": [{"name": "mx.b", "addr": "10.0.0.1:25"}]}},
    ],
    [{"maildir_path": "/var/spool/mail"}, {"maildir_path": "/var/mail"}],
]
_settings = _fields(
    scheduling_header=st.just("X-Scheduled"),
    tenant_header=st.sampled_from(["X-Tenant", "X-Customer"]),
    campaign_header=st.just("X-Campaign"),
    remove_tenant_header=st.booleans(),
    remove_campaign_header=st.booleans(),
    default_tenant=st.sampled_from(TENANTS),
)
_source_fields = st.builds(
    lambda plain, proxy: {**plain, **proxy},
    _fields(
        ehlo_domain=st.sampled_from(["mta1.example.com", "mta2.example.com"]),
        source_address=st.sampled_from(["10.0.0.1", "2001:db8::1"]),
        remote_port=st.sampled_from([25, 2025]),
    ),
    st.sampled_from([
        {},
        # One field of a pair alone is a trap (the proxy is silently not used), so they come together.
        {"ha_proxy_server": "10.0.0.9:5000", "ha_proxy_source_address": "10.0.0.8"},
        {"socks5_proxy_server": "10.0.0.7:1080", "socks5_proxy_source_address": "10.0.0.6"},
    ]),
)  # fmt: skip


def listener_domain_files() -> st.SearchStrategy[list[File]]:
    """One to three files of `policy-extras.listener_domains`."""
    domains = st.dictionaries(keys(), _listener_domain, max_size=5)
    listeners = st.dictionaries(st.sampled_from(LISTENERS[:2]), domains, max_size=2)
    one = st.builds(lambda top, per: {**top, **({"listener": per} if per else {})}, domains, listeners)
    return st.lists(one, min_size=1, max_size=3)


@st.composite
def source_files(draw: st.DrawFn) -> list[File]:
    """One to three files of `policy-extras.sources`; every member of a pool is a source of some file."""
    members = st.dictionaries(st.sampled_from(SOURCES), _fields(weight=st.integers(0, 9)), max_size=4)
    one = st.fixed_dictionaries({}, optional={
        "source": st.dictionaries(st.sampled_from(SOURCES), _source_fields, max_size=4),
        "pool": st.dictionaries(st.sampled_from(POOLS), members, max_size=3),
    })  # fmt: skip
    files = draw(st.lists(one, min_size=1, max_size=3))
    listed = {name for file in files for pool in file.get("pool", {}).values() for name in pool}
    _define(files, "source", listed)
    return files


@st.composite
def queue_files(draw: st.DrawFn) -> list[File]:
    """One to three files of `policy-extras.queue`; a default tenant is a tenant of some file."""
    one = _QUEUE_FILES[draw(st.integers(0, len(_PROTOCOLS) - 1))]
    files = draw(st.lists(one, min_size=1, max_size=3))
    _define(files, "tenant", {file["default_tenant"] for file in files if "default_tenant" in file})
    return files


def _queue_file(protocols: list[Fields]) -> st.SearchStrategy[File]:
    options = {**_queue_options, "protocol": st.sampled_from(protocols)}
    routing = st.sampled_from(["route.a", "route.b"])
    in_queue = _fields(**options, routing_domain=routing, overall_max_message_rate=_RATES)
    rates = st.dictionaries(st.sampled_from(CAMPAIGNS), _fields(overall_max_message_rate=_RATES), max_size=2)
    of_tenant = _fields(**options, require_authz=_AUTHZ, overall_max_message_rate=_RATES, campaigns=rates)
    campaigns = st.dictionaries(st.sampled_from(CAMPAIGNS), in_queue, max_size=2)
    inside = st.dictionaries(st.sampled_from(TENANTS), st.builds(_with, in_queue, campaigns), max_size=3)
    tenants = st.dictionaries(st.sampled_from(TENANTS), of_tenant, max_size=3)
    domains = st.dictionaries(keys() | st.just("default"), st.builds(_with, in_queue, inside), max_size=5)
    parts = st.fixed_dictionaries({}, optional={"tenant": tenants, "queue": domains})
    return st.builds(_with, _settings, parts)


def _signs(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[Fields]:
    canonicalization = st.sampled_from(["Relaxed", "Simple"])
    return _fields(
        selector=st.sampled_from(["s1", "2026.mail"]),
        headers=st.sampled_from([["From"], ["To", "from"], ["From", "Subject", "From"]]),
        header_canonicalization=canonicalization,
        body_canonicalization=canonicalization,
        over_sign=st.booleans(),
        expiration=st.sampled_from([3600, 86400]),
        **more,
    )


@st.composite
def dkim_files(draw: st.DrawFn) -> list[File]:
    """One to three files of `policy-extras.dkim_sign`; the first has what every domain and signature needs."""
    key = {
        "algo": st.sampled_from(["sha256", "ed25519"]),
        "filename": st.sampled_from(["shared/k1", "a/s1"]).map("/opt/kumomta/etc/dkim/{}.key".format),
    }
    policy = st.sampled_from(["Always", "OnlyIfMissingDomainBlock"])
    signature = st.builds(
        lambda fields, domain: {**fields, "domain": domain}, _signs(policy=policy, **key), names()
    )
    chosen = st.lists(st.sampled_from(SIGNATURES), max_size=3, unique=True)
    one = st.fixed_dictionaries({}, optional={
        "base": _signs(additional_signatures=chosen),
        "domain": st.dictionaries(keys(), _signs(**key), max_size=5),
        "signature": st.dictionaries(st.sampled_from(SIGNATURES), signature, max_size=3),
    })  # fmt: skip
    files = draw(st.lists(one, min_size=1, max_size=3))
    files[0]["base"] = {"selector": "base", "headers": ["From", "Date"], **files[0].get("base", {})}
    wanted = {name for file in files for name in file.get("base", {}).get("additional_signatures", ())}
    known = {name for file in files for name in file.get("signature", {})}
    for name in sorted(wanted - known):
        files[-1].setdefault("signature", {})[name] = {"domain": "esp.a"}
    return files


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Files of every kind that hold together: each pool that a queue or a tenant names is in the sources."""
    listener_domains, sources, queues, dkim = draw(
        st.tuples(listener_domain_files(), source_files(), queue_files(), dkim_files())
    )
    _define(sources, "pool", _pools_named_in(queues) - {"unspecified"})
    return {"listener_domains": listener_domains, "sources": sources, "queues": queues, "dkim": dkim}


def questions_about(policy: Policy) -> st.SearchStrategy[Question]:
    """Questions of every kind, most of them near to what the files say."""
    domains = {key for file in policy["listener_domains"] for key in _domains(file)}
    places = [place for file in policy["queues"] for place in _places(file)]
    queues = {domain for domain, _, _ in places}
    signing = {key for file in policy["dkim"] for key in table(file.get("domain"))}
    return st.one_of(
        _question("listener_domain", domain=names_near(domains), listener=st.sampled_from(LISTENERS)),
        _question(
            "queue",
            domain=names_near(queues),
            tenant=st.sampled_from([None, "nobody", *TENANTS]),
            campaign=st.sampled_from([None, "nothing", *CAMPAIGNS]),
        ),
        # Two names drawn alone would hardly ever be a tenant and a campaign that a domain has.
        st.sampled_from(places or [("a", None, None)]).flatmap(
            lambda place: _question(
                "queue", domain=names_near({place[0]}), tenant=st.just(place[1]), campaign=st.just(place[2])
            )
        ),
        _question("dkim", domain=names_near(signing)),
        _question("egress_pool", name=st.sampled_from([*POOLS, "no-pool", "POOL-0"])),
        _question("egress_source", name=st.sampled_from([*SOURCES, "no-source", "IP-0"])),
    )


Place = tuple[str, str | None, str | None]


def _domains(file: File) -> Iterator[str]:
    """What a file of listener domains has entries for."""
    yield from (key for key in file if key != "listener")
    yield from (key for domains in file.get("listener", {}).values() for key in domains)


def _places(file: File) -> Iterator[Place]:
    """Where a file says something of a domain, a tenant in it, a campaign in that."""
    for domain, fields in file.get("queue", {}).items():
        yield domain, None, None
        for tenant, inside in _sections(fields):
            yield domain, tenant, None
            for campaign, _ in _sections(inside):
                yield domain, tenant, campaign


def _sections(fields: Fields) -> Iterator[tuple[str, Fields]]:
    return ((name, value) for name, value in fields.items() if isinstance(value, dict) and name != "protocol")


def names_near(known: set[str]) -> st.SearchStrategy[str]:
    """Names that some key answers, or just misses, written as clients write them; and a few that can be no key."""
    return st.one_of(_written(_near(known)), _written(names()), st.sampled_from(STRANGE_NAMES))


@st.composite
def _near(draw: st.DrawFn, known: set[str]) -> str:
    bases = sorted({key.removeprefix("*.") for key in known} - {"*"}) or ["a"]
    base = draw(st.sampled_from(bases))
    label = draw(st.sampled_from(LABELS))
    parent = base.partition(".")[2] or base
    return draw(st.sampled_from([base, f"{label}.{base}", f"{label}.b.{base}", parent, f"{label}.{parent}"]))


def _written(plain: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    ways = st.sampled_from([str, str, str, str.upper, _unicode, _title, "{}.".format])
    return st.builds(lambda name, way: way(name), plain, ways)


def _title(name: str) -> str:
    return _unicode(name).title()


def _question(kind: str, /, **parameters: st.SearchStrategy[Any]) -> st.SearchStrategy[Question]:
    return st.fixed_dictionaries({"kind": st.just(kind), **parameters})


def _unicode(name: str) -> str:
    written = {a_label: label for label, a_label in A_LABELS.items()}
    return ".".join(written.get(label, label) for label in name.split("."))


def _with(fields: Fields, below: Fields) -> Fields:
    return {**fields, **below}


def _define(files: list[File], kind: str, wanted: set[str]) -> None:
    known = {name for file in files for name in file.get(kind, {})}
    for name in sorted(wanted - known):
        files[-1].setdefault(kind, {})[name] = {}


def _pools_named_in(value: object) -> set[str]:
    match value:
        case dict():
            here = {value["egress_pool"]} if isinstance(value.get("egress_pool"), str) else set()
            return here.union(*(_pools_named_in(item) for item in value.values()))
        case list():
            return set[str]().union(*(_pools_named_in(item) for item in value))
        case _:
            return set()


_QUEUE_FILES = [_queue_file(protocols) for protocols in _PROTOCOLS]
