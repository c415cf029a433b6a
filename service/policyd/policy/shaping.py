"""
Traffic shaping: all of it, as the file that KumoMTA's loader and its TSA daemon read.

Nothing is resolved here for one domain: that takes the MX of every domain, which kumod looks up when it loads the
file. A secret is given to kumod as an event that asks the node's own setup for it, because the loader knows no other
reference to something that is not in the file.
"""

from collections.abc import Iterable, Mapping

import orjson
import tomli_w

from policyd.policy.asking import Field, Json, Layer, Resolution, Resolver, ask
from policyd.policy.lookup import File, Kind, Lookup

SHAPING = "shaping"
SECRET_EVENT = "policyd.secret"  # noqa: S105 - the name of an event
SECRETS = frozenset(("tls_certificate", "tls_private_key", "smtp_auth_plain_password"))


def resolve(lookup: Lookup, now: float) -> Resolver:
    """Sections as KumoMTA calls them: `default`, `provider` by name, and every domain under its own name, in order."""
    del lookup, now
    seen = yield ask(SHAPING)
    body = seen[SHAPING]
    if body is None:
        return Resolution(layers=())
    return Resolution(layers=(Layer(SHAPING, sections(body)),))


def sections(body: Mapping[str, Json]) -> dict[Field, Json]:
    """The sections of the file that the document *body* is, each with the place where it goes."""
    domains: dict[Field, Json] = {(each["name"],): _domain(each) for each in body["domains"]}
    providers: dict[Field, Json] = {("provider", each["name"]): _provider(each) for each in body["providers"]}
    return {**providers, **domains}


def _domain(row: Mapping[str, Json]) -> dict[str, Json]:
    return {
        **_given(row, "mx_rollup", "replace_base"),
        **_options(row["options"]),
        **_sources(row["sources"]),
        **_automation(row["automation"]),
    }


def _provider(row: Mapping[str, Json]) -> dict[str, Json]:
    return {
        "match": row["match"],
        **_given(row, "replace_base", "provider_connection_limit", "provider_max_message_rate"),
        **_options(row["options"]),
        **_sources(row["sources"]),
        **_automation(row["automation"]),
    }


def _sources(rows: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    sources = {
        row["name"]: {**_given(row, "provider_source_selection_rate"), **_options(row["options"])}
        for row in rows
    }
    return {"sources": sources} if sources else {}


def _automation(rules: Iterable[Mapping[str, Json]]) -> dict[str, Json]:
    automation = [{**rule, "action": [_action(each) for each in rule["action"]]} for rule in rules]
    return {"automation": automation} if automation else {}


def _action(action: Json) -> Json:
    if isinstance(action, str):
        return action
    ((name, said),) = action.items()
    return {name: {"name": said["name"], "value": _options({said["name"]: said["value"]})[said["name"]]}}


def _options(options: Mapping[str, Json]) -> dict[str, Json]:
    return {name: key_source(value) if name in SECRETS else value for name, value in options.items()}


def key_source(reference: Mapping[str, Json]) -> Json:
    """A secret that a row names, as what kumod takes: an event that asks the node's own setup for it."""
    return {"event_name": SECRET_EVENT, "event_args": [reference["secret"]]}


def _given(row: Mapping[str, Json], *names: str) -> dict[str, Json]:
    return {name: row[name] for name in names if name in row}


def to_json(sections: Mapping[str, Json]) -> bytes:
    """The file as strict JSON, which is what KumoMTA's loader takes: no comments, no null."""
    return orjson.dumps(sections, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def to_toml(sections: Mapping[str, Json]) -> bytes:
    """The same as TOML, in the same order."""
    return tomli_w.dumps(sections).encode()


SHAPING_JSON = Kind(
    name="shaping_json",
    segment="shaping.json",
    summary="All of shaping, as the file that kumo.shaping.load takes",
    key=None,
    parameters=(),
    resolve=resolve,
    file=File(media_type="application/json", write=to_json),
)

SHAPING_TOML = Kind(
    name="shaping_toml",
    segment="shaping.toml",
    summary="The same as TOML",
    key=None,
    parameters=(),
    resolve=resolve,
    file=File(media_type="application/toml", write=to_toml),
)
