"""
The documents that a policy is in policyd's tables, by tag: what an import of its files must come to.
"""

from collections.abc import Iterator, Mapping

from tests.contract.questions import plain_listener_domain
from tests.contract.reference import dkim, listener_domains, queue, sources
from tests.contract.reference.files import Fields, Policy, merged_deep, table

COLUMNS_OF_A_QUEUE = ("egress_pool", "routing_domain")
RATE = "overall_max_message_rate"
COLUMNS_OF_A_TENANT = ("egress_pool", "require_authz", RATE)


def documents(policy: Policy, *, on_missing: str = "hold") -> dict[str, Fields]:
    """Tag → document, as the views `policy.…_document` show them after the import."""
    return {
        "queue_settings": {**queue.settings(policy["queues"]), "on_missing": on_missing},
        **dict(_listener_domains(policy)),
        **dict(_sources(policy)),
        **dict(_queues(merged_deep(policy["queues"]))),
        **dict(_dkim(dkim.merged(policy["dkim"]))),
    }


def tag(kind: str, *parts: str) -> str:
    """The name of a document; `/` separates its parts and is escaped inside them."""
    return "/".join([kind, *(part.replace("%", "%25").replace("/", "%2F") for part in parts)])


def _listener_domains(policy: Policy) -> Iterator[tuple[str, Fields]]:
    for listener, domains in listener_domains.merged(policy["listener_domains"]).items():
        for domain, fields in domains.items():
            yield tag("listener_domain", listener, domain), plain_listener_domain(fields)


def _sources(policy: Policy) -> Iterator[tuple[str, Fields]]:
    for name, fields in sources.sources(policy["sources"]).items():
        yield tag("egress_source", "*", name), fields
    for name in sources.pools(policy["sources"]):
        weights = sorted((sources.pool(policy["sources"], name) or {}).items())
        entries = [
            {"name": each, **({} if weight is None else {"weight": weight})} for each, weight in weights
        ]
        yield tag("egress_pool", "*", name), {"name": name, "entries": entries}


def _queues(whole: Fields) -> Iterator[tuple[str, Fields]]:
    for name, fields in table(whole.get("tenant")).items():
        of_tenant = table(fields)
        # Of a tenant's campaign there is nothing to store but its rate, and that it is there.
        rates = {
            campaign: {name: value for name, value in table(said).items() if name == RATE}
            for campaign, said in table(of_tenant.pop("campaigns", None)).items()
            if RATE in table(said) or not said
        }
        document = _document(of_tenant, COLUMNS_OF_A_TENANT)
        yield tag("tenant", name), {**document, "campaigns": rates} if rates else document
    domains = queue.with_a_default(table(whole.get("queue")))
    for domain, fields in domains.items():
        yield tag("queue", domain), _queue(table(fields))
        for tenant, inside in _below(table(fields)):
            yield tag("queue", domain, tenant), _queue(inside)
            for campaign, further in _below(inside):
                yield tag("queue", domain, tenant, campaign), _queue(further)


def _dkim(data: dkim.Data) -> Iterator[tuple[str, Fields]]:
    names = {name: value for name, value in data.base.items() if name in dkim.INHERITED}
    additional = data.base.get("additional_signatures")
    yield (
        "dkim_settings",
        {**names, "key_root": "default", **({"additional_signatures": additional} if additional else {})},
    )
    for domain, fields in data.domain.items():
        yield tag("dkim_domain", domain), _block(fields)
    for name, fields in data.signature.items():
        yield tag("dkim_signature", name), {"policy": "Always", **_block(fields)}


def _block(fields: Fields) -> Fields:
    block = dict(fields)
    if "algo" in block:
        block["algorithm"] = block.pop("algo")
    if "filename" in block:
        path = str(block.pop("filename"))
        block["key_name"] = path.removeprefix(f"{dkim.DIRECTORY}/").removesuffix(".key")
    return block


def _queue(fields: Fields) -> Fields:
    own = {name: value for name, value in fields.items() if not _is_section(name, value)}
    own.pop(RATE, None)
    return _document(own, COLUMNS_OF_A_QUEUE)


def _document(fields: Fields, columns: tuple[str, ...]) -> Fields:
    typed = {name: fields[name] for name in columns if name in fields}
    return {**typed, "options": {name: value for name, value in fields.items() if name not in columns}}


def _below(fields: Fields) -> Iterator[tuple[str, Fields]]:
    return ((name, table(value)) for name, value in fields.items() if _is_section(name, value))


def _is_section(name: str, value: object) -> bool:
    return isinstance(value, Mapping) and name != queue.OPTION_WITH_A_TABLE
