"""
Queues: everything that `queue:apply` and `get_queue_config` need, merged in KumoMTA's order.

The order is that of `policy-extras/queue.lua`: the default, the domain's row, the tenant, the tenant inside the
domain, the campaign inside that; later ones override, option by option. Tenants and campaigns are looked for only
inside the one domain row that was found.
"""

from collections.abc import Iterator, Mapping, Sequence

from policyd.policy.asking import Field, Json, Layer, Resolution, Resolver, Seen, ask, overlay
from policyd.policy.lookup import Kind, Lookup, Parameter
from policyd.policy.names import domain_chain, normalise_domain
from policyd.policy.tags import parts_of, tag

SETTINGS = "queue_settings"
DEFAULT = tag("queue", "default")
_STOCK = Layer("KumoMTA's queue helper", {("options", "refresh_strategy"): "Epoch"})


def resolve(lookup: Lookup, now: float) -> Resolver:
    """
    Options of `kumo.make_queue_config`, the routing domain, rates, and what `queue:apply` decides by.

    `tenant_known` is there when a tenant was asked for; `hold` says that mail for this queue waits, because nothing
    says where it may leave from and `on_missing` does not allow the host's own address.
    """
    del now
    tenant, campaign = lookup.parameters.get("tenant"), lookup.parameters.get("campaign")
    tenant_tag = None if tenant is None else tag("tenant", tenant)
    seen = yield ask(
        SETTINGS,
        DEFAULT,
        *([] if tenant_tag is None else [tenant_tag]),
        first_of=[tag("queue", name) for name in domain_chain(lookup.key)],
    )
    layers = [_STOCK, *_queue_layer(DEFAULT, seen)]
    if seen.hit is not None and seen.hit != DEFAULT:
        layers += _queue_layer(seen.hit, seen)
    if tenant_tag is not None:
        layers.append(_tenant_layer(tenant_tag, campaign, seen[tenant_tag]))
    inner = _inner_tags(seen.hit, tenant, campaign)
    if inner:
        rows = yield ask(*inner)
        layers += [layer for each in inner for layer in _queue_layer(each, rows)]
    layers.append(_hold_layer(layers, seen))
    return Resolution(layers=tuple(layers))


def _queue_layer(name: str, seen: Seen) -> Iterator[Layer]:
    row = seen[name]
    if row is not None:
        fields = _options(row)
        if "routing_domain" in row:
            fields["routing_domain",] = row["routing_domain"]
        yield Layer(name, fields)


def _tenant_layer(name: str, campaign: str | None, row: Mapping[str, Json] | None) -> Layer:
    if row is None:
        return Layer(name, {("tenant_known",): False})
    fields = {**_options(row), ("tenant_known",): True}
    if "require_authz" in row:
        fields["require_authz",] = row["require_authz"]
    if "overall_max_message_rate" in row:
        fields["overall_max_message_rate", "tenant"] = row["overall_max_message_rate"]
    rate = row.get("campaigns", {}).get(campaign, {}).get("overall_max_message_rate")
    if rate is not None:
        fields["overall_max_message_rate", "campaign"] = rate
    return Layer(name, fields)


def _options(row: Mapping[str, Json]) -> dict[Field, Json]:
    fields: dict[Field, Json] = {("options", name): value for name, value in row.get("options", {}).items()}
    if "egress_pool" in row:
        fields["options", "egress_pool"] = row["egress_pool"]
    return fields


def _inner_tags(hit: str | None, tenant: str | None, campaign: str | None) -> list[str]:
    if hit is None or tenant is None:
        return []
    (domain,) = parts_of(hit)
    inner = [tag("queue", domain, tenant)]
    if campaign is not None:
        inner.append(tag("queue", domain, tenant, campaign))
    return inner


def _hold_layer(layers: Sequence[Layer], seen: Seen) -> Layer:
    settings = seen[SETTINGS] or {}
    answer = overlay(layers)
    by_smtp = "smtp" in answer["options"].get("protocol", {"smtp": {}})
    nowhere_to_leave_from = by_smtp and "egress_pool" not in answer["options"]
    missing = nowhere_to_leave_from or answer.get("tenant_known") is False
    return Layer(SETTINGS, {("hold",): missing and settings.get("on_missing", "hold") == "hold"})


def resolve_settings(lookup: Lookup, now: float) -> Resolver:
    """Which headers name the tenant, the campaign and the schedule, and what happens where no pool is set."""
    del lookup, now
    seen = yield ask(SETTINGS)
    row = seen[SETTINGS]
    if row is None:
        return Resolution(layers=())
    return Resolution(layers=(Layer(SETTINGS, {(name,): value for name, value in row.items()}),))


QUEUE = Kind(
    name="queue",
    segment="queue",
    summary="Everything that a queue needs, merged in KumoMTA's order",
    key=Parameter(name="domain", meaning="the queue's domain", normalise=normalise_domain),
    parameters=(
        Parameter(name="tenant", meaning="the tenant's name", normalise=lambda asked: asked or None),
        Parameter(name="campaign", meaning="the campaign's name", normalise=lambda asked: asked or None),
    ),
    resolve=resolve,
)

QUEUE_SETTINGS = Kind(
    name="queue_settings",
    segment="queue-settings",
    summary="Which headers name the tenant, the campaign and the schedule",
    key=None,
    parameters=(),
    resolve=resolve_settings,
)
