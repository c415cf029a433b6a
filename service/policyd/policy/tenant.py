"""Tenants: a customer's pool, rates, queue options and who may send in its name."""

from policyd.policy.asking import Layer, Resolution, Resolver, ask
from policyd.policy.lookup import Kind, Lookup, row_name
from policyd.policy.tags import tag


def resolve(lookup: Lookup, now: float) -> Resolver:
    """The tenant as its row has it, with its campaigns' rates."""
    del now
    name = tag("tenant", lookup.key)
    seen = yield ask(name)
    row = seen[name]
    if row is None:
        return Resolution(layers=())
    return Resolution(layers=(Layer(name, {(field,): value for field, value in row.items()}),))


TENANT = Kind(
    name="tenant",
    segment="tenant",
    summary="A tenant's own settings",
    key=row_name("the tenant's name"),
    parameters=(),
    resolve=resolve,
)
