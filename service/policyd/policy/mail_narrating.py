"""Why a listener, a tenant and a queue do with mail what they do, step by step."""

from collections.abc import Iterator, Mapping

from policyd.policy.asking import Json, Resolution, Shown, Step, overlay
from policyd.policy.lookup import Lookup
from policyd.policy.names import domain_chain
from policyd.policy.narrating import listed, nearest, present, spoken
from policyd.policy.queue import DEFAULT, SETTINGS
from policyd.policy.tags import parts_of, tag


def narrate_listener_domain(
    lookup: Lookup, now: float, shown: Shown, resolution: Resolution
) -> Iterator[Step]:
    """Which entry holds, and whom it lets send."""
    del now, resolution
    yield from nearest(lookup.key, [*shown], shown)
    hit = next((each for each in shown if shown[each] is not None), None)
    if hit is None:
        yield Step(
            f"so nothing is relayed for {spoken(lookup.key)}, but for the listener's relay_hosts",
            counts=False,
        )
        return
    listener = lookup.parameters.get("listener")
    if listener is not None and parts_of(hit)[0] == listener:
        yield Step(f"it is listener {listener}'s own, and stands instead of those of all listeners", hit)
    elif listener is not None:
        yield Step(f"listener {listener} has none of its own for it: that of all listeners holds", hit)
    may = [*_relaying(present(shown, hit))]
    yield Step(f"so {'; '.join(may)}" if may else "so nothing is relayed for it", hit, counts=bool(may))


def _relaying(row: Mapping[str, Json]) -> Iterator[str]:
    if row.get("relay_to"):
        yield "mail to it is accepted from anybody"
    if row.get("relay_from"):
        yield f"mail from it is accepted from {listed(row['relay_from'])}"
    if row.get("relay_from_authz"):
        yield f"mail from it is accepted from who has logged in as {listed(row['relay_from_authz'])}"


def narrate_tenant(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Who may send as the tenant, and where its mail leaves."""
    del now, resolution
    document = tag("tenant", lookup.key)
    row = shown.get(document)
    if row is None:
        yield Step(
            f"there is no tenant {lookup.key}: nodes refuse its messages (500)", document, counts=False
        )
        return
    users, pool = row.get("require_authz"), row.get("egress_pool")
    if users is None:
        yield Step("anybody who may inject may send as it", document, counts=True)
    elif users:
        yield Step(f"only who has logged in as {listed(users)} may send as it", document, counts=True)
    else:
        yield Step("require_authz is empty: nobody may send as it", document, counts=False)
    says = f"its mail leaves by pool {pool}" if pool else "it names no pool"
    yield Step(f"{says}, unless it has a queue of its own that says otherwise", document)


def narrate_queue(lookup: Lookup, now: float, shown: Shown, resolution: Resolution) -> Iterator[Step]:
    """Which levels are laid over each other, and by what pool the mail leaves, if it does."""
    del now
    yield Step("the default lies under all queues", DEFAULT, counts=True)
    yield from nearest(lookup.key, [tag("queue", name) for name in domain_chain(lookup.key)], shown)
    answer = overlay(resolution.layers)
    tenant = lookup.parameters.get("tenant")
    if tenant is not None:
        document = tag("tenant", tenant)
        known = bool(answer["tenant_known"])
        yield Step(
            f"tenant {tenant} is laid over that" if known else f"there is no tenant {tenant}",
            document,
            counts=known,
        )
    for document in (each for each in shown if each.startswith("queue/") and len(parts_of(each)) > 1):
        what = ("tenant", "campaign")[len(parts_of(document)) - 2]
        there = shown[document] is not None
        says = (
            f"what this queue says of the {what} is laid over that"
            if there
            else f"this queue says nothing of the {what}"
        )
        yield Step(says, document, counts=there)
    yield _whether_it_leaves(answer)


def _whether_it_leaves(answer: Mapping[str, Json]) -> Step:
    pool = answer["options"].get("egress_pool")
    if answer["hold"]:
        unknown = answer.get("tenant_known") is False
        why = "nobody knows its tenant" if unknown else "nothing says which address it may leave from"
        return Step(f"so the mail waits: {why}, and on_missing is hold", SETTINGS, counts=False)
    if pool is not None:
        return Step(f"so the mail leaves by pool {pool}", counts=True)
    return Step(
        "so the mail leaves as its protocol says, or by the host's own address: nothing names a pool",
        SETTINGS,
    )
