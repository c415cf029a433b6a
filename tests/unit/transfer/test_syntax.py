"""TOML and JSON as KumoMTA reads them, and where things stand in them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.transfer.findings import Json
from policyd.transfer.syntax import SyntaxProblem, parse_json, parse_toml, strip_comments
from tests.contract.toml_writer import to_toml

_KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
_SCALARS = (
    st.booleans() | st.integers(-(2**40), 2**40) | st.text(st.characters(exclude_categories=["Cs", "Cc"]))
)
_TABLES = st.dictionaries(
    _KEYS, st.dictionaries(_KEYS, _SCALARS | st.lists(_SCALARS), max_size=3), max_size=3
)


@given(_TABLES, st.sampled_from(["// {\n", '# "\n', '/* } \n " */', "/**/"]))
def test_comments_between_json_tokens_change_nothing(table: dict[str, Json], comment: str) -> None:
    plain = json.dumps(table, indent=1)
    outside = re.sub(r'("(?:\\.|[^"\\])*")|(?<=[,:{\[])', lambda m: m[1] or comment, plain)
    assert parse_json(outside).data == table


def test_what_windows_editors_add_is_no_part_of_toml() -> None:
    parsed = parse_toml('\ufeff["a.com"]\r\nrelay_to = true\r\n')
    assert parsed.data == {"a.com": {"relay_to": True}}
    assert parsed.lines["a.com", "relay_to"] == 2


@pytest.mark.parametrize("inside", ["http://x", "a # b", "/* not */", r"quote \" // still", "\\\\"])
def test_what_looks_like_a_comment_inside_a_string_stays(inside: str) -> None:
    text = json.dumps({"a": inside})
    assert strip_comments(text) == text


def test_comments_keep_every_line_where_it_was() -> None:
    text = '{ // one\n  /* two\n three */ "a": 1, # four\n  "b": {"c": 2}\n}'
    assert parse_json(text).lines == {("a",): 3, ("b",): 4, ("b", "c"): 4}


@given(_TABLES)
def test_every_toml_key_is_found_on_a_line_that_holds_it(table: dict[str, Json]) -> None:
    text = to_toml(table)
    parsed = parse_toml(text)
    assert parsed.data == table
    for key, section in table.items():
        assert parsed.lines[key,] >= 1
        for name in section if isinstance(section, dict) else ():
            assert parsed.lines[key, name] > parsed.lines[key,]


@given(_TABLES)
def test_every_json_key_is_found_on_its_line(table: dict[str, Json]) -> None:
    parsed = parse_json(json.dumps(table, indent=1, ensure_ascii=False))
    lines = json.dumps(table, indent=1, ensure_ascii=False).split("\n")
    for key, section in table.items():
        assert json.dumps(key, ensure_ascii=False) in lines[parsed.lines[key,] - 1]
        for name in section if isinstance(section, dict) else ():
            assert json.dumps(name, ensure_ascii=False) in lines[parsed.lines[key, name] - 1]


def test_a_key_in_a_multi_line_string_is_no_key() -> None:
    parsed = parse_toml('a = """\nb = 1\n[c]\n"""\nd = 2\n')
    assert parsed.lines == {("a",): 1, ("d",): 5}


def test_a_table_that_is_only_implied_is_where_its_first_part_is() -> None:
    assert parse_toml("\n[a.b.c]\n[a.b]\n").lines == {("a",): 2, ("a", "b"): 3, ("a", "b", "c"): 2}


def test_null_members_are_not_there_as_in_lua() -> None:
    assert parse_json('{"a": null, "b": {"c": null, "d": 1}}').data == {"b": {"d": 1}}


def test_a_key_that_stands_twice_is_named_and_the_last_one_counts() -> None:
    parsed = parse_json('{"a": 1, "a": 2}')
    assert (parsed.data, parsed.repeated) == ({"a": 2}, ("a",))


@pytest.mark.parametrize("text", ["{", '{"a": NaN}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', "[" * 100_000])
def test_bad_json_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse_json(text)


@pytest.mark.parametrize("text", ["a = ", "a = inf", "a = nan", 'a = "\\u0000"', "[a]\n[a]"])
def test_bad_toml_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(SyntaxProblem):
        parse_toml(text)


def test_an_error_of_syntax_never_quotes_a_value() -> None:
    for parse, text in ((parse_toml, 'password = "canary" x'), (parse_json, '{"password": "canary" x}')):
        with pytest.raises(SyntaxProblem) as refused:
            parse(text)
        assert "canary" not in str(refused.value)
        assert "line 1" in str(refused.value)
