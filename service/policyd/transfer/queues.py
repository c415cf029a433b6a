"""KumoMTA's queue files as rows: settings, tenants with campaigns, queues with tenants and campaigns inside them."""

from collections.abc import Iterator, Mapping, Sequence

from policyd.transfer.files import HelperFile
from policyd.transfer.findings import (
    Checked,
    Field,
    Finding,
    HostAddress,
    Json,
    Note,
    Problem,
    Reference,
    Row,
)
from policyd.transfer.names import queue_part_problem, row_domains
from policyd.transfer.queue_files import Section, Sections, merge_sections
from policyd.transfer.sources import HOLD_POOL
from policyd.transfer.trie import make_trie
from policyd.transfer.values import as_list, boolean_problem, header_problem, host_problem

DEFAULT = "default"
_RATE = "overall_max_message_rate"
_OWN_COLUMNS = ("egress_pool", "routing_domain")
_KEY_COLUMNS = {
    "tenant": ("name",),
    "tenant_campaign": ("tenant", "campaign"),
    "queue": ("domain",),
    "queue_tenant": ("domain", "tenant"),
    "queue_campaign": ("domain", "tenant", "campaign"),
}


def read_queues(files: Sequence[HelperFile]) -> Iterator[Finding]:
    """The rows of settings, tenants and queues, and everything to be said about them."""
    if not files:
        return
    sections: Sections = {}
    yield from merge_sections(files, sections)
    written = {names[0]: section.origin for (level, names), section in sections.items() if level == "queue"}
    domains: dict[str, str] = {}
    for named in row_domains("queue", written):
        if isinstance(named, Problem | Note):
            yield named
        elif named[1] == DEFAULT != named[0]:
            sentence = f"KumoMTA's default is called '{DEFAULT}', in lower case and without a dot"
            yield Problem(origin=written[named[0]], sentence=sentence)
        else:
            domains[named[0]] = named[1]
    queues = _with_default(sections, domains)
    if (copied := queues.get(("queue", (DEFAULT,)))) and DEFAULT not in domains:
        yield Note(
            topic="surprise",
            origin=copied.origin,
            sentence="there is no [queue.default], so KumoMTA takes this one for the default too: it becomes both rows",
        )
    for (level, names), section in queues.items():
        match level:
            case "settings":
                yield from _settings(section)
            case "tenant":
                yield from _tenant(names, section)
            case "tenant_campaign":
                yield from _tenant_campaign(names, section)
            case "queue" | "queue_tenant" | "queue_campaign":
                yield from _queue(level, names, section)
    yield from _host_address(queues)
    yield from _trie_notes(queues, copied=DEFAULT not in domains)


def _with_default(sections: Sections, domains: Mapping[str, str]) -> Sections:
    """The sections under their rows' names; `*` is the default too where there is none, without its tenants."""
    named: Sections = {}
    for (level, names), section in sections.items():
        if not level.startswith("queue"):
            named[level, names] = section
        elif names[0] in domains:
            named[level, (domains[names[0]], *names[1:])] = section
    if ("queue", (DEFAULT,)) not in named and ("queue", ("*",)) in named:
        named["queue", (DEFAULT,)] = named["queue", ("*",)]
    return named


def _settings(section: Section) -> Iterator[Finding]:
    for name, item in section.fields.items():
        match name:
            case "default_tenant":
                if isinstance(item.value, str) and item.value:
                    yield Reference(table="tenant", name=item.value, origin=item.origin)
                else:
                    yield Problem(origin=item.origin, sentence="must be the name of a tenant")
            case "remove_tenant_header" | "remove_campaign_header":
                yield from boolean_problem(item)
            case _:
                yield from header_problem(item)
    if section.fields:
        values = {name: item.value for name, item in section.fields.items()}
        yield Row(table="queue_settings", values=values, origin=next(iter(section.fields.values())).origin)


def _tenant(names: tuple[str, ...], section: Section) -> Iterator[Finding]:
    (name,) = names
    yield from queue_part_problem(name, "a tenant", section.origin)
    helper = {option: item for option, item in section.fields.items() if option in {"require_authz", _RATE}}
    options = {option: item for option, item in section.fields.items() if option not in helper}
    yield _checked("tenant", helper, section)
    yield _checked("queue_config", options, section)
    yield from _pool_reference(options)
    values: dict[str, Json] = {option: as_list(item.value) for option, item in helper.items()}
    yield _row("tenant", names, section, values | _bag(options))


def _tenant_campaign(names: tuple[str, ...], section: Section) -> Iterator[Finding]:
    """A campaign's row has the rate alone: of the other options KumoMTA demands that they are valid, no more."""
    yield from queue_part_problem(names[1], "a campaign", section.origin)
    rate = {_RATE: section.fields[_RATE]} if _RATE in section.fields else {}
    options = {option: item for option, item in section.fields.items() if option != _RATE}
    yield _checked("tenant", rate, section)
    yield _checked("queue_config", {k: item for k, item in options.items() if k != "routing_domain"}, section)
    for item in options.values():
        sentence = "KumoMTA reads only the rate of a tenant's campaign and ignores this; left out"
        yield Note(topic="ignored", origin=item.origin, sentence=sentence)
    if rate or not options:
        values = {option: item.value for option, item in rate.items()}
        yield _row("tenant_campaign", names, section, values)


def _queue(level: str, names: tuple[str, ...], section: Section) -> Iterator[Finding]:
    if names[0] == DEFAULT and len(names) > 1:
        sentence = f"KumoMTA does not look for {level.partition('_')[2]}s inside [queue.default]; left out"
        yield Note(topic="ignored", origin=section.origin, sentence=sentence)
        return
    for name, what in zip(names[1:], ("a tenant", "a campaign"), strict=False):
        yield from queue_part_problem(name, what, section.origin)
    options = {option: item for option, item in section.fields.items() if option != _RATE}
    if _RATE in section.fields:
        sentence = "KumoMTA ignores this rate in a queue; left out"
        yield Note(topic="ignored", origin=section.fields[_RATE].origin, sentence=sentence)
        yield _checked("tenant", {_RATE: section.fields[_RATE]}, section)
    if "routing_domain" in options:
        yield from host_problem(options["routing_domain"])
    yield _checked("queue_config", {k: item for k, item in options.items() if k != "routing_domain"}, section)
    yield from _pool_reference(options)
    yield _row(level, names, section, _bag(options))


def _pool_reference(options: Mapping[str, Field]) -> Iterator[Finding]:
    item = options.get("egress_pool")
    if item is None or not isinstance(item.value, str):
        return
    if item.value == HOLD_POOL:
        sentence = f"the pool '{HOLD_POOL}' is reserved for mail that waits until policy is known"
        yield Problem(origin=item.origin, sentence=sentence)
    else:
        yield Reference(table="egress_pool", name=item.value, origin=item.origin)


def _checked(kind: str, fields: Mapping[str, Field], section: Section) -> Checked:
    return Checked(
        object=kind,
        record={option: _as_given(option, item.value) for option, item in fields.items()},
        origin=section.origin,
        origins={option: item.origin for option, item in fields.items()},
    )


def _bag(options: Mapping[str, Field]) -> dict[str, Json]:
    """The columns of a queue's or tenant's own, and the rest as its options."""
    own: dict[str, Json] = {option: item.value for option, item in options.items() if option in _OWN_COLUMNS}
    rest = {option: _as_given(option, item.value) for option, item in options.items() if option not in own}
    return {**own, "options": rest}


def _as_given(option: str, value: Json) -> Json:
    return as_list(value) if option in {"shrink_policy", "require_authz"} else value


def _row(table: str, names: tuple[str, ...], section: Section, values: Mapping[str, Json]) -> Row:
    key: dict[str, Json] = dict(zip(_KEY_COLUMNS[table], names, strict=True))
    return Row(table=table, values={**key, **values}, origin=section.origin)


def _host_address(queues: Sections) -> Iterator[HostAddress]:
    """Says so if there is a queue for which nothing names a pool: KumoMTA then sends from the host's own address."""
    settings = queues.get(("settings", ()))
    default = queues.get(("queue", (DEFAULT,)))
    if _is_placed(default):
        return
    poolless: list[str | None] = [
        n[0] for (level, n), section in queues.items() if level == "tenant" and not _is_placed(section)
    ]
    if settings is None or "default_tenant" not in settings.fields:
        poolless.append(None)
    found = [
        names[0] for (level, names), section in queues.items() if level == "queue" and not _is_placed(section)
    ]
    nowhere_else = [] if ("queue", ("*",)) in queues else [None]
    cases = []
    for domain in [*(name for name in found if name != DEFAULT), *nowhere_else]:
        for tenant in poolless:
            inner = queues.get(("queue_tenant", (domain or "", tenant or "")))
            if domain is None or tenant is None or not _is_placed(inner):
                where = f"queue '{domain}'" if domain else "any other domain"
                whose = f"tenant '{tenant}'" if tenant else "no tenant"
                cases.append(f"{where}, {whose}")
                break
    if cases:
        yield HostAddress(
            topic="host address",
            origin=(default or settings or next(iter(queues.values()))).origin,
            sentence="no egress_pool is named for some mail, which KumoMTA sends from the host's own address",
            details=tuple(cases),
        )


def _is_placed(section: Section | None) -> bool:
    """Whether mail of this section needs no more to be said about where it leaves from."""
    if section is None:
        return False
    protocol = section.fields.get("protocol")
    elsewhere = protocol is not None and isinstance(protocol.value, dict) and "smtp" not in protocol.value
    return elsewhere or "egress_pool" in section.fields


def _trie_notes(queues: Sections, *, copied: bool) -> Iterator[Note]:
    """For each queue that policyd answers with where KumoMTA answers with another, or the default alone."""
    # To KumoMTA the default is one more label of its trie.
    origins = {
        names[0]: section.origin
        for (level, names), section in queues.items()
        if level == "queue" and not (copied and names[0] == DEFAULT)
    }
    trie = make_trie(origins)
    # Where `*` is the default too, going back to it changes nothing but the tenants inside it.
    has_tenants = any(level == "queue_tenant" and names[0] == "*" for level, names in queues)
    same = copied and trie.kumomta(DEFAULT) == "*" and not has_tenants
    by_entry: dict[str, list[str]] = {}
    for name in trie.doubtful_names():
        theirs, ours = trie.kumomta(name), trie.policyd(name)
        if ours is not None and theirs != ours and not (same and ours == "*" and theirs is None):
            case = f"{name}: KumoMTA answers {theirs or 'nothing but the default'}, policyd answers {ours}"
            by_entry.setdefault(ours, []).append(case)
    for entry, cases in by_entry.items():
        yield Note(
            topic="trie",
            origin=origins[entry],
            sentence="policyd answers with the nearest name, KumoMTA does not go back to a wildcard",
            details=tuple(cases),
        )
