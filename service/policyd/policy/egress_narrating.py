"""Why a source or a pool is what it is for a group of nodes, and what leaves from where."""

from collections.abc import Iterator

from policyd.policy.asking import Resolution, Shown, Step
from policyd.policy.egress import ANY_GROUP, EGRESS_POOL
from policyd.policy.lookup import Lookup
from policyd.policy.narrating import present
from policyd.policy.tags import kind_of, parts_of


def narrate_egress(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Whose form it is; of a pool, which share each source takes."""
    del now, resolution
    forms = [each for each in shown if kind_of(each) == lookup.kind]
    hit = next((each for each in forms if shown[each] is not None), None)
    if hit is None:
        yield Step(f"there is none that is called {lookup.key}", forms[0], counts=False)
        return
    group = lookup.parameters.get("group")
    if group is not None and parts_of(hit)[0] != ANY_GROUP:
        yield Step(f"group {group} has a form of its own", hit, counts=True)
    elif group is not None:
        yield Step(f"group {group} has no form of its own: that of all nodes holds", hit, counts=True)
    if lookup.kind == EGRESS_POOL.name:
        yield from _entries(hit, shown)


def _entries(hit: str, shown: Shown) -> Iterator[Step]:
    weights = {each["name"]: each.get("weight", 1) for each in present(shown, hit)["entries"]}
    there = {
        parts_of(each)[1] for each in shown if kind_of(each) == "egress_source" and shown[each] is not None
    }
    total = sum(weight for name, weight in weights.items() if name in there)
    for name, weight in weights.items():
        if name not in there:
            yield Step(f"source {name} is not there: nodes leave it out", hit, counts=False)
        elif weight == 0:
            yield Step(f"source {name} has weight 0", hit, counts=False)
        else:
            yield Step(f"source {name} has weight {weight} of {total}", hit, counts=True)
    if total == 0:
        yield Step("so its mail waits: there is no source to choose", hit, counts=False)
