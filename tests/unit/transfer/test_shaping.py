"""Shaping files as rows: merged as KumoMTA's loader merges them, as far as no MX has to be asked for it."""

import tomllib
from pathlib import Path

import pytest

from policyd.policy.shaping import SECRETS
from policyd.transfer import packaged_shaping
from policyd.transfer.findings import Json
from tests.unit.transfer.given import files, notes, problems, read, rows


def test_a_file_becomes_rows_in_its_own_order():
    found = read(
        shaping="""
        ["default"]
        connection_limit = 10
        ["z.example"]
        mx_rollup = false
        idle_timeout = "5m"
        ["z.example".sources."ip-1"]
        smtp_port = 26
        ["a.example"]
        replace_base = true
        [provider."z"]
        match = [{ MXSuffix = ".z.example" }, { HostName = "mx.z.example" }]
        provider_connection_limit = 5
        enable_tls = "Required"
        [provider."a"]
        provider_max_message_rate = "100/s"
        [provider."a".sources."ip-1"]
        provider_source_selection_rate = "1/s"
        smtp_port = 26
        """
    )
    assert problems(found) == []
    assert rows(found, "shaping_domain") == [
        {"domain": "default", "position": None, "options": {"connection_limit": 10}},
        {"domain": "z.example", "position": 1, "mx_rollup": False, "options": {"idle_timeout": "5m"}},
        {"domain": "a.example", "position": 2, "replace_base": True, "options": {}},
    ]
    assert rows(found, "shaping_domain_source") == [
        {"domain": "z.example", "source": "ip-1", "options": {"smtp_port": 26}}
    ]
    assert rows(found, "shaping_provider") == [
        {"name": "z", "position": 1, "provider_connection_limit": 5, "options": {"enable_tls": "Required"}},
        {"name": "a", "position": 2, "provider_max_message_rate": "100/s", "options": {}},
    ]
    assert rows(found, "shaping_provider_match") == [
        {"provider": "z", "rule": "MXSuffix", "value": ".z.example"},
        {"provider": "z", "rule": "HostName", "value": "mx.z.example"},
    ]
    assert rows(found, "shaping_provider_source") == [
        {
            "provider": "a",
            "source": "ip-1",
            "provider_source_selection_rate": "1/s",
            "options": {"smtp_port": 26},
        }
    ]


RULES = r"""
    [["default".automation]]
    regex = "busy"
    action = "Suspend"
    duration = "1h"
    [["default".automation]]
    regex = ['\[TS04\]', "later"]
    action = ["SuspendTenant", { SetConfig = { name = "max_message_rate", value = "1/minute" } }]
    trigger = { Threshold = "3/hr" }
    duration = 3600
    match_internal = true
    """


def test_rules_keep_their_order_and_have_one_spelling():
    found = read(shaping=RULES)
    assert rows(found, "shaping_domain_automation") == [
        {
            "domain": "default", "position": 1, "regex": ["busy"], "action": ["Suspend"], "duration": "1h",
            "match_internal": False,
        },
        {
            "domain": "default", "position": 2, "regex": [r"\[TS04\]", "later"],
            "action": ["SuspendTenant", {"SetConfig": {"name": "max_message_rate", "value": "1/minute"}}],
            "threshold": "3/hr", "duration": 3600, "match_internal": True,
        },
    ]  # fmt: skip
    assert [row.origin.line for row in found.rows if row.table == "shaping_domain_automation"] == [2, 6]


def test_options_of_a_later_file_win_maps_merge_by_key_and_rules_append():
    found = read(
        first='["a.example"]\nsmtp_port = 25\nadditional_connection_limits = { x = 1, y = 1 }\n' + RULES,
        second='["a.example"]\nsmtp_port = 26\nadditional_connection_limits = { y = 2 }\n' + RULES,
    )
    (row,) = [row for row in rows(found, "shaping_domain") if row["domain"] == "a.example"]
    assert row["options"] == {"smtp_port": 26, "additional_connection_limits": {"x": 1, "y": 2}}
    assert [row["position"] for row in rows(found, "shaping_domain_automation")] == [1, 2, 3, 4]


def test_replace_base_clears_what_earlier_files_said_and_is_itself_only_taken_from_the_first():
    found = read(
        first='["a.example"]\nsmtp_port = 25\n["a.example".sources.s]\nsmtp_port = 27\n',
        second='["a.example"]\nidle_timeout = 1\nreplace_base = true\n',
    )
    assert rows(found, "shaping_domain") == [
        {"domain": "a.example", "position": 1, "options": {"idle_timeout": 1}}
    ]
    assert rows(found, "shaping_domain_source") == []
    (note,) = notes(found, "surprise")
    assert (
        'second.toml:3: "a.example".replace_base: replaces what first.toml:1: "a.example" says, but'
        in str(note)
    )


def test_a_provider_keeps_the_rate_of_its_first_file_as_kumomta_does():
    found = read(
        first='[provider.p]\nmatch = [{ DomainSuffix = "a" }]\nprovider_connection_limit = 1\n',
        second='[provider.p]\nreplace_base = true\nprovider_max_message_rate = "1/s"\n',
    )
    assert rows(found, "shaping_provider") == [
        {"name": "p", "position": 1, "replace_base": True, "options": {}}
    ]
    assert rows(found, "shaping_provider_match") == []
    (note,) = notes(found, "ignored")
    assert "KumoMTA takes this from the first file that has the provider, at first.toml:1" in str(note)


def test_a_domain_that_rolls_up_in_one_file_and_not_in_another_is_two():
    found = read(
        first='["a.example"]\nsmtp_port = 25\n', second='["a.example"]\nmx_rollup = false\nsmtp_port = 26\n'
    )
    assert [(row["domain"], row["options"]) for row in rows(found, "shaping_domain")] == [
        ("a.example.", {"smtp_port": 25}),
        ("a.example", {"smtp_port": 26}),
    ]
    (note,) = notes(found, "normalised")
    assert "the first becomes 'a.example.', which is the same domain to KumoMTA" in str(note)


def test_domains_in_turns_are_named_where_a_common_mx_would_make_a_difference():
    one = '["a.example"]\nsmtp_port = 25\n["b.example"]\nsmtp_port = 26\n'
    (note,) = notes(read(first=one, second='["a.example"]\nsmtp_port = 27\n'), "surprise")
    assert note.details == ("'a.example' and 'b.example', at second.toml:1: \"a.example\"",)
    assert notes(read(first=one, second='["a.example"]\nidle_timeout = 1\n'), "surprise") == []
    assert notes(read(first=one, second='["b.example"]\nsmtp_port = 27\n'), "surprise") == []
    replacing = read(first=one, second='["b.example"]\nreplace_base = true\n')
    assert "in turns" in str(notes(replacing, "surprise"))


def test_secrets_become_names_and_go_no_further():
    found = read(
        shaping="""
        ["a.example"]
        smtp_auth_plain_password = { key_data = "canary" }
        tls_private_key = "/etc/canary.key"
        [["a.example".automation]]
        regex = "x"
        action = { SetConfig = { name = "smtp_auth_plain_password", value = { key_data = "canary" } } }
        duration = 60
        """
    )
    assert problems(found) == []
    assert [secret.name for secret in found.secrets] == [
        "smtp_auth_plain_password_a_example",
        "tls_private_key_a_example",
        "smtp_auth_plain_password_a_example_rule",
    ]
    assert "canary" not in repr([row.values for row in found.rows]) + repr(found)


def test_what_policyd_served_is_read_back_with_its_secrets_names():
    found = read(
        shaping='["a.example"]\ntls_private_key = { event_name = "policyd.secret", event_args = ["k"] }\n'
    )
    assert rows(found, "shaping_domain")[0]["options"] == {"tls_private_key": {"secret": "k"}}
    assert found.secrets == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('["[10.0.0.1"]\nsmtp_port = 25', "'[10.0.0.1' cannot be a section of shaping"),
        ('["*.a.example"]\nsmtp_port = 25', "cannot be a section of shaping: KumoMTA compares whole names"),
        ("[gmail.com]\nsmtp_port = 25", 'if the domain gmail.com is meant, write it in quotes: ["gmail.com"]'),
        ('["a.example"]\nmx_rolup = true', "'mx_rolup' is no option of a section of shaping; did you mean 'mx_rollup'?"),
        ('["a.example"]\nmx_rollup = "yes"', "mx_rollup: must be true or false"),
        ('["a.example"]\nsources = 1', "sources: must be a table of tables"),
        ('["a.example"]\nautomation = 1', "automation: must be a list of tables"),
        ('["a.example"]\nautomation = [1]', "automation.1: must be a table"),
        ('"a.example" = 1', "must be a table"),
        ("provider = 1", "provider: must be a table of tables"),
        ("[provider.p]\nmatch = [{ Suffix = 'x' }]", "must have one of MXSuffix, DomainSuffix, HostName"),
        ("[provider.p]\nmatch = [{ MXSuffix = 1 }]", "MXSuffix must be text"),
        ("[provider.' ']\nsmtp_port = 25", "cannot be the name of a provider"),
        ("[[default.automation]]\naction = 'Suspend'\nduration = 1", "default.automation.1: a rule needs 'regex'"),
        ("[[default.automation]]\nregex = 'x'\naction = 'Suspend'\nduration = 1\ntrigger = 'Soon'", 'must be "Immediate" or'),
        ("[[default.automation]]\nregex = 'x'\naction = 'Suspend'\nduration = 1\nmatch_internal = 1", "must be true or false"),
        ('["a.example"]\n["A.example"]', "are the same domain, a.example"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_said_with_its_place(text, problem):
    # What the catalogue knows is judged by the database.
    (found,) = [each for each in problems(transferred(text)) if problem in each]
    assert found.startswith("shaping.toml")


def transferred(text):
    return read(shaping=text)


@pytest.mark.parametrize(
    ("text", "topic", "sentence"),
    [
        ('["A.Example."]\nsmtp_port = 25', "normalised", "becomes 'a.example'"),
        ("[provider.p]\nmatch = [{ MXSuffix = '.Example.COM.' }]", "normalised", "becomes '.example.com'"),
        ("[default]\nmx_rollup = true", "ignored", "default does not roll up"),
        ("[default.sources.s]\nsmtp_port = 25", "ignored", "never applies what default says of a source"),
        ("[[default.automation]]\nregex = 'x'\naction = 'Suspend'\nduration = 1\ntriger = 1", "ignored", "did you mean 'trigger'?"),
        ("[provider.google]\nprovider_max_message_rate = '1/s'", "surprise", "KumoMTA's own file has a provider 'google' without this"),
    ],
)  # fmt: skip
def test_what_kumomta_would_ignore_or_never_find_is_noted(text, topic, sentence):
    found = transferred(text)
    (note,) = notes(found, topic)
    assert sentence in str(note)
    assert problems(found) == []


def test_rules_of_kumomtas_own_file_are_left_out_where_they_would_count_twice(monkeypatch):
    rule: dict[str, Json] = {
        "kind": "domain", "name": "default", "regex": ["busy"], "action": ["Suspend"], "duration": "1h",
        "match_internal": False,
    }  # fmt: skip
    monkeypatch.setattr(packaged_shaping, "RULES", frozenset([packaged_shaping.digest(rule)]))
    found = read(shaping=RULES)
    assert [row["regex"] for row in rows(found, "shaping_domain_automation")] == [[r"\[TS04\]", "later"]]
    (note,) = notes(found, "not imported")
    assert "shaping.toml:2: default.automation.1: KumoMTA's own shaping file has this rule" in str(note)
    elsewhere = read(shaping=RULES.replace("default", "a.example"))
    assert len(rows(elsewhere, "shaping_domain_automation")) == 2
    replacing = read(shaping="[default]\nreplace_base = true\n" + RULES)
    assert len(rows(replacing, "shaping_domain_automation")) == 2


def test_kumomtas_own_file_itself_is_left_out_whatever_its_comments(monkeypatch):
    given = files(shaping=RULES)
    monkeypatch.setattr(packaged_shaping, "FILES", frozenset([packaged_shaping.digest(dict(given[0].data))]))
    found = read(shaping="# edited\n" + RULES, own='["a.example"]\nsmtp_port = 25\n')
    assert [row.values.get("domain") for row in found.rows] == ["a.example"]
    (note,) = notes(found, "not imported")
    assert "this is KumoMTA's own shaping file" in str(note)


def test_no_option_of_kumomta_is_taken_for_a_misspelt_word_of_shaping():
    options = tomllib.loads((Path(__file__).parents[3] / "sql/options.toml").read_text())["egress_path"]
    for section in ('["a.example"]', "[provider.p]", '["a.example".sources.s]', "[provider.p.sources.s]"):
        text = "\n".join(f"{name} = 1" for name in options if name not in SECRETS)
        assert problems(read(shaping=f"{section}\n{text}")) == []
