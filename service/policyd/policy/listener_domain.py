"""
Listener domains: who may relay through a listener, and what becomes of bounces and abuse reports.

The exact listener comes first, then `*`; inside each the nearest name wins. The first row found is the answer whole,
as in KumoMTA's `policy-extras/listener_domains.lua`, which does not merge a listener's entry with `*`'s either.
"""

from policyd.policy.asking import Layer, Resolution, Resolver, ask
from policyd.policy.lookup import Kind, Lookup, Parameter, optional_name
from policyd.policy.names import domain_chain, normalise_domain
from policyd.policy.tags import tag

ANY_LISTENER = "*"


def resolve(lookup: Lookup, now: float) -> Resolver:
    """Parameters of `kumo.make_listener_domain`, and `relay_from_authz`, which kumod's Lua applies itself."""
    del now
    listener = lookup.parameters.get("listener")
    listeners = [ANY_LISTENER] if listener is None else [listener, ANY_LISTENER]
    names = tuple(domain_chain(lookup.key))
    chain = [tag("listener_domain", each, name) for each in listeners for name in names]
    seen = yield ask(first_of=chain)
    if seen.hit is None:
        return Resolution(layers=())
    row = seen[seen.hit] or {}
    return Resolution(layers=(Layer(seen.hit, {(name,): value for name, value in row.items()}),))


LISTENER_DOMAIN = Kind(
    name="listener_domain",
    segment="listener-domain",
    summary="Parameters of kumo.make_listener_domain for a domain on a listener",
    key=Parameter(
        name="domain", meaning="the sender's or recipient's domain; may be empty", normalise=normalise_domain
    ),
    parameters=(
        Parameter(
            name="listener",
            meaning="local address of the accepted connection, IP:PORT, or the name in the listener's meta",
            normalise=optional_name,
        ),
    ),
    resolve=resolve,
)
