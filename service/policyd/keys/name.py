"""
What a private key is called: a key root of the configuration, and a name below it.

A name is checked before anything is made of it: what these functions return is safe in a path, of a file or of Vault.
"""

import re
from dataclasses import dataclass
from typing import Final

from policyd.config import KEY_ROOT
from policyd.errors import KeyInvalid

DEFAULT_ROOT: Final = "default"

_LABEL = r"[A-Za-z0-9_-]{1,63}"
_LABELS = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST_DOMAIN = 253
_PART = re.compile(r"[A-Za-z0-9_+=@-][A-Za-z0-9_.+=@-]{0,199}")
"""A file name keeps room for its suffix; what begins with a dot is nobody's key."""
_MOST_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyName:
    """Where a key is: *root* is a key root of the configuration, *name* its parts below that, joined with `/`."""

    root: str
    name: str

    def __post_init__(self) -> None:
        if not KEY_ROOT.fullmatch(self.root):
            raise KeyInvalid(
                key=repr(self.root[:80]),
                problem="is not the name of a key root: those are like default or acme-2",
            )
        if not is_path(self.name):
            raise KeyInvalid(
                key=repr(self.name[:80]),
                problem="has a name that is not allowed: at most eight parts joined with /, each of letters,"
                " digits and _ . + = @ -, not beginning with a dot",
            )

    def __str__(self) -> str:
        return f"{self.root}:{self.name}"


def is_path(text: str) -> bool:
    """Whether *text* is parts joined with `/`, none of which leads anywhere but down."""
    parts = text.split("/")
    return len(parts) <= _MOST_PARTS and all(_PART.fullmatch(part) for part in parts)


def key_of(domain: str, selector: str, *, root: str = DEFAULT_ROOT) -> KeyName:
    """
    The name of a domain's own key, as KumoMTA lays them out: `DOMAIN/SELECTOR` below *root*.

    *domain* is normalised already; KeyInvalid for what is no domain or no selector.
    """
    if len(domain) > _LONGEST_DOMAIN or domain != domain.lower() or not _LABELS.fullmatch(domain):
        raise KeyInvalid(
            key=repr(domain[:80]), problem="cannot be: that is not a domain in lower-case A-labels"
        )
    if len(selector) > _LONGEST_DOMAIN or not _LABELS.fullmatch(selector):
        raise KeyInvalid(
            key=f"{domain}/{selector[:80]!r}",
            problem="cannot be: that is not a selector, which is like s1 or 2026.mail",
        )
    return KeyName(root=root, name=f"{domain}/{selector}")


def parse_key_ref(text: str) -> KeyName:
    """The key that a row's `key_ref` means: `ROOT:NAME`, like `default:shared/2026a`."""
    root, colon, name = text.partition(":")
    if not colon:
        raise KeyInvalid(
            key=repr(text[:80]), problem="is not written as ROOT:NAME, like default:shared/2026a"
        )
    return KeyName(root=root, name=name)
