"""
`policy-extras.queue`: how a queue is configured, and what `apply` says of a message.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.contract.reference.files import Fields, File, merged_deep, table
from tests.contract.reference.trie import Variant, matching_key

# Fields of the files that the helper uses itself; `kumo.make_queue_config` knows none of them.
NOT_FOR_THE_CONSTRUCTOR = frozenset({"overall_max_message_rate", "require_authz", "routing_domain"})
# The one option whose value is a table; every other table inside a domain is a tenant, inside a tenant a campaign.
OPTION_WITH_A_TABLE = "protocol"
STRATEGY: Fields = {"refresh_strategy": "Epoch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All that `queue:apply` and `get_queue_config` need to know of a domain, a tenant and a campaign."""

    options: Fields
    routing_domain: str | None
    tenant_rate: str | None
    campaign_rate: str | None
    tenant_known: bool
    require_authz: list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A permanent refusal: the code 500 and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The meta values that the message gets; None is a value that is not set."""

    campaign: str | None
    tenant: str | None
    routing_domain: str | None


def layers(
    files: Iterable[File], domain: str, tenant: str | None, campaign: str | None, variant: Variant
) -> list[Fields]:
    """What applies, the strongest last: the default, the domain, the tenant, the tenant in the domain, its campaign."""
    whole = merged_deep(files)
    queues = table(whole.get("queue"))
    if variant == "nearest":
        queues = with_a_default(queues)
    of_default = _entry(queues, "default", variant)
    of_domain = _entry(queues, domain, variant)
    of_tenant = {} if tenant is None else table(table(whole.get("tenant")).get(tenant))
    inside = {} if tenant is None else _inside(of_domain, tenant)
    of_campaign = {} if campaign is None else _inside(inside, campaign)
    # A tenant cannot route, and its own campaigns contribute nothing but a rate.
    of_tenant.pop("routing_domain", None)
    return [_own(layer) for layer in (of_default, of_domain, of_tenant, inside, of_campaign)]


def answer(
    files: Iterable[File], domain: str, tenant: str | None, campaign: str | None, variant: Variant
) -> Answer:
    """The answer for one queue; it is never empty, because every queue has the refresh strategy."""
    files = list(files)
    overlay: Fields = dict(STRATEGY)
    for layer in layers(files, domain, tenant, campaign, variant):
        overlay.update(layer)
    tenants = table(merged_deep(files).get("tenant"))
    of_tenant = {} if tenant is None else table(tenants.get(tenant))
    of_campaign = {} if campaign is None else table(table(of_tenant.get("campaigns")).get(campaign))
    return Answer(
        options={name: value for name, value in overlay.items() if name not in NOT_FOR_THE_CONSTRUCTOR},
        routing_domain=_text(overlay.get("routing_domain")),
        tenant_rate=_text(of_tenant.get("overall_max_message_rate")),
        campaign_rate=_text(of_campaign.get("overall_max_message_rate")),
        tenant_known=tenant is not None and tenant in tenants,
        require_authz=_texts(of_tenant.get("require_authz")),
    )


def settings(files: Iterable[File]) -> Fields:
    """What is said at the top of the files: headers, whether they are removed, the default tenant."""
    return {name: value for name, value in merged_deep(files).items() if name not in {"queue", "tenant"}}


def apply(
    files: Iterable[File], headers: Mapping[str, str], domain: str, authz_id: str | None, variant: Variant
) -> Rejected | Accepted:
    """What happens to a message with these headers for this domain."""
    files = list(files)
    said = settings(files)
    campaign = _header(headers, said.get("campaign_header"))
    tenant = _header(headers, said.get("tenant_header"))
    by = f"'{said.get('tenant_header')}' header"
    if tenant is None:
        tenant, by = _text(said.get("default_tenant")), "default_tenant option"
    found = answer(files, domain, tenant, campaign, variant)
    if tenant is not None and not found.tenant_known:
        return Rejected(reason=f"tenant '{tenant}' specified by {by} is not defined in your queue config")
    if found.require_authz is not None and authz_id is None:
        return Rejected(reason=f"tenant '{tenant}' requires SMTP AUTH")
    if found.require_authz is not None and authz_id not in found.require_authz:
        return Rejected(reason=f"authz_id '{authz_id}' is not authorized to send as tenant '{tenant}'")
    return Accepted(campaign=campaign, tenant=tenant, routing_domain=found.routing_domain)


def with_a_default(queues: Fields) -> Fields:
    """
    The domains as policyd has them: `default` always exists, and where no file says it, it says what `*` says of itself.

    To KumoMTA it is the answer of the domain map for the name `default`, which is `*` where nothing else is in the way.
    Tenants inside it answer in KumoMTA only for mail to a domain that is called `default`: policyd leaves them out.
    """
    return {**queues, "default": _own(table(queues.get("default", queues.get("*"))))}


def _entry(queues: Fields, name: str, variant: Variant) -> Fields:
    key = matching_key(queues, name, variant)
    return {} if key is None else table(queues[key])


def _own(fields: Fields) -> Fields:
    return {
        name: value
        for name, value in fields.items()
        if not isinstance(value, Mapping) or name == OPTION_WITH_A_TABLE
    }


def _inside(fields: Fields, name: str) -> Fields:
    below = fields.get(name)
    return table(below) if isinstance(below, Mapping) and name != OPTION_WITH_A_TABLE else {}


def _header(headers: Mapping[str, str], name: object) -> str | None:
    return headers.get(name) if isinstance(name, str) else None


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"text is needed here, not {value!r}")
    return value


def _texts(value: object) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError(f"a list is needed here, not {value!r}")
    return [str(item) for item in value]
