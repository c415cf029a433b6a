"""Values of a file judged where the database has no catalogue entry for them, and lists merged as Lua merges them."""

import re
from collections.abc import Iterator

from policyd.transfer.findings import Field, Json, Problem

# As policy.is_header and policy.is_host in sql/0001_names.sql.
_HEADER = re.compile(r"[!-9;-~]{1,200}")
_HOST = re.compile(r"[][A-Za-z0-9._:-]{1,255}")


def as_list(value: Json) -> Json:
    """The value; an empty table is an empty list, because Lua cannot tell the two apart."""
    return [] if value == {} else value


def boolean_problem(item: Field) -> Iterator[Problem]:
    """Why the value is not true or false, if so."""
    if not isinstance(item.value, bool):
        yield Problem(origin=item.origin, sentence="must be true or false")


def header_problem(item: Field) -> Iterator[Problem]:
    """Why the value is not the name of a header, if so."""
    if not isinstance(item.value, str) or not _HEADER.fullmatch(item.value):
        yield Problem(origin=item.origin, sentence="must be the name of a header, such as X-Tenant")


def host_problem(item: Field) -> Iterator[Problem]:
    """Why the value is neither a domain nor an address literal, if so."""
    if not isinstance(item.value, str) or not _HOST.fullmatch(item.value):
        yield Problem(origin=item.origin, sentence="must be a domain, or an address in brackets")


def merged(earlier: Json, later: Json) -> Json:
    """What KumoMTA makes of a value in two queue files: tables key by key and lists index by index, at every depth."""
    match as_list(earlier), as_list(later):
        case dict() as old, dict() as new:
            return {
                **old,
                **{key: merged(old[key], value) if key in old else value for key, value in new.items()},
            }
        case list() as old, list() as new:
            return [merged(*both) for both in zip(old, new, strict=False)] + old[len(new) :] + new[len(old) :]
        case _:
            return later
