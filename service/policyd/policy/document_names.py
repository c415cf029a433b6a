"""Names of documents as people write them: `queue/gmail.com`, `egress_pool/bulk`, where a tag is `egress_pool/*/bulk`."""

import difflib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from policyd.errors import PolicydError
from policyd.policy.names import normalise_domain
from policyd.policy.tags import kind_of, tag

GROUPED: Final = ("egress_source", "egress_pool", "listener_domain")
"""Kinds whose names come after a group of nodes or a listener, which people leave out."""
_OTHER_WORDS: Final = {
    "pool": "egress_pool",
    "source": "egress_source",
    "token": "api_token",
    "credential": "smtp_credential",
    "dkim": "dkim_domain",
    "webhooks": "webhook",
    "shaping.json": "shaping",
    "shaping.toml": "shaping",
}
_DOMAINS: Final = ("queue", "listener_domain", "dkim_domain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What somebody wrote for documents: those that have one of these names, or one that goes on from it with a slash."""

    text: str
    kind: str
    names: tuple[str, ...]
    in_groups: tuple[str, ...] = ()
    """Names that may stand in any group: `bulk` is `egress_pool/*/bulk`, and `egress_pool/eu/bulk`."""

    def tags(self, groups: Iterable[str]) -> tuple[str, ...]:
        """The names with those of every group."""
        grouped = [f"{self.kind}/{group}/{name}" for group in ("*", *groups) for name in self.in_groups]
        return tuple(dict.fromkeys((*self.names, *grouped)))


def read_name(text: str, kinds: Collection[str]) -> Written:
    """What *text* names; PolicydError, with the nearest one, for a kind that is none of *kinds*."""
    word, _, rest = text.strip().strip("/").partition("/")
    word = word.lower()
    kind = _OTHER_WORDS.get(word, word.replace("-", "_"))
    if kind not in kinds:
        near = difflib.get_close_matches(kind, [*kinds, *_OTHER_WORDS], n=1)
        raise PolicydError(
            f"there is no kind of documents {word[:40]!r}{f'; did you mean {near[0]}?' if near else ''}",
            hint=f"write KIND/KEY, like queue/gmail.com; kinds are {', '.join(sorted(kinds))}",
        )
    if not rest:
        return Written(text=text, kind=kind, names=(kind,))
    # A name may hold a slash, which a tag writes as %2F: what was written may be either.
    spelled = {rest, rest.replace("%", "%25").replace("/", "%2F")}
    if kind in _DOMAINS:
        first, slash, more = rest.partition("/")
        spelled.add(normalise_domain(first) + slash + more)
    ordered = sorted(spelled)
    in_groups = [name for name in ordered if "/" not in name] if kind in GROUPED else []
    return Written(
        text=text, kind=kind, names=tuple(f"{kind}/{name}" for name in ordered), in_groups=tuple(in_groups)
    )


def short(name: str) -> str:
    """A tag as people write it: without the `*` that stands for every group."""
    kind = kind_of(name)
    return name.replace("/*/", "/", 1) if kind in GROUPED and name.startswith(f"{kind}/*/") else name


def nearest(written: Written, tags: Iterable[str]) -> str | None:
    """Which of *tags* was probably meant, as people write it."""
    names = {short(each): None for each in tags}
    wanted = short(tag(written.kind, "*", written.in_groups[0]) if written.in_groups else written.names[0])
    found = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75)
    return found[0] if found and found[0] != wanted else None
