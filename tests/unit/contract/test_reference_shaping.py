"""The reference model of shaping, judged by what a real kumod answered, and by the rules that the sets do not touch."""

from typing import Any

import pytest

from tests.contract import recorded, shaping_files
from tests.contract.reference import shaping


@pytest.mark.parametrize("name", recorded.SETS)
def test_the_model_answers_every_recorded_question(name):
    mx = shaping_files.recorded_exchangers(name)
    loaded = shaping.load(shaping_files.recorded_files(name), mx)
    for each in recorded.answers(name, "shaping"):
        asked = each.question["domain"] or "", each.question["source"] or ""
        assert shaping.path_config(loaded, mx, *asked) == each.result["config"], each


def test_merging_by_domain_first_differs_only_for_domains_of_one_mx_in_turns():
    differing = set()
    asked_in_all = 0
    for name in recorded.SETS:
        mx = shaping_files.recorded_exchangers(name)
        together = shaping.load(shaping_files.together_by_domain(shaping_files.recorded_files(name)), mx)
        for each in recorded.answers(name, "shaping"):
            asked_in_all += 1
            asked = each.question["domain"] or "", each.question["source"] or ""
            if shaping.path_config(together, mx, *asked) != each.result["config"]:
                differing.add((name, *asked))
    # Counted in the data, so that a set that lost its turns, or a model that lost its difference, is noticed.
    assert (len(differing), asked_in_all) == (16, 288)
    assert {domain for _, domain, _ in differing} == {"corp.test", "gmail.test"}  # both at mx.google.test


MX = {"a.test": ("mx.a",), "b.test": ("mx.a",)}


@pytest.mark.parametrize(
    ("files", "config"),
    [
        ([{"default": {"smtp_port": 1, "replace_base": True, "sources": {"s": {"smtp_port": 2}}}}], {"smtp_port": 1}),
        ([{"default": {"idle_timeout": 1}, "a.test": {"replace_base": True, "smtp_port": 2}}], {"smtp_port": 2}),
        # Only the first file's replace_base counts when paths are asked for.
        (
            [{"default": {"idle_timeout": 1}, "a.test": {"smtp_port": 2}}, {"a.test": {"replace_base": True}}],
            {"idle_timeout": 1},
        ),
        # A provider's rate is that of the first file that has the provider, even if that says none.
        (
            [
                {"provider": {"p": {"match": [{"DomainSuffix": "a.test"}]}}},
                {"provider": {"p": {"provider_max_message_rate": "1/s", "replace_base": True}}},
            ],
            {},
        ),
        # A name in the file is compared as it is written; for its MX, DNS does not mind a dot.
        ([{"a.test": {"mx_rollup": False, "smtp_port": 1}, "a.test.": {"smtp_port": 2, "idle_timeout": 3}}], {"smtp_port": 1, "idle_timeout": 3}),
    ],
)  # fmt: skip
def test_the_loader_merges_as_described(files, config):
    mx = shaping_files.with_absolute(MX)
    assert shaping.path_config(shaping.load(files, mx), mx, "a.test", "s") == config


@pytest.mark.parametrize(
    ("written", "shown"),
    [("100/s", "100/s"), ("local:1_000/hour", "local:1000/h"), ("5/m,max_burst=2", "5/m,max_burst=2"), ("10/30s", "10/30s"), ("1,000/60min", "1000/h")],
)  # fmt: skip
def test_the_rates_and_limits_that_a_provider_adds_are_written_as_kumod_writes_them(written, shown):
    provider: dict[str, Any] = {"match": [{"DomainSuffix": "test"}], "provider_max_message_rate": written, "provider_connection_limit": "local:1_0"}  # fmt: skip
    loaded = shaping.load([{"provider": {"p": provider}}], {})
    assert shaping.path_config(loaded, {}, "a.test", "s") == {
        "provider_name": "p",
        "additional_connection_limits": {"shaping-provider-p-s-limit": "local:10"},
        "additional_message_rate_throttles": {"shaping-provider-p-s-rate": shown},
    }
