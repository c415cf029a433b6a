"""
The one difference between policyd and KumoMTA's helpers that the design allows, as a change of the files.
"""

from collections.abc import Mapping

from tests.contract.reference import dkim, listener_domains
from tests.contract.reference.files import Fields, Policy, merged_deep, table
from tests.contract.reference.trie import cannot_backtrack, matching_key


def within_reach(question: Mapping[str, str | None], files: Policy) -> Policy:
    """
    The files with the wildcard that is nearest to the question's domain written under that very name too, wherever
    KumoMTA's trie could not have come back to it; unchanged where it could.

    If the stock helper answers for these files what policyd answers for the given ones, then policyd's answer differs
    for no other reason.
    """
    domain, kind = question.get("domain"), question["kind"]
    changed = files.copy()
    if domain is None:
        return changed
    if kind == "listener_domain":
        by_listener = listener_domains.merged(files["listener_domains"])
        repaired = {name: _repaired(domains, domain) for name, domains in by_listener.items()}
        if repaired != by_listener:
            top = repaired.pop(listener_domains.ANY, {})
            changed["listener_domains"] = [{**top, "listener": repaired}]
    if kind == "queue":
        whole = merged_deep(files["queues"])
        queues = table(whole.get("queue"))
        # What the domain finds is decided first: the default is then a key like any other.
        repaired_queues = _repaired(_repaired(queues, domain), "default")
        if repaired_queues != queues:
            changed["queues"] = [{**whole, "queue": repaired_queues}]
    if kind == "dkim":
        data = dkim.merged(files["dkim"])
        domains = _repaired(data.domain, domain)
        if domains != data.domain:
            changed["dkim"] = [{"base": data.base, "domain": domains, "signature": data.signature}]
    return changed


def _repaired(entries: Mapping[str, object], domain: str) -> dict[str, Fields]:
    whole = {name: table(fields) for name, fields in entries.items()}
    if cannot_backtrack(whole, domain):
        nearest = matching_key(whole, domain, "nearest")
        if nearest is not None:
            whole[domain] = whole[nearest]
    return whole
