"""What a row can be called: the rules of `sql/0001_names.sql`, so that a name that breaks one is reported where it stands."""

import re
from collections.abc import Iterator

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


class Domains:
    """The domains of one map on their way into rows: two that become the same name are refused, both named."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._taken: dict[str, tuple[str, Origin]] = {}

    def take(self, written: str, origin: Origin) -> Iterator[str | Problem | Note]:
        """The row's name, if there is to be a row, and what is to be said about it."""
        name = row_domain(written)
        if name is None:
            yield Problem(
                origin=origin, sentence=f"'{written}' cannot be the name of a {self._what}: it is no domain"
            )
            return
        if name in self._taken:
            other, place = self._taken[name]
            yield Problem(
                origin=origin,
                sentence=f"'{written}' and '{other}' ({place}) are the same domain, {name}: keep one of them",
            )
            return
        self._taken[name] = written, origin
        if name != written:
            yield Note(
                topic="normalised",
                origin=origin,
                sentence=f"'{written}' becomes '{name}', which is how kumod asks for it",
            )
        yield name


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


def node_group_problem(name: str) -> Iterator[Problem]:
    """Why no group of nodes can be called so, if so."""
    if not _NODE_GROUP.fullmatch(name):
        sentence = f"'{_CONTROL.sub('?', name[:80])}' cannot be a group of nodes: allowed are 1 to 64 of A-Z a-z 0-9 . _ -"
        yield Problem(origin=Origin(file="--node-group"), sentence=sentence)
