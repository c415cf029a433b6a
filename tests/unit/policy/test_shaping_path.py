"""An explanation of shaping comes to what KumoMTA's loader comes to, as the model of it has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given, settings

from policyd.policy.asking import Resolution, Seen, overlay
from policyd.policy.shaping_path import SHAPING_PATH
from tests.contract import shaping_files
from tests.contract.reference import shaping
from tests.contract.reference.files import Fields, File

# Every domain has an MX of its own: who shares one is for kumod to know.
EXCHANGERS: shaping.Exchangers = {
    "a.test": ("mx1.big.test", "mx2.big.test"),
    "b.test": ("mx1.big.test", "mx3.big.test"),
    "c.test": ("mx.small.test",),
    "vanity.a.test": ("mx1.big.test", "mx.small.test"),
    "_d.test": ("_d.test",),
}
_TWO_OF_ONE_DOMAIN: File = {
    "provider": {
        "big": {"match": [{"MXSuffix": ".big.test"}], "sources": {"ip-0": {}}},
        "small": {"match": [{"MXSuffix": ".big.test"}]},
    }
}


def body(files: Sequence[File]) -> dict[str, Any]:
    """The document that one file of shaping is."""
    providers, domains = [], []
    for name, said in files[0].items():
        if name == "provider":
            providers = [_section(each, fields) for each, fields in said.items()]  # type: ignore[attr-defined]
        else:
            domains.append(_section(name, said))  # type: ignore[arg-type]
    return {"providers": providers, "domains": domains}


def _section(name: str, said: Mapping[str, Any]) -> Fields:
    named = {"mx_rollup", "replace_base", "provider_connection_limit", "provider_max_message_rate", "match"}
    sources = [
        {
            "name": source,
            **{key: value for key, value in fields.items() if key == "provider_source_selection_rate"},
            "options": {
                key: value for key, value in fields.items() if key != "provider_source_selection_rate"
            },
        }
        for source, fields in said.get("sources", {}).items()
    ]
    rest = {key: value for key, value in said.items() if key not in named | {"sources", "automation"}}
    own = {key: value for key, value in said.items() if key in named}
    return {"match": [], **own, "name": name, "options": rest, "sources": sources, "automation": []}


def explained(document: Mapping[str, Any], domain: str, source: str, mx: Sequence[str]) -> Resolution:
    lookup = SHAPING_PATH.read(domain, [("source", source), *([("mx", ",".join(mx))] if mx else [])])
    resolver = SHAPING_PATH.resolve(lookup, 0.0)
    next(resolver)
    try:
        resolver.send(Seen({"shaping": document}, None))
    except StopIteration as finished:
        resolution: Resolution = finished.value
        return resolution
    raise AssertionError("it asks once")


def written(answer: Fields) -> Fields:
    """Limits and rates of providers as KumoMTA writes them."""
    made = {**answer}
    for name, spell in (
        ("additional_connection_limits", shaping._limit),
        ("additional_message_rate_throttles", shaping._rate),
    ):
        if isinstance(made.get(name), dict):
            made[name] = {
                key: spell(value) if key.startswith("shaping-provider-") else value
                for key, value in made[name].items()  # type: ignore[attr-defined]
            }
    return made


@settings(max_examples=120, deadline=None)
@given(shaping_files.files())
@example([_TWO_OF_ONE_DOMAIN])
def test_limits_are_laid_over_each_other_in_kumomtas_order(files: list[File]) -> None:
    document = body(files)
    loaded = shaping.load([files[0]], EXCHANGERS)
    for domain in (*EXCHANGERS, "nowhere.test"):
        for source in (*shaping_files.SOURCES[:2], "no-source"):
            # A section of a domain without an MX is dropped by KumoMTA, and told of here all the same.
            if domain not in EXCHANGERS and domain in files[0]:
                continue
            found = explained(document, domain, source, EXCHANGERS.get(domain, ()))
            expected = shaping.path_config(loaded, EXCHANGERS, domain, source)
            assert written(overlay(found.layers)) == expected, (domain, source)


def test_each_limit_says_which_section_it_is_from_and_what_cannot_be_known_is_said() -> None:
    file: File = {
        "default": {"connection_limit": 1, "max_ready": 5},
        "provider": {
            "big": {
                "match": [{"MXSuffix": ".big.test"}],
                "connection_limit": 2,
                "provider_connection_limit": 9,
            },
            "other": {"match": [{"DomainSuffix": ".other"}], "connection_limit": 3},
        },
        "a.test": {"connection_limit": 4, "sources": {"ip-1": {"connection_limit": 5}}},
        "b.test": {"mx_rollup": False, "replace_base": True, "smtp_port": 26},
    }
    found = explained(body([file]), "a.test", "ip-1", ["mx1.big.test"])
    froms = {(*field, layer.source) for layer in found.layers for field in layer.fields}
    assert {
        source for name, source in ((each[0], each[-1]) for each in froms) if name == "connection_limit"
    } == {
        "shaping default",
        "shaping provider big",
        "shaping a.test",
        "shaping a.test, source ip-1",
    }
    assert overlay(found.layers)["connection_limit"] == 5
    says = [(step.counts, step.says) for step in found.steps]
    assert (True, "provider big: each MX of a.test ends with .big.test") in says
    assert (False, "provider other: a.test ends with none of .other") in says
    assert says[0][1].startswith("KumoMTA's own shaping file lies under all of this")
    without = explained(body([file]), "a.test", "ip-1", [])
    assert (
        False,
        "provider big: it is if each MX of a.test ends with .big.test: say them, mx=HOST,HOST",
    ) in [(step.counts, step.says) for step in without.steps]
    alone = explained(body([file]), "b.test", "", [])
    assert overlay(alone.layers) == {"smtp_port": 26}
    assert "section b.test replaces its base: nothing of the default and of providers is left" in [
        step.says for step in alone.steps
    ]
