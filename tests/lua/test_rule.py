"""The one rule, in Lua and in the SQL of the node's store, against the service's own."""

import functools
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lupa.lua54 import LuaRuntime

from policyd.policy.kinds import KINDS
from policyd.policy.names import domain_chain, normalise_domain
from policyd.policy.position import Position
from policyd.policy.tags import parts_of, tag
from policyd.policy.validity import KnownChanges, News, is_valid

LUA = Path(__file__).parents[2] / "lua-client"
STAMP = "0123abcd"
TAGS = ["queue/a", "queue/b", "queue/default", "tenant/t", "egress_pool/*/p", "queue_settings"]
KINDS_OF_TAGS = ["queue", "tenant", "egress_pool", "queue_settings"]


@functools.cache
def lua_module(name):
    lua = LuaRuntime()
    lua.execute(f"package.path = '{LUA}/?.lua;{LUA}/?/init.lua'")
    return lua, lua.eval(f"(require 'policyd.{name}')")


news = st.fixed_dictionaries(
    {
        "steps": st.integers(1, 3),
        "tags": st.lists(st.sampled_from(TAGS), max_size=4, unique=True),
        "floors": st.lists(st.sampled_from(KINDS_OF_TAGS), max_size=1),
    }
)


@given(
    history=st.lists(news, max_size=12),
    label=st.integers(0, 20),
    tags=st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True),
    limit=st.sampled_from([2, 3, 100]),
)
def test_lua_judges_as_the_service_does(history, label, tags, limit):
    lua, known = lua_module("known")
    changes = lua.eval("(require 'policyd.changes')")
    mine = changes.new(f"0-{STAMP}", limit)
    theirs = KnownChanges(Position(0, STAMP), limit=limit)
    everything = KnownChanges(Position(0, STAMP), limit=10_000)
    head = 0
    for each in history:
        head += each["steps"]
        changed = dict.fromkeys(each["tags"], (head, True))
        floors = dict.fromkeys(each["floors"], head)
        for holder in (theirs, everything):
            holder.learn(News(head=Position(head, STAMP), tags=changed, floors=floors))
        told = lua.table_from(
            {
                "position": f"{head}-{STAMP}",
                "tags": lua.table_from(
                    {name: lua.table_from(list(value)) for name, value in changed.items()}
                ),
                "floors": lua.table_from(floors),
            }
        )
        changes.learn(mine, told)
    answer = lua.table_from({"label": label, "tags": lua.table_from(tags)})
    outdated = known.outdated(answer, mine)
    if limit > len(TAGS):
        assert (outdated is None) == is_valid(label, tags, theirs)
    if outdated is None:
        assert is_valid(label, tags, everything), "a smaller window knows less, and never vouches for more"
    else:
        assert label < outdated <= head, "what it is asked for again with can be reached"


def test_a_reset_forgets_and_a_floor_forgets_what_it_covers():
    lua, changes = lua_module("changes")
    mine = changes.new(f"5-{STAMP}", 100)
    table = lua.table_from
    changes.learn(
        mine,
        table(
            {
                "position": f"9-{STAMP}",
                "tags": table({"queue/a": table([7, True]), "tenant/t": table([8, True])}),
                "floors": table({"queue": 9}),
            }
        ),
    )
    assert sorted(mine.tags) == ["tenant/t"]
    assert mine.size == 1
    changes.learn(mine, table({"reset": True, "position": f"3-{STAMP}"}))
    assert (mine.number, mine.begins, list(mine.tags)) == (3, 3, [])


@pytest.mark.parametrize("text", ["", "7", "7-0123ABCD", "7-0123abc", "7-0123abcde", "-7-0123abcd", None, 7])
def test_what_is_no_position_is_none(text):
    _, known = lua_module("known")
    assert known.position(text) is None


domains = st.one_of(
    st.from_regex(r"[A-Za-z0-9_.*-]{0,30}", fullmatch=True),
    st.sampled_from(
        ["", ".", "..", "a..b", "[192.0.2.1]", "*.x.example", "*", "a." * 120, "x" * 64 + ".example"]
    ),
)


@given(domains)
def test_domains_have_the_same_names_here_and_there(asked):
    lua, names = lua_module("names")
    name = names.domain(asked)
    assert name == normalise_domain(asked)
    assert list(lua.eval("(require 'policyd.tags')").chain(name).values()) == list(domain_chain(name))


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    )
)
def test_tags_and_paths_are_written_alike(parts):
    lua, tags = lua_module("tags")
    written = tags.tag("queue", *parts)
    assert written == tag("queue", *parts)
    assert tuple(tags.parts(written).values()) == parts_of(written)
    kinds = lua.eval("(require 'policyd.kinds')")
    service = {kind.name: kind for kind in KINDS}
    name = parts[0]
    assert kinds.egress_pool(name, "east").path == service["egress_pool"].read(name, [("group", "east")]).path
    assert kinds.tenant(name).path == service["tenant"].read(name, []).path


@given(domains, st.sampled_from([None, "acme", "a b/c"]), st.sampled_from([None, "welcome"]))
def test_a_queue_s_path_is_the_canonical_one(domain, tenant, campaign):
    _, kinds = lua_module("kinds")
    given_parameters = [
        (name, value) for name, value in (("tenant", tenant), ("campaign", campaign)) if value
    ]
    service = {kind.name: kind for kind in KINDS}
    assert kinds.queue(domain, tenant, campaign).path == service["queue"].read(domain, given_parameters).path


STORE = """
local journal, store = require 'policyd.journal', require 'policyd.store'
local db
kumo.on('put', function(entry) db = db or journal.open() journal.put(db, entry) end)
kumo.on('apply', function(text, generation)
  local news = kumo.json_parse(text)
  db = db or journal.open()
  journal.apply(db, news, generation, news.number)
end)
kumo.on('read', function(path)
  local held = store.read(path, 0)
  return held and held.valid or false
end)
"""


@pytest.mark.parametrize("seed", range(5))
async def test_the_store_judges_as_the_service_does(site, seed):
    await site.endpoint.be("refused")
    node = await site.node(STORE)
    rng = random.Random(seed)
    theirs = KnownChanges(Position(0, STAMP), limit=100_000)
    await node.call("apply", json.dumps({"number": 0, "stamp": STAMP, "tags": {}, "floors": {}}), 1)
    head, entries = 0, []
    for step in range(40):
        if rng.random() < 0.5:
            head += rng.randint(1, 3)
            changed = {name: (head, rng.random() < 0.7) for name in rng.sample(TAGS, rng.randint(0, 3))}
            floors = {rng.choice(KINDS_OF_TAGS): head} if rng.random() < 0.2 else {}
            theirs.learn(News(head=Position(head, STAMP), tags=changed, floors=floors))
            told = {"number": head, "stamp": STAMP, "tags": changed, "floors": floors}
            await node.call("apply", json.dumps(told), step + 2)
        else:
            entry = (f"/tenant/{step}", rng.randint(0, head + 1), rng.sample(TAGS, rng.randint(1, 3)))
            entries.append(entry)
            path, label, tags = entry
            record = {"path": path, "kind": "tenant", "status": "found", "answer": "{}", "era": 1, "at": 1}
            await node.call("put", json.dumps([record | {"label": label, "tags": json.dumps(tags)}]))
        for path, label, tags in entries:
            assert await node.call("read", path) == (is_valid(label, tags, theirs),), (seed, step, path)


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('{"tags":[],"answer":{"a":[]}}', {"tags": "[]", "answer": '{"a":[]}'}),
        (' { "a" : "x\\"}," , "b" : -1.5e3 , "c":true } ', {"a": '"x\\"},"', "b": "-1.5e3", "c": "true"}),
        ("{}", {}),
        ('{"a":1', None),
        ('{"a":{"b":1}', None),
        ('{"a":1}}', None),
        ('{"a"}', None),
        ('["a"]', None),
        ("<html>", None),
        ("", None),
    ],
)
async def test_json_is_taken_apart_without_being_changed(kumod, text, members):
    node = await kumod(
        "local kumo = require 'kumo' kumo.on('take', function(text)"
        " local m = require('policyd.json_text').members(text)"
        " return m and kumo.json_encode(m) end)"
    )
    (taken,) = await node.call("take", text)
    assert (json.loads(taken) if taken else None) == members
