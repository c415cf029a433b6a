"""Webhooks: who is told what of the log. One document, because a log hook needs all of them for every record."""

from policyd.policy.asking import Layer, Resolution, Resolver, ask
from policyd.policy.lookup import Kind, Lookup

DOCUMENT = "webhook"


def resolve(lookup: Lookup, now: float) -> Resolver:
    """All enabled webhooks, by name; none only where there is no row at all."""
    del lookup, now
    seen = yield ask(DOCUMENT)
    found = seen[DOCUMENT]
    if found is None:
        return Resolution(layers=())
    return Resolution(layers=(Layer(DOCUMENT, {(field,): value for field, value in found.items()}),))


WEBHOOKS = Kind(
    name="webhook",
    segment="webhooks",
    summary="All enabled webhooks, for log hooks",
    key=None,
    parameters=(),
    resolve=resolve,
)
