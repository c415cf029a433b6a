"""What a row can be called: the rules of `sql/0001_names.sql`, so that a name that breaks one is reported where it stands."""

import re
from collections.abc import Iterator, Mapping

from policyd.policy.names import domain_chain, normalise_domain
from policyd.transfer.findings import Note, Origin, Problem

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LISTENER = re.compile(r"\*|[][A-Za-z0-9._:-]{1,255}")
_NODE_GROUP = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SEPARATORS = re.compile(r"[@:!]")


def row_domain(written: str) -> str | None:
    """The domain as a row is called, or None if it cannot be one (an address literal, the empty name)."""
    name = normalise_domain(written)
    return name if next(domain_chain(name)) == name else None


def row_domains(what: str, written: Mapping[str, Origin]) -> Iterator[tuple[str, str] | Problem | Note]:
    """Each domain of one map with its row's name. Two that become one name are refused, and both are named."""
    taken: dict[str, str] = {}
    for each, origin in written.items():
        name = row_domain(each)
        if name is None:
            yield Problem(origin=origin, sentence=f"'{each}' cannot be the name of a {what}: it is no domain")
            continue
        if name in taken:
            other = f"'{taken[name]}' ({written[taken[name]]})"
            sentence = f"'{each}' and {other} are the same domain, {name}: keep one of them"
            yield Problem(origin=origin, sentence=sentence)
            continue
        taken[name] = each
        if name != each:
            sentence = f"'{each}' becomes '{name}', which is how kumod asks for it"
            yield Note(topic="normalised", origin=origin, sentence=sentence)
        yield each, name


def listener_problem(name: str, origin: Origin) -> Iterator[Problem]:
    """Why there can be no listener of this name, if so."""
    if not _LISTENER.fullmatch(name):
        yield Problem(
            origin=origin,
            sentence=f"'{_CONTROL.sub('?', name[:80])}' cannot be a listener: allowed are *, an address with its port,"
            " and names of letters, digits and . _ : - [ ]",
        )


def name_problem(name: str, what: str, origin: Origin) -> Iterator[Problem]:
    """Why there can be no row of this name, if so."""
    if not 1 <= len(name) <= 255 or name != name.strip() or _CONTROL.search(name):
        yield Problem(
            origin=origin,
            sentence=f"'{_CONTROL.sub('?', name[:80])}' cannot be the name of {what}: allowed are 1 to 255 characters,"
            " no control characters, and no blanks at either end",
        )


def queue_part_problem(name: str, what: str, origin: Origin) -> Iterator[Problem]:
    """Why there can be no tenant or campaign of this name, if so: KumoMTA reads queue names back."""
    yield from name_problem(name, what, origin)
    if found := _SEPARATORS.search(name):
        yield Problem(
            origin=origin,
            sentence=f"'{name}' cannot be the name of {what}: KumoMTA reads '{found[0]}' in a queue's name as a separator",
        )


def node_group_problem(name: str, origin: Origin) -> Iterator[Problem]:
    """Why no group of nodes can be called so, if so."""
    if not _NODE_GROUP.fullmatch(name):
        sentence = f"'{_CONTROL.sub('?', name[:80])}' cannot be a group of nodes: allowed are 1 to 64 of A-Z a-z 0-9 . _ -"
        yield Problem(origin=origin, sentence=sentence)
