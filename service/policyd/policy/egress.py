"""
Egress sources and pools: the addresses that mail leaves from, for a group of nodes or for all.

Nodes have different addresses, so a node group may have its own form of a source or a pool; the row of group `*` is
what the others get.
"""

from policyd.policy.asking import Layer, Part, Resolution, Resolver, Seen, ask
from policyd.policy.lookup import Kind, Lookup, Parameter, optional_name, row_name
from policyd.policy.tags import tag

ANY_GROUP = "*"
_GROUP = Parameter(name="group", meaning="the node group of the asking node", normalise=optional_name)


def resolve_source(lookup: Lookup, now: float) -> Resolver:
    """Parameters of `kumo.make_egress_source`."""
    del now
    seen = yield ask(first_of=_forms("egress_source", lookup.key, lookup.parameters.get("group")))
    return Resolution(layers=_layers(seen))


def resolve_pool(lookup: Lookup, now: float) -> Resolver:
    """Parameters of `kumo.make_egress_pool`, entries in a stable order, with the answers for its sources alongside."""
    del now
    group = lookup.parameters.get("group")
    seen = yield ask(first_of=_forms("egress_pool", lookup.key, group))
    if seen.hit is None:
        return Resolution(layers=())
    pool = seen[seen.hit] or {}
    forms = {entry["name"]: _forms("egress_source", entry["name"], group) for entry in pool["entries"]}
    if not forms:
        return Resolution(layers=_layers(seen))
    sources = yield ask(*(form for chain in forms.values() for form in chain))
    parts = (_part(name, chain, group, sources) for name, chain in forms.items())
    return Resolution(layers=_layers(seen), brings=tuple(part for part in parts if part.layers))


def _part(name: str, chain: list[str], group: str | None, sources: Seen) -> Part:
    """A source's answer as its own lookup would give it: same path, same tags."""
    hit = next((form for form in chain if sources[form] is not None), None)
    return Part(
        path=EGRESS_SOURCE.lookup(name, {} if group is None else {"group": group}).path,
        tags=tuple(chain if hit is None else chain[: chain.index(hit) + 1]),
        layers=_layers(Seen(sources.documents, hit)),
    )


def _forms(kind: str, name: str, group: str | None) -> list[str]:
    """The tags that could hold a source or pool, the group's own form first."""
    return [tag(kind, each, name) for each in ([ANY_GROUP] if group is None else [group, ANY_GROUP])]


def _layers(seen: Seen) -> tuple[Layer, ...]:
    if seen.hit is None:
        return ()
    return (Layer(seen.hit, {(name,): value for name, value in (seen[seen.hit] or {}).items()}),)


EGRESS_SOURCE = Kind(
    name="egress_source",
    segment="egress-source",
    summary="Parameters of kumo.make_egress_source",
    key=row_name("the source's name"),
    parameters=(_GROUP,),
    resolve=resolve_source,
)

EGRESS_POOL = Kind(
    name="egress_pool",
    segment="egress-pool",
    summary="Parameters of kumo.make_egress_pool, and its sources' answers",
    key=row_name("the pool's name"),
    parameters=(_GROUP,),
    resolve=resolve_pool,
)
