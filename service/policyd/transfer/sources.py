"""KumoMTA's files of egress sources and pools as rows, merged as `policy-extras/sources.lua` merges them."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

from policyd.transfer.files import HelperFile, nearest
from policyd.transfer.findings import (
    Checked,
    Field,
    Finding,
    Json,
    Note,
    Origin,
    Problem,
    Reference,
    Row,
)
from policyd.transfer.names import name_problem
from policyd.transfer.secrets import take_secret

HOST_ADDRESS = "unspecified"  # KumoMTA answers this source and this pool itself
HOLD_POOL = "policyd-hold"
SECRET_FIELDS = ("socks5_proxy_password",)
_MOST_WEIGHT = 2**31 - 1  # of PostgreSQL's integer
SOURCE_COLUMNS = (
    "ehlo_domain",
    "source_address",
    "remote_port",
    "ha_proxy_server",
    "ha_proxy_source_address",
    "socks5_proxy_server",
    "socks5_proxy_source_address",
    "socks5_proxy_username",
    "socks5_proxy_password",
    "suspend_when_unplumbed",
    "suspend_when_proxy_unhealthy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry of a pool in one file."""

    source: str
    weight: Field | None
    origin: Origin


def read_sources(files: Sequence[HelperFile], node_group: str | None) -> Iterator[Finding]:
    """The rows of sources and pools, for all nodes or for one group of them, and everything to be said about them."""
    sources: dict[str, tuple[Origin, dict[str, Field]]] = {}
    pools: dict[str, tuple[Origin, list[Member]]] = {}
    for file in files:
        for name in file.data.keys() - {"source", "pool"}:
            hint = nearest(name, ("source", "pool"))
            yield Problem(
                origin=file.origin(name), sentence=f"unknown section '{name}' in a file of sources{hint}"
            )
        for key, table in _tables(file, "source"):
            if isinstance(table, Problem):
                yield table
            else:
                origin, fields = sources.get(key, (file.origin("source", key), {}))
                here = {
                    name: Field(value=value, origin=file.origin("source", key, name))
                    for name, value in table.items()
                }
                sources[key] = origin, {**fields, **here}
        for key, table in _tables(file, "pool"):
            if isinstance(table, Problem):
                yield table
            else:
                _, members = pools.setdefault(key, (file.origin("pool", key), []))
                for finding in _members(file, key, table):
                    if isinstance(finding, Member):
                        members.append(finding)
                    else:
                        yield finding
    names = yield from _names(sources)
    yield from _source_rows(sources, names, node_group)
    for key, (origin, members) in pools.items():
        yield from _pool_rows(key, origin, members, names, node_group)


def _tables(file: HelperFile, section: str) -> Iterator[tuple[str, Mapping[str, Json] | Problem]]:
    whole = file.data.get(section, {})
    if not isinstance(whole, dict):
        yield (
            section,
            Problem(origin=file.origin(section), sentence=f"'{section}' must be a table of {section}s"),
        )
        return
    for name, table in whole.items():
        if isinstance(table, dict):
            yield name, table
        else:
            yield name, Problem(origin=file.origin(section, name), sentence=f"a {section} must be a table")


def _members(file: HelperFile, pool: str, table: Mapping[str, Json]) -> Iterator[Member | Problem | Note]:
    for source, options in table.items():
        origin = file.origin("pool", pool, source)
        if not isinstance(options, dict):
            if source == "ttl":
                yield Note(topic="ignored", origin=origin, sentence="a pool in a file has no ttl; left out")
            else:
                yield Problem(
                    origin=origin, sentence="a pool's entry must be a table, with a weight or empty"
                )
            continue
        for name in options.keys() - {"weight"}:
            place = file.origin("pool", pool, source, name)
            yield Problem(origin=place, sentence=f"unknown option '{name}': a pool's entry has only weight")
        weight = options.get("weight")
        field = (
            None
            if weight is None
            else Field(value=weight, origin=file.origin("pool", pool, source, "weight"))
        )
        yield Member(source=source, weight=field, origin=origin)


def _names(
    sources: Mapping[str, tuple[Origin, dict[str, Field]]],
) -> Generator[Finding, None, dict[str, str]]:
    """What each section's source is called: its `name`, if it has one, is what queues and logs show."""
    names: dict[str, str] = {}
    taken: dict[str, str] = {}
    for key, (origin, fields) in sources.items():
        item = fields.get("name")
        names[key] = item.value if item and isinstance(item.value, str) else key
        if item and not isinstance(item.value, str):
            yield Problem(origin=item.origin, sentence="a source's name must be a string")
        elif item and item.value != key:
            sentence = f"KumoMTA calls this source '{item.value}' in queues and logs; so the row and pool entries are called"
            yield Note(topic="normalised", origin=item.origin, sentence=sentence)
        if names[key] in taken:
            other = taken[names[key]]
            yield Problem(
                origin=origin, sentence=f"sections '{key}' and '{other}' are both the source '{names[key]}'"
            )
        taken.setdefault(names[key], key)
    return names


def _source_rows(
    sources: Mapping[str, tuple[Origin, dict[str, Field]]], names: Mapping[str, str], node_group: str | None
) -> Iterator[Finding]:
    secret_names: set[str] = set()
    for key, (origin, fields) in sources.items():
        name = names[key]
        if name == HOST_ADDRESS:
            yield _host_address_note("source", origin)
            continue
        yield from name_problem(name, "an egress source", origin)
        record: dict[str, Json] = {"name": name}
        for option, item in fields.items():
            if option in SECRET_FIELDS:
                yield from take_secret(option, name, item, record, secret_names)
            elif option != "name":
                record[option] = item.value
            if option == "ttl":
                sentence = "left out: policyd decides how long kumod keeps a source"
                yield Note(topic="ignored", origin=item.origin, sentence=sentence)
        origins = {option: item.origin for option, item in fields.items()}
        yield Checked(object="egress_source", record=record, origin=origin, origins=origins)
        values = {"name": name, **{column: record[column] for column in SOURCE_COLUMNS if column in record}}
        yield from _for_group("egress_source", values, origin, node_group)


def _pool_rows(
    pool: str, origin: Origin, members: Sequence[Member], names: Mapping[str, str], node_group: str | None
) -> Iterator[Finding]:
    if pool == HOST_ADDRESS:
        yield _host_address_note("pool", origin)
        return
    if pool == HOLD_POOL:
        sentence = f"the pool name '{HOLD_POOL}' is reserved for mail that waits until policy is known"
        yield Problem(origin=origin, sentence=sentence)
        return
    yield from name_problem(pool, "an egress pool", origin)
    yield Checked(object="egress_pool", record={"name": pool, "entries": []}, origin=origin)
    yield from _for_group("egress_pool", {"name": pool}, origin, node_group)
    by_source: dict[str, list[Member]] = {}
    for member in members:
        by_source.setdefault(names.get(member.source, member.source), []).append(member)
    for source, same in by_source.items():
        for member in same:
            weight = {} if member.weight is None else {"weight": member.weight.value}
            yield Checked(
                object="egress_pool",
                record={"name": pool, "entries": [{"name": source, **weight}]},
                origin=member.origin,
                origins={} if member.weight is None else {"entries": member.weight.origin},
            )
        last = same[-1]
        if source != HOST_ADDRESS:
            yield Reference(table="egress_source", name=source, origin=last.origin)
        total = _total_weight(same)
        if isinstance(total, int) and total > _MOST_WEIGHT:
            sentence = f"weight {total} is more than policyd can store, {_MOST_WEIGHT}: divide all weights of the pool"
            yield Problem(origin=last.origin, sentence=sentence)
        if len(same) > 1:
            places = " and ".join(str(member.origin) for member in same)
            sentence = (
                f"pool '{pool}' lists source '{source}' at {places}: one entry with the weights' sum, {total}"
            )
            yield Note(topic="surprise", origin=last.origin, sentence=sentence)
        values: dict[str, Json] = {"pool": pool, "source": source, "weight": total}
        yield from _for_group("egress_pool_entry", values, last.origin, node_group)


def _total_weight(members: Sequence[Member]) -> Json:
    """The weight of one entry as it was given; of several, the sum, where one that is not given counts 1."""
    if len(members) == 1:
        return None if members[0].weight is None else members[0].weight.value
    weights = [1 if member.weight is None else member.weight.value for member in members]
    return sum(weight for weight in weights if isinstance(weight, int))


def _for_group(
    table: str, values: Mapping[str, Json], origin: Origin, node_group: str | None
) -> Iterator[Row]:
    """The row; for a group of nodes the base row that it needs, in case there is none, and the group's."""
    yield Row(table=table, values=values, origin=origin, only_if_missing=node_group is not None)
    if node_group is not None:
        own = "egress_pool_group_entry" if table == "egress_pool_entry" else f"{table}_group"
        yield Row(table=own, values={**values, "node_group": node_group}, origin=origin)


def _host_address_note(what: str, origin: Origin) -> Note:
    sentence = (
        f"KumoMTA never asks for the {what} '{HOST_ADDRESS}', which is the host's own address; left out"
    )
    return Note(topic="ignored", origin=origin, sentence=sentence)
