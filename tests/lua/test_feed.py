"""policyd.feed: what is committed becomes what the node knows, and what kumod has built follows."""

import asyncio
import sqlite3

from tests.integration.conftest import head, serving, serving_rows
from tests.integration.proxy import proxying
from tests.lua.chaos.world import impatient
from tests.lua.sites import ASK, ROWS, ask

SITE = ASK + "require('policyd.sources'):setup() require('policyd.queue'):setup()"
PAY = """
local bump, handles = require 'policyd.bump', require 'policyd.handles'
kumo.on('pay', function()
  local plan = bump.new(5)
  plan:want()
  plan:pay(os.time())
  return plan:is_owed()
end)
kumo.on('owe', function() handles.owed:increment(1) end)
"""


def entries_of(queue):
    return [entry["name"] for entry in queue.pool["entries"]]


async def test_a_first_start_reads_the_index_and_says_what_it_has_applied(site):
    node = await site.node(SITE, rows=ROWS)
    await node.advance(2)
    row = await site.db.fetchrow(
        "select applied_number || '-' || applied_stamp as at, client_version from policy.node"
    )
    assert row is not None
    assert (row["at"], row["client_version"]) == (site.position(), "1")


async def test_what_was_applied_just_after_a_report_is_reported_within_a_second_or_two(site):
    node = await site.node(SITE, rows=ROWS)
    await node.advance(10)
    for name in ("one", "two"):
        await site.change(f"insert into policy.tenant (name) values ('{name}')", node)
    began = node.clock.now

    async def is_told():
        reported = await site.db.fetchval("select applied_number || '-' || applied_stamp from policy.node")
        return reported == site.position()

    await node.until(is_told)
    assert node.clock.now - began <= 2.5


async def test_what_exists_no_more_is_answered_from_a_row_that_is_older_and_still_holds(site):
    node = await site.node(SITE, rows=ROWS)
    assert (await ask(node, "queue", "a.example", "stranger"))["answer"]["tenant_known"] is False
    await site.change("delete from policy.tenant where name = 'acme'", node)
    found = await ask(node, "queue", "a.example", "acme")
    assert (found["answer"]["tenant_known"], found.get("stale")) == (False, None)


async def test_a_restart_reads_neither_index_nor_answers_again(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    site.endpoint.requests.clear()
    await node.restart()
    await node.advance(1)
    assert (await ask(node, "tenant", "acme")).get("stale") is None
    assert [line for line in site.endpoint.requests if "/names/" in line or "/tenant/" in line] == []


async def test_a_lost_long_poll_is_noticed_and_nothing_is_missed(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await site.endpoint.be("silent")
    await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")
    await node.advance(20)
    await site.endpoint.be("through")
    await site.caught_up(node)
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"


async def test_another_history_makes_everything_suspect_and_then_right(site, postgres):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    rows = ROWS + "update policy.tenant set egress_pool = 'shared' where name = 'acme'"
    async with serving_rows(postgres, rows) as stranger:
        await site.endpoint.be("through", target=stranger.url)

        async def is_right():
            found = await ask(node, "tenant", "acme")
            return found["answer"]["egress_pool"] == "shared" and "stale" not in found

        await node.until(is_right, within=60)
        await node.advance(5)
        await site.endpoint.be("refused")
        await node.restart()
        assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"


async def test_what_is_held_is_fetched_anew_before_anybody_needs_it(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.restart()
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"


async def test_the_epoch_is_bumped_for_what_kumod_has_built_and_for_nothing_else(site):
    node = await site.node(SITE, rows=ROWS)
    await node.queue_config("acme@a.example")
    await node.listener_domain("a.example")
    await node.advance(10)
    epoch = node.process.epoch
    await site.change("update policy.listener_domain set relay_to = false where domain = 'a.example'", node)
    await node.advance(10)
    assert node.process.epoch == epoch
    await site.change(
        "update policy.queue set options = '{\"max_age\": \"1 day\"}' where domain = 'default'", node
    )
    await node.advance(10)
    assert node.process.epoch == epoch + 1


async def test_a_change_that_changes_no_answer_costs_no_bump(site):
    node = await site.node(
        ASK, rows=ROWS + "insert into policy.queue (domain, egress_pool) values ('gold.example', 'gold')"
    )
    await node.queue_config("gold.example")
    await node.advance(10)
    epoch = node.process.epoch
    await site.change("update policy.queue set egress_pool = 'gold' where domain = 'default'", node)
    await node.advance(10)
    assert node.process.epoch == epoch


async def test_a_new_row_for_a_queue_that_had_only_the_default_reaches_the_live_queue(site):
    node = await site.node(SITE, rows=ROWS)
    queue = await node.queue("a.example")
    assert queue.config["egress_pool"] == "shared"
    await node.advance(10)
    await site.change("insert into policy.queue (domain, egress_pool) values ('a.example', 'gold')", node)
    await node.until(lambda: queue.config["egress_pool"] == "gold", within=15)


async def test_a_storm_of_commits_is_not_a_storm_of_bumps(site):
    node = await site.node(SITE, rows=ROWS)
    await node.queue_config("a.example")
    await node.advance(10)
    epoch = node.process.epoch
    for i in range(10):
        await site.change(
            f"update policy.queue set options = '{{\"max_age\": {1000 + i}}}' where domain = 'default'", node
        )
        await node.advance(0.5)
    await node.advance(10)
    assert 1 <= node.process.epoch - epoch <= 3
    assert (await node.queue_config("a.example"))["max_age"] == 1009


async def test_a_bump_owed_is_paid_when_the_service_is_back(site):
    node = await site.node(SITE, rows=ROWS)
    await node.queue("a.example")
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.restart()
    queue = await node.queue("a.example")
    assert queue.config["egress_pool"] == "shared"
    await site.db.execute("update policy.queue set egress_pool = 'gold' where domain = 'default'")
    await node.advance(60)
    assert queue.config["egress_pool"] == "shared"
    epoch = node.process.epoch
    await site.endpoint.be("through")
    await node.until(lambda: queue.config["egress_pool"] == "gold", within=30)
    assert node.process.epoch > epoch


async def test_what_was_built_before_the_first_contact_is_looked_at_after_it(site):
    await site.endpoint.be("refused")
    node = await site.node(SITE, rows=ROWS)
    await site.endpoint.be("through")
    queue = await node.queue("a.example")
    assert queue.config["egress_pool"] == "shared"
    assert site.position() is None
    await site.db.execute("update policy.queue set egress_pool = 'gold' where domain = 'default'")
    await site.caught_up(node)
    await node.until(lambda: queue.config["egress_pool"] == "gold", within=15)


async def test_what_could_not_be_stored_when_it_changed_is_looked_at_all_the_same(site):
    node = await site.node(SITE, rows=ROWS)
    await node.advance(10)
    node.process.disk_full = True
    queue = await node.queue("acme@a.example")
    assert queue.config["egress_pool"] == "gold"
    await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")
    await node.advance(5)
    node.process.disk_full = False
    await site.caught_up(node)
    await node.until(lambda: queue.config["egress_pool"] == "shared", within=20)


async def test_what_a_lookup_learns_before_the_feed_reaches_what_was_built(site):
    node = await site.node(SITE, rows=ROWS)
    queue = await node.queue("acme@a.example")
    await node.advance(10)
    await site.endpoint.be("refused")
    await node.advance(20)
    await site.db.execute("update policy.egress_pool_entry set source = 'ip-1' where pool = 'gold'")
    await site.endpoint.be("through")
    node.process.memos.purge()
    # The store has the new pool now, and the feed finds nothing that differs.
    await ask(node, "egress_pool", "gold")
    await site.caught_up(node)
    await node.until(lambda: entries_of(queue) == ["ip-1"], within=20)


async def test_what_was_built_from_a_row_that_was_newer_than_the_names_follows_it(site, service):
    node = await site.node(SITE, rows=ROWS)
    await site.db.execute("insert into policy.queue (domain, egress_pool) values ('b.example', 'gold')")
    await service.reach(await head(site.db))
    queue = await node.queue("b.example")
    assert queue.config["egress_pool"] == "gold"
    await site.caught_up(node)
    await node.advance(10)
    await site.db.execute("update policy.queue set egress_pool = 'shared' where domain = 'b.example'")
    await node.until(lambda: queue.config["egress_pool"] == "shared", within=20)


async def test_what_cannot_be_fetched_when_it_changes_is_looked_at_all_the_same(site, dsn):
    node = await site.node(SITE, rows=ROWS)
    queue = await node.queue("acme@a.example")
    await node.advance(10)
    async with proxying(dsn) as proxy, serving(impatient(proxy.dsn)) as replica:
        await replica.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        await site.endpoint.be("through", target=replica.url)
        await node.advance(5)
        # Changes are heard, and every answer of a batch is a 503.
        proxy.cut("lookups")
        await site.db.execute("update policy.egress_pool_entry set source = 'ip-1' where pool = 'gold'")
        position = await head(site.db)
        await node.until(lambda: site.position() == position)
        await node.settle()
        proxy.heal()
        proxy.let_in()
        await node.until(lambda: entries_of(queue) == ["ip-1"], within=30)


async def test_what_comes_to_be_owed_while_a_bump_settles_is_owed_after_it(site):
    node = await site.node(PAY)
    paying = asyncio.create_task(node.call("pay"))
    await node.settle()
    await node.call("owe")
    await node.advance(1)
    assert await paying == (True,)


async def test_what_is_owed_for_nothing_is_paid_less_and_less_often(site):
    node = await site.node(SITE, rows=ROWS)
    for _ in range(300):
        await node.egress_pool("nowhere")
        await node.advance(1)
    assert node.process.epoch <= 8


async def test_a_full_disk_withdraws_the_touch_and_passes(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    node.process.disk_full = True
    await site.db.execute(
        "update policy.tenant set egress_pool = 'shared', options = jsonb_build_object('max_age', 4711) where name = 'acme';"
        "insert into policy.tenant (name) select repeat('x', 100) || i from generate_series(1, 500) i"
    )
    await node.until(lambda: any("out of touch" in text for _, text in node.logged))
    node.process.disk_full = False
    await site.caught_up(node)
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"


async def test_a_purged_cache_loses_no_change(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    for cache in node.process.memos.caches.values():
        cache.entries.clear()
    await site.endpoint.be("refused")
    found = await ask(node, "tenant", "acme")
    assert found["answer"]["egress_pool"] == "shared"


async def test_a_window_that_overflows_keeps_what_still_holds(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await ask(node, "egress_pool", "shared")
    await node.advance(1)
    with sqlite3.connect(site.store, timeout=5) as store:
        store.execute(
            "insert into change (tag, kind, revision, at)"
            " with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)"
            " select 'tenant/x' || i, 'tenant', 1, 0 from n"
        )
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    await node.advance(1)
    with sqlite3.connect(site.store, timeout=5) as store:
        (count,) = store.execute("select count(*) from change").fetchone()
    assert count <= 90_000
    await site.endpoint.be("refused")
    await node.restart()
    assert (await ask(node, "egress_pool", "shared"))["status"] == "found"
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"


async def test_changes_of_a_kind_that_only_newer_clients_know_are_taken_in_with_all_others(site):
    node = await site.node(SITE, rows=ROWS)
    await ask(node, "tenant", "acme")
    await site.db.execute(
        'insert into policy.change (revision, "table", key, op, new, tags)'
        " select policy.take_revision(), 'future', '[\"x\"]', 'insert', '{}', array['future/x'];"
        "insert into policy.change (revision, op, tags, kind) select policy.take_revision(), 'floor', '{}', 'future';"
    )
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    found = await ask(node, "tenant", "acme")
    assert (found["answer"]["egress_pool"], found.get("stale")) == ("shared", None)
    await node.restart()
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"
