import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.errors import StatementRefused
from policyd.store.people import split


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("select 1", ["select 1"]),
        ("select 1;", ["select 1"]),
        (" select 1 ; ; select 2 ;\n", ["select 1", "select 2"]),
        ("select ';'; select 2", ["select ';'", "select 2"]),
        ("select 'it''s; fine'; select 2", ["select 'it''s; fine'", "select 2"]),
        (r"select E'\';'; select 2", [r"select E'\';'", "select 2"]),
        ('select 1 as "a;b"; select 2', ['select 1 as "a;b"', "select 2"]),
        ("do $$ begin; end $$; select 2", ["do $$ begin; end $$", "select 2"]),
        ("do $a$ x; $$ ; $a$; select 2", ["do $a$ x; $$ ; $a$", "select 2"]),
        ("select $1; select 2", ["select $1", "select 2"]),
        ("select 1 -- one; two\n; select 2", ["select 1 -- one; two", "select 2"]),
        ("/* ; /* ; */ ; */ select 1; select 2", ["/* ; /* ; */ ; */ select 1", "select 2"]),
        ("-- nothing\n", []),
        ("", []),
        (";;", []),
        (
            "create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3",
            [
                "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
                "select 3",
            ],
        ),
        ("begin; select 1; end; select 2", ["begin", "select 1", "end", "select 2"]),
    ],
)
def test_a_script_is_split_where_statements_end(script, statements):
    assert split(script) == statements


def test_a_comment_without_an_end_is_refused():
    with pytest.raises(StatementRefused, match="not closed"):
        split("select 1 /* and then")


@given(st.text(alphabet="a;'\"$-/*\n beginatomicend", max_size=60))
def test_whatever_is_typed_is_split_or_refused(text):
    try:
        statements = split(text)
    except StatementRefused:
        return
    assert all(statement.strip() for statement in statements)
