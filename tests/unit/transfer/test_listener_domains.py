"""Listener domain files."""

import pytest
from hypothesis import given

from policyd.transfer.files import read_helper_file
from policyd.transfer.reading import transfer
from tests.contract.reference.listener_domains import merged
from tests.contract.strategies import File, listener_domain_files
from tests.contract.toml_writer import to_toml
from tests.unit.transfer.given import files, notes, problems, read, rows


def test_a_section_becomes_a_row_of_any_listener() -> None:
    found = read(
        listener_domains="""
        ["example.com"]
        relay_to = true
        log_oob = false
        log_arf = "LogThenDrop"
        relay_from = ["10.0.0.0/24"]
        relay_from_authz = ["bob"]
        """
    )
    assert rows(found, "listener_domain") == [
        {
            "listener": "*",
            "domain": "example.com",
            "relay_to": True,
            "log_oob": "false",
            "log_arf": "LogThenDrop",
            "relay_from": ["10.0.0.0/24"],
            "relay_from_authz": ["bob"],
        }
    ]
    assert not found.problems
    assert not found.notes


def test_a_later_file_wins_field_by_field_and_replaces_lists() -> None:
    found = read(
        listener_domains_a='["a.com"]\nrelay_to = true\nrelay_from = ["10.0.0.1", "10.0.0.2"]',
        listener_domains_b='["a.com"]\nlog_oob = true\nrelay_from = ["10.0.0.3"]',
    )
    assert rows(found, "listener_domain") == [
        {"listener": "*", "domain": "a.com", "relay_to": True, "log_oob": "true", "relay_from": ["10.0.0.3"]}
    ]


def test_the_top_level_hides_the_star_listener_of_the_same_file_only() -> None:
    found = read(
        listener_domains_a='["b.com"]\nrelay_to = false\n[listener."*"."a.com"]\nrelay_to = true',
        listener_domains_b='["a.com"]\nlog_oob = true\n[listener."*"."a.com"]\nlog_arf = true',
    )
    (row,) = [row for row in rows(found, "listener_domain") if row["domain"] == "a.com"]
    assert row == {"listener": "*", "domain": "a.com", "relay_to": True, "log_oob": "true"}
    (note,) = notes(found, "surprise")
    assert note.origin.file == "listener_domains_b.toml"


def test_a_ttl_is_checked_and_left_out_because_kumomta_ignores_it() -> None:
    found = read(listener_domains='["a.com"]\nrelay_to = true\nttl = "5m"')
    assert "ttl" not in rows(found, "listener_domain")[0]
    assert found.checks[0].record["ttl"] == "5m"
    assert [str(note.origin) for note in notes(found, "ignored")] == ['listener_domains.toml:3: "a.com".ttl']


def test_unknown_options_are_left_to_the_check_with_their_place() -> None:
    found = read(listener_domains='["a.com"]\nrelay_too = true')
    (check,) = found.checks
    assert check.record == {"relay_too": True}
    assert str(check.origins["relay_too"]) == 'listener_domains.toml:2: "a.com".relay_too'


def test_names_are_normalised_and_said_to_be() -> None:
    found = read(listener_domains='["Bücher.Example."]\nrelay_to = true')
    assert rows(found, "listener_domain")[0]["domain"] == "xn--bcher-kva.example"
    assert "Bücher.Example." in notes(found, "normalised")[0].sentence


def test_two_names_of_one_domain_are_refused_and_both_are_named() -> None:
    found = read(listener_domains='["A.com"]\nrelay_to = true\n\n["a.com."]\nrelay_to = false')
    (problem,) = problems(found)
    assert "'a.com.' and 'A.com' (listener_domains.toml:1: \"A.com\") are the same domain, a.com" in problem


@pytest.mark.parametrize(
    "name", ["", "[10.0.0.1]", "a..b", "*a.com", "a.*.com", "a b.com", "x" * 64 + ".com"]
)
def test_what_cannot_be_a_row_is_refused(name: str) -> None:
    (problem,) = problems(read(listener_domains=f'["{name}"]\nrelay_to = true'))
    assert f"'{name}' cannot be the name of a listener domain" in problem


def test_a_listener_can_be_given_the_operators_own_name() -> None:
    text = '[listener."10.0.0.1:25"."a.com"]\nrelay_to = true'
    found = transfer(files(listener_domains=text), listener_names={"10.0.0.1:25": "mx"})
    assert rows(found, "listener_domain")[0]["listener"] == "mx"


def test_two_listeners_of_one_name_must_not_say_different_things_of_a_domain() -> None:
    text = """
    [listener."10.0.0.1:25"."a.com"]
    relay_to = true
    [listener."[::1]:25"."a.com"]
    relay_to = false
    [listener."[::1]:25"."b.com"]
    """
    names = {"10.0.0.1:25": "mx", "[::1]:25": "mx"}
    (problem,) = problems(transfer(files(listener_domains=text), listener_names=names))
    assert "listeners '[::1]:25' and '10.0.0.1:25' are both to be called 'mx'" in problem


@pytest.mark.parametrize("listener", ["", "a b", "10.0.0.1/25", "x" * 256])
def test_what_cannot_be_a_listener_is_refused(listener: str) -> None:
    found = read(listener_domains=f'[listener."{listener}"."a.com"]\nrelay_to = true')
    assert "cannot be a listener" in problems(found)[0]


def test_a_listener_that_no_connection_has_is_noted() -> None:
    (note,) = notes(read(listener_domains='[listener."0.0.0.0:25"."a.com"]\nrelay_to = true'), "surprise")
    assert "0.0.0.0:25" in note.sentence


@pytest.mark.parametrize(
    "text", ["listener = 1", "[listener]\nx = 1", "'a.com' = true", "[listener.x]\n'a.com' = 1"]
)
def test_what_is_no_table_is_refused_where_it_stands(text: str) -> None:
    assert problems(read(listener_domains=text))[0].startswith("listener_domains.toml:")


def test_the_wildcard_that_kumomta_does_not_go_back_to_is_named() -> None:
    found = read(listener_domains='["*.example.com"]\nrelay_to = true\n["a.b.example.com"]\nrelay_to = false')
    (note,) = notes(found, "trie")
    assert note.origin.key == ("*.example.com",)
    assert "x.b.example.com: KumoMTA answers nothing, policyd answers *.example.com" in note.details


def test_the_bare_star_is_what_kumomta_falls_back_to_except_on_a_listener_of_its_own() -> None:
    found = read(listener_domains='["*"]\nrelay_to = true\n["a.com"]\nrelay_to = false')
    assert not notes(found, "trie")
    found = read(
        listener_domains='[listener."10.0.0.1:25"."*"]\nrelay_to = true\n[listener."10.0.0.1:25"."a.com"]'
    )
    (note,) = notes(found, "trie")
    assert "x.com: KumoMTA answers nothing, policyd answers * (of listener 10.0.0.1:25)" in note.details


@given(listener_domain_files())
def test_rows_are_what_the_reference_merges(raw: list[File]) -> None:
    texts = [to_toml(file) for file in raw]
    found = transfer(
        [read_helper_file(f"l{i}.toml", text, "listener_domains") for i, text in enumerate(texts)]
    )
    assert not found.problems
    stored = {(row["listener"], row["domain"]): row for row in rows(found, "listener_domain")}
    expected = {(where, name): fields for where, per in merged(raw).items() for name, fields in per.items()}
    assert stored.keys() == expected.keys()
    for place, fields in expected.items():
        row = {name: value for name, value in stored[place].items() if name not in {"listener", "domain"}}
        spelled = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()
        }
        if "relay_to" in fields:
            spelled["relay_to"] = fields["relay_to"]
        assert row == {name: value for name, value in spelled.items() if name != "ttl"}
