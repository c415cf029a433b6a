"""Names as they are asked for: domains normalised to what a row can be called, and the chain of wildcards above."""

import re
from collections.abc import Iterator

import idna

_ROW = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LONGEST_DOMAIN = 253  # RFC 1035, without the root
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")  # what IDNA takes for one


def normalise_domain(asked: str) -> str:
    """
    *asked* in lower-case A-labels without a trailing dot.

    What cannot be such a name (`[192.0.2.1]`, the null sender's empty name) comes back lower-cased: it matches no
    row of its own, but `*` still covers it. `_` is kept, because mail is sent to such names. What comes back is
    its own normal form: cached answers are found by it.
    """
    name = asked.lower()
    if not name.isascii():
        name = ".".join(_a_label(label) for label in name.translate(_DOTS).split("."))
    return name if name.endswith("..") else name.removesuffix(".")


def domain_chain(name: str) -> Iterator[str]:
    """
    The row names that could answer for the normalised *name*, nearest first: itself, `*.parent`, …, `*`.

    A name that cannot be a row is left out; the wildcards above it are not. `*.example.com` and `*` themselves may
    be asked for: a node that knows which rows exist asks for the row.
    """
    is_row = _can_be_row(name)
    if is_row:
        yield name
    parent = name.removeprefix("*.")
    while "." in parent:
        parent = parent.partition(".")[2]
        # Above a name that can be a row there are only names that can be, too.
        if is_row or _can_be_row(f"*.{parent}"):
            yield f"*.{parent}"
    yield "*"


def _can_be_row(name: str) -> bool:
    return len(name) <= _LONGEST_DOMAIN and _ROW.fullmatch(name) is not None


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    try:
        encoded = idna.encode(label, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return label
    return label if "." in encoded else encoded
