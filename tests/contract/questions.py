"""
Between a recorded or drawn question, policyd's HTTP path for it, and what the reference models answer.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.contract.reference import dkim, listener_domains, queue, sources
from tests.contract.reference.files import Fields, Policy
from tests.contract.reference.trie import Variant, normalised

Answer = Mapping[str, Any]

# What KumoMTA accepts and ignores, so that policyd does not store it.
IGNORED = {"listener_domain": {"ttl"}}
# A list that allows nothing, as far as it is a list of what is allowed in addition.
EMPTY_MEANS_ABSENT = {"relay_from", "relay_from_authz"}


def path(question: Mapping[str, str | None]) -> str:
    """The canonical path of a question: names percent-encoded save `*` and `:`, parameters in the order of the design."""
    match question:
        case {"kind": "listener_domain", "domain": str(domain), "listener": str(listener)}:
            return _path("listener-domain", domain, listener=listener)
        case {"kind": "queue", "domain": str(domain), "tenant": tenant, "campaign": campaign}:
            return _path("queue", domain, tenant=tenant, campaign=campaign)
        case {"kind": "egress_pool", "name": str(name)}:
            return _path("egress-pool", name)
        case {"kind": "egress_source", "name": str(name)}:
            return _path("egress-source", name)
        case {"kind": "tenant", "name": str(name)}:
            return _path("tenant", name)
        case {"kind": "dkim", "domain": str(domain)}:
            return _path("dkim", domain)
        case _:
            raise ValueError(f"policyd has no path for {question!r}")


def said(question: Mapping[str, str | None], answer: Answer | None) -> Fields | None:
    """
    What an answer of policyd says, in the one form in which it is compared with the models; None is no answer.

    The order of a pool's entries means nothing here, and what it brings along is answered under its own path.
    """
    if question["kind"] == "dkim":
        return {"signers": [_signer(each) for each in (answer or {}).get("signatures", ())]}
    if answer is None:
        return None
    match question["kind"]:
        case "listener_domain":
            return plain_listener_domain(answer)
        case "egress_pool":
            return {
                "name": answer["name"],
                "entries": {entry["name"]: entry.get("weight") for entry in answer["entries"]},
            }
        case "queue":
            rates = answer.get("overall_max_message_rate", {})
            return {
                "options": dict(answer["options"]),
                "routing_domain": answer.get("routing_domain"),
                "overall_max_message_rate": {
                    "tenant": rates.get("tenant"),
                    "campaign": rates.get("campaign"),
                },
                "tenant_known": answer.get("tenant_known", False),
                "require_authz": answer.get("require_authz"),
            }
        case _:
            return dict(answer)


def expected(question: Mapping[str, str | None], files: Policy, variant: Variant) -> Fields | None:
    """What the models answer to the question, in the form of `said`; *files* by kind, as the strategies draw them."""
    match question:
        case {"kind": "listener_domain", "domain": str(domain), "listener": str(listener)}:
            found = listener_domains.answer(files["listener_domains"], domain, listener, variant)
            return None if found is None else plain_listener_domain(found)
        case {"kind": "queue", "domain": str(domain), "tenant": tenant, "campaign": campaign}:
            return _queue_said(queue.answer(files["queues"], domain, tenant, campaign, variant))
        case {"kind": "egress_pool", "name": str(name)}:
            entries = sources.pool(files["sources"], name)
            return None if entries is None else {"name": name, "entries": entries}
        case {"kind": "egress_source", "name": str(name)}:
            return sources.source(files["sources"], name)
        case {"kind": "dkim", "domain": str(domain)}:
            return {"signers": dkim.signers(files["dkim"], domain, variant)}
        case _:
            raise ValueError(f"no model answers {question!r}")


def recorded(question: Mapping[str, str | None], result: Fields | None) -> Fields | None:
    """What the stock helper answered (`res` of answers.jsonl), in the form of `said`, as far as it says it at all."""
    match question["kind"], result:
        case "dkim", _:
            return {"signers": result or []}
        case _, None:
            return None
        case "egress_pool", {"name": name, "entries": list(entries)}:
            return {"name": name, "entries": {entry["name"]: entry.get("weight") for entry in entries}}
        case "queue", {}:
            return {"options": result}
        case _:
            return result


def asked_of_the_helper(question: Mapping[str, str | None], answer: Fields | None) -> Fields | None:
    """The part of `said` that the stock helper passes to kumod's constructor: what `recorded` can be compared with."""
    match question["kind"], answer:
        case "queue", {"options": options}:
            return {"options": options}
        case "listener_domain", {}:
            return listener_domains.parameters(answer)
        case _:
            return answer


def holds(question: Mapping[str, str | None], policy: Policy, on_missing: str) -> bool:
    """Whether mail waits: never where the files let it leave, be it from the host's own address."""
    domain, tenant, campaign = (question[name] for name in ("domain", "tenant", "campaign"))
    found = queue.answer(policy["queues"], domain or "", tenant, campaign, "nearest")
    protocol = found.options.get("protocol", {"smtp": {}})
    leaves = "egress_pool" in found.options or (isinstance(protocol, dict) and "smtp" not in protocol)
    is_stranger = tenant is not None and not found.tenant_known
    defaults_to_a_tenant = "default_tenant" in queue.settings(policy["queues"])
    # `default` is a label of KumoMTA's trie too, but no name that mail is sent to.
    is_destination = normalised(domain or "") != "default"
    has_a_sender = not is_stranger and (tenant is not None or not defaults_to_a_tenant)
    if is_destination and has_a_sender and not leaves:
        assert on_missing == "stock", (
            "KumoMTA would send this from the host's own address, so it must not be held"
        )
    return on_missing == "hold" and (is_stranger or not leaves)


def _signer(signature: Answer) -> Fields:
    """A signature of a plan as the helper makes a signer of it: its key's place is a path, its key_id is policyd's."""
    place = signature["key"]
    if place["root"] != "default":
        raise ValueError(f"the model knows one directory, not {place!r}")
    plain = {
        name: value
        for name, value in signature.items()
        if name not in ("algorithm", "key", "key_id", "key_problem")
    }
    return {"alg": signature["algorithm"], "p": {**plain, "key": f"{dkim.DIRECTORY}/{place['name']}.key"}}


def plain_listener_domain(fields: Answer) -> Fields:
    """The fields that have an effect."""
    return {
        name: value
        for name, value in fields.items()
        if name not in IGNORED["listener_domain"] and not (name in EMPTY_MEANS_ABSENT and value == [])
    }


def _queue_said(found: queue.Answer) -> Fields:
    return {
        "options": found.options,
        "routing_domain": found.routing_domain,
        "overall_max_message_rate": {"tenant": found.tenant_rate, "campaign": found.campaign_rate},
        "tenant_known": found.tenant_known,
        "require_authz": found.require_authz,
    }


def _path(segment: str, name: str, **parameters: str | None) -> str:
    query = "&".join(f"{key}={_quoted(value)}" for key, value in parameters.items() if value is not None)
    return f"/{segment}/{_quoted(name)}" + (f"?{query}" if query else "")


def _quoted(text: str) -> str:
    return quote(text, safe="*:")
