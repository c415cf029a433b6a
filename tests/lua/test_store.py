"""policyd.store: answers that outlive restarts; what is damaged is moved aside, never trusted and never deleted."""

import sqlite3

import pytest

from tests.lua.sites import ASK, MODULES, ROWS, ask


def set_aside(site):
    return [
        path
        for path in site.store.parent.glob("store.db.set-aside-*")
        if not path.name.endswith(("-wal", "-shm"))
    ]


@pytest.mark.parametrize("content", [b"", b"this is no database at all, whatever it may be" * 100])
async def test_a_file_that_is_no_store_is_moved_aside_and_a_new_one_begun(site, content):
    site.store.write_bytes(content)
    node = await site.node(ASK, rows=ROWS)
    assert (await ask(node, "tenant", "acme"))["status"] == "found"
    await node.advance(1)
    assert site.held() == {"/tenant/acme": "found"}
    assert [path.read_bytes()[: len(content)] for path in set_aside(site)] == ([content] if content else [])


async def test_somebody_else_s_database_is_moved_aside_unharmed(site):
    with sqlite3.connect(site.store) as other:
        other.execute("create table theirs (x)")
        other.execute("insert into theirs values (42)")
    other.close()
    node = await site.node(ASK, rows=ROWS)
    assert (await ask(node, "tenant", "acme"))["status"] == "found"
    (aside,) = set_aside(site)
    assert sqlite3.connect(aside).execute("select x from theirs").fetchall() == [(42,)]


async def test_a_store_of_another_format_is_moved_aside(site):
    node = await site.node(ASK, rows=ROWS)
    await node.stop()
    with sqlite3.connect(site.store) as store:
        store.execute("pragma user_version = 999")
    store.close()
    await node.restart()
    await site.caught_up(node)
    assert len(set_aside(site)) == 1


async def test_damage_found_at_the_start_is_moved_aside_and_policy_goes_on(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    await node.stop()
    damage(site.store)
    await node.restart()
    await site.caught_up(node)
    assert len(set_aside(site)) == 1
    assert (await ask(node, "tenant", "acme"))["status"] == "found"


async def test_damage_found_later_switches_the_store_off_and_the_service_answers(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    damage(site.store)
    await node.advance(1)
    assert (await ask(node, "egress_pool", "gold"))["status"] == "found"
    await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")

    async def is_heard():
        return (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"

    await node.until(is_heard)
    assert any("is not used until kumod restarts" in text for _, text in node.logged)


async def test_queues_follow_their_rows_when_somebody_has_found_the_store_damaged(site):
    node = await site.node(
        MODULES + "kumo.on('damage', function() require('policyd.store').switch_off 'damage' end)", rows=ROWS
    )
    await node.advance(1)
    # The feed, which has it open, does not see any.
    await node.call("damage")
    queue = await node.queue("acme@a.example")
    await node.advance(10)
    await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")
    await node.until(lambda: queue.config["egress_pool"] == "shared")


async def test_a_directory_that_is_not_there_is_said_and_does_without(site):
    site.store = site.store.parent / "nowhere" / "store.db"
    node = await site.kumod(site.policy(ASK))
    await site.db.execute(ROWS)
    await node.advance(2)
    assert (await ask(node, "tenant", "acme"))["status"] == "found"
    assert any("unable to open database file" in text for _, text in node.logged)


async def test_a_second_process_does_without_the_store_and_a_later_one_has_it(site):
    first = await site.node(ASK, rows=ROWS)
    second = await site.kumod(site.policy(ASK))
    assert (await ask(second, "tenant", "acme"))["status"] == "found"
    await second.advance(1)
    assert site.held() == {}
    await first.stop()
    await second.restart()
    await ask(second, "tenant", "acme")
    await second.advance(1)
    assert site.held() == {"/tenant/acme": "found"}


async def test_an_answer_is_only_replaced_by_a_newer_one(site):
    put = """
    kumo.on('put', function(label, era, answer)
      local journal = require 'policyd.journal'
      journal.put(journal.open(), kumo.json_encode { {
        path = '/tenant/p', kind = 'tenant', status = 'found', answer = answer, tags = '["tenant/p"]',
        label = label, era = era, at = 1 } })
    end)
    """
    node = await site.node(put)

    async def after(label, era, answer):
        await node.call("put", label, era, answer)
        with sqlite3.connect(site.store) as store:
            return store.execute("select answer from entry").fetchone()[0]

    assert await after(10, 1, "ten") == "ten"
    assert await after(9, 1, "nine") == "ten"
    assert await after(11, 1, "eleven") == "eleven"
    assert await after(1, 2, "another era") == "another era"
    assert await after(99, 1, "the era before") == "another era"


async def test_an_empty_list_survives_the_store(site):
    node = await site.node(
        ASK, rows=ROWS + "update policy.tenant set require_authz = '{}' where name = 'acme'"
    )
    await ask(node, "tenant", "acme")
    await node.advance(1)
    with sqlite3.connect(site.store) as store:
        (text,) = store.execute("select answer from entry where path = '/tenant/acme'").fetchone()
    assert '"require_authz":[]' in text


async def test_the_least_recently_used_go_first_when_there_are_too_many(site):
    bound = """
    kumo.on('bound', function(rows)
      local journal = require 'policyd.journal'
      local db, records = journal.open(), {}
      for i = 1, 100 do
        records[i] = { path = '/tenant/' .. i, kind = 'tenant', status = 'found', answer = '{}', tags = '["tenant/' .. i .. '"]',
          label = 1, era = 1, at = i }
      end
      journal.put(db, kumo.json_encode(records))
      journal.bound(db, rows, 1000000)
    end)
    """
    node = await site.node(bound)
    await node.call("bound", 50)
    left = {int(path.rpartition("/")[2]) for path in site.held()}
    assert left == set(range(101 - len(left), 101))
    assert 40 <= len(left) <= 50
    with sqlite3.connect(site.store) as store:
        assert store.execute("select count(*) from tagged").fetchone() == (len(left),)


def damage(store):
    """Overwrite everything behind the first page, as a failing disk may."""
    size = store.stat().st_size
    with store.open("r+b") as file:
        file.seek(4096 if size > 4096 else 100)
        file.write(b"\xff" * (max(size, 8192) - 4096))
    for suffix in ("-wal",):
        wal = store.with_name(store.name + suffix)
        if wal.exists():
            with wal.open("r+b") as file:
                file.write(b"\xff" * wal.stat().st_size)
