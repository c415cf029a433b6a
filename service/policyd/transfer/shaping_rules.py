"""Rules of automation from shaping files, in the one spelling that rows have."""

from collections.abc import Iterator

from policyd.policy.shaping import SECRETS
from policyd.transfer.files import nearest
from policyd.transfer.findings import Checked, Field, Finding, Json, Note, Origin, Problem
from policyd.transfer.secrets import take_secret
from policyd.transfer.shaping_files import Part
from policyd.transfer.values import boolean_problem

_KEYS = ("regex", "action", "trigger", "duration", "match_internal")


def read_rule(item: Part, owner: str, values: dict[str, Json], secret_names: set[str]) -> Iterator[Finding]:
    """Fills *values* with the columns of the rule's row; yields the record to be judged, and what else is to be said."""
    rule = {key: said.value for key, said in item.fields.items()}
    origins = {key: said.origin for key, said in item.fields.items()}
    for key in rule.keys() - set(_KEYS):
        sentence = f"a rule has no '{key}', and KumoMTA ignores it{nearest(key, _KEYS)}; left out"
        yield Note(topic="ignored", origin=origins[key], sentence=sentence)
    for key in ("regex", "action", "duration"):
        if key not in rule:
            yield Problem(origin=item.origin, sentence=f"a rule needs '{key}'")
    values["regex"] = _listed(rule.get("regex", "-"))
    actions: list[Json] = []
    for each in _listed(rule.get("action", "Suspend")):
        yield from _action(each, owner, origins.get("action", item.origin), actions, secret_names)
    values["action"] = actions
    values["duration"] = rule.get("duration", 1)
    values["match_internal"] = rule.get("match_internal", False)
    if "match_internal" in rule:
        yield from boolean_problem(Field(value=rule["match_internal"], origin=origins["match_internal"]))
    match rule.get("trigger", "Immediate"):
        case "Immediate":
            pass
        case {"Threshold": str(threshold), **rest} if not rest:
            values["threshold"] = threshold
        case _:
            sentence = 'must be "Immediate" or { Threshold = "3/hr" }'
            yield Problem(origin=origins["trigger"], sentence=sentence)
    yield Checked(
        object="shaping_rule",
        record={name: value for name, value in values.items() if name != "match_internal"},
        origin=item.origin,
        origins={"threshold" if key == "trigger" else key: origin for key, origin in origins.items()},
    )


def _action(
    written: Json, owner: str, origin: Origin, actions: list[Json], secret_names: set[str]
) -> Iterator[Finding]:
    """Adds the action, with a secret that it would set replaced by its name."""
    kind, said = next(iter(written.items())) if isinstance(written, dict) and written else ("", None)
    name = said.get("name") if isinstance(said, dict) else None
    if not isinstance(said, dict) or name not in SECRETS or "value" not in said:
        actions.append(written)
        return
    record: dict[str, Json] = {}
    item = Field(value=said["value"], origin=origin)
    yield from take_secret(str(name), f"{owner}_rule", item, record, secret_names)
    actions.append({kind: {**said, "value": record[str(name)]}})


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value]
