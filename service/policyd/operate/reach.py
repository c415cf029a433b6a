"""How far a change reaches: the sentence for each document, and how many domains and tenants it is in all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from policyd.operate.differences import DocumentChange
from policyd.policy.tags import kind_of, parts_of
from policyd.store import reach as store
from policyd.store.pool import Connection
from policyd.store.reach import PoolUsers

_EVERYBODY = {
    "queue/default": "every queue, as far as nothing else is said",
    "queue_settings": "every message",
    "dkim_settings": "every signature, as far as nothing else is said",
    "shaping domain default": "every path, as far as nothing else is said",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a change touches; *everybody* names the documents that all others are laid over."""

    domains: int
    tenants: int
    everybody: tuple[str, ...]
    sentences: Mapping[str, str] = field(default_factory=dict)
    """By the documents' names."""


async def read_reach(connection: Connection, changes: Sequence[DocumentChange]) -> Reach:
    """How far the changes reach, by the rows as they are now."""
    sources = _names(changes, "egress_source")
    pools_of = await store.pools_of(connection, sources)
    pools = _names(changes, "egress_pool") | {pool for several in pools_of.values() for pool in several}
    users = await store.users_of(connection, pools)
    domains, tenants = await store.count_touched(
        connection,
        domains={name for change in changes for name in _domains(change)},
        tenants={name for change in changes for name in _tenants(change)},
        pools=pools,
    )
    default_pools = [pool for pool, each in users.items() if each.is_default]
    return Reach(
        domains=domains,
        tenants=tenants,
        everybody=tuple(
            change.name
            for change in changes
            if change.name in _EVERYBODY or not set(default_pools).isdisjoint(_pools(change, pools_of))
        ),
        sentences={change.name: _sentence(change, pools_of, users) for change in changes},
    )


def _sentence(
    change: DocumentChange, pools_of: Mapping[str, Sequence[str]], users: Mapping[str, PoolUsers]
) -> str:
    if change.name in _EVERYBODY:
        return _EVERYBODY[change.name]
    kind = kind_of(change.document)
    if kind == "egress_pool":
        return _used(users[parts_of(change.document)[1]])
    if kind == "egress_source":
        pools = pools_of.get(parts_of(change.document)[1], ())
        if not pools:
            return "in no pool"
        return f"in {', '.join(pools)}: {_used(*(users[pool] for pool in pools))}"
    (domain,) = list(_domains(change))[:1] or [""]
    if domain.startswith("*"):
        below = domain.removeprefix("*").removeprefix(".")
        return f"every domain{f' below {below}' if below else ''} without an entry of its own"
    return ""


def _used(*several: PoolUsers) -> str:
    tenants, queues = sum(each.tenants for each in several), sum(each.queues for each in several)
    said = [
        f"{number} {noun if number == 1 else f'{noun}s'}"
        for number, noun in ((tenants, "tenant"), (queues, "queue"))
        if number
    ]
    if any(each.is_default for each in several):
        said.append("whoever names no pool")
    return " and ".join(said) or "used by nobody"


def _names(changes: Iterable[DocumentChange], kind: str) -> set[str]:
    return {parts_of(each.document)[1] for each in changes if kind_of(each.document) == kind}


def _pools(change: DocumentChange, pools_of: Mapping[str, Sequence[str]]) -> Sequence[str]:
    match kind_of(change.document):
        case "egress_pool":
            return [parts_of(change.document)[1]]
        case "egress_source":
            return pools_of.get(parts_of(change.document)[1], ())
        case _:
            return ()


def _domains(change: DocumentChange) -> Iterator[str]:
    parts = parts_of(change.document)
    match kind_of(change.document):
        case "listener_domain":
            yield parts[1]
        case "queue" | "dkim_domain" if parts[0] != "default":
            yield parts[0]
        case "shaping" if change.part is not None and change.part not in ("", "domain default"):
            what, _, name = change.part.partition(" ")
            if what == "domain":
                yield name
        case _:
            pass


def _tenants(change: DocumentChange) -> Iterator[str]:
    parts = parts_of(change.document)
    match kind_of(change.document):
        case "tenant":
            yield parts[0]
        case "queue" if len(parts) > 1:
            yield parts[1]
        case _:
            pass
