"""Webhooks from policyd's own file as rows. KumoMTA has no file for them."""

from collections.abc import Iterator, Mapping
from typing import Final

from policyd.transfer.files import nearest
from policyd.transfer.findings import Field, Finding, Json, Origin, Problem, Reference, Row

DEFAULTS: Final[Mapping[str, Json]] = {
    "insecure": False,
    "tenant": None,
    "headers": {},
    "secret": None,
    "batch_size": 100,
    "max_batch_latency": "1s",
    "timeout": "30s",
    "enabled": True,
}
"""What a webhook has that says nothing else, as in policy.webhook."""
FIELDS: Final = ("url", "events", *DEFAULTS)


def read_webhook(name: str, origin: Origin, fields: Mapping[str, Field]) -> Iterator[Finding]:
    """The row of a webhook, and what is wrong with it; whether a URL or an event is one is for its table to say."""
    values: dict[str, Json] = {"name": name, **DEFAULTS}
    for key, item in fields.items():
        if key not in FIELDS:
            yield Problem(origin=item.origin, sentence=f"a webhook has no '{key}'{nearest(key, FIELDS)}")
        elif not _fits(key, item.value):
            yield Problem(origin=item.origin, sentence=f"must be {_WANTED[key]}")
        else:
            values[key] = item.value
    for key in ("url", "events"):
        if key not in fields:
            yield Problem(origin=origin, sentence=f"a webhook needs '{key}'")
    tenant = values["tenant"]
    if isinstance(tenant, str):
        yield Reference(table="tenant", name=tenant, origin=fields["tenant"].origin)
    yield Row(table="webhook", values=values, origin=origin)


_WANTED = {
    "url": "text",
    "events": "a list of record types, such as Delivery",
    "insecure": "true or false",
    "tenant": "the name of a tenant",
    "headers": 'a table of header to text, or to { secret = "NAME" }',
    "secret": "the name of a secret",
    "batch_size": "a whole number",
    "max_batch_latency": "text such as 1s",
    "timeout": "text such as 30s",
    "enabled": "true or false",
}


def _fits(key: str, value: Json) -> bool:
    match key:
        case "insecure" | "enabled":
            return isinstance(value, bool)
        case "batch_size":
            return isinstance(value, int) and not isinstance(value, bool)
        case "events":
            return isinstance(value, list) and all(isinstance(each, str) for each in value)
        case "headers":
            return isinstance(value, dict)
        case _:
            return isinstance(value, str)
