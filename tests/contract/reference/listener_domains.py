"""
`policy-extras.listener_domains`: what a listener does with mail from or to a domain.
"""

from collections.abc import Iterable
from typing import TypeAlias

from tests.contract.reference.files import Fields, File, table
from tests.contract.reference.trie import Variant, matching_key

ByListener: TypeAlias = dict[str, dict[str, Fields]]

ANY = "*"
NOT_FOR_THE_CONSTRUCTOR = "relay_from_authz"


def merged(files: Iterable[File]) -> ByListener:
    """
    Listener → domain → fields: a later file overrides field by field, and a list as a whole.

    Everything at the top of a file but `listener` is a domain for any listener.
    """
    whole: ByListener = {}
    for file in files:
        top = table(file)
        by_listener = {name: table(domains) for name, domains in table(top.pop("listener", None)).items()}
        by_listener[ANY] = {**by_listener.get(ANY, {}), **top}
        for listener, domains in by_listener.items():
            for domain, fields in domains.items():
                whole.setdefault(listener, {}).setdefault(domain, {}).update(table(fields))
    return whole


def entry(files: Iterable[File], domain: str, listener: str, variant: Variant) -> tuple[str, str] | None:
    """The listener and the domain of the entry that answers; the first hit wins whole."""
    whole = merged(files)
    # The last question is the stock helper's remedy for a top-level `*` that its trie rarely reaches.
    for where, name in ((listener, domain), (ANY, domain), (ANY, ANY)):
        domains = whole.get(where, {})
        key = matching_key(domains, name, variant)
        if key is not None:
            return where, key
    return None


def answer(files: Iterable[File], domain: str, listener: str, variant: Variant) -> Fields | None:
    """All fields of the entry that answers, `relay_from_authz` too, or None: no relaying."""
    files = list(files)
    found = entry(files, domain, listener, variant)
    return None if found is None else merged(files)[found[0]][found[1]]


def parameters(fields: Fields | None) -> Fields | None:
    """What `kumo.make_listener_domain` is given for a peer that is not authenticated."""
    if fields is None:
        return None
    return {name: value for name, value in fields.items() if name != NOT_FOR_THE_CONSTRUCTOR}
