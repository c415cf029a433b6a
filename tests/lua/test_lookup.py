"""policyd.lookup: one way to an answer, which is right, or says that it is old, or says that it does not know."""

import asyncio
import json

import pytest

from tests.integration.conftest import head, make_config, serving, serving_rows
from tests.lua.faults import endpoint_before
from tests.lua.kumo_sim import http
from tests.lua.sites import ASK, ROWS, ask, policy

KEEP = (
    ASK
    + """
kumo.on('keep', function() return kumo.json_encode(lookup.keep(kinds.queue_settings()).answer) end)
"""
)


async def test_an_answer_is_fetched_once_and_then_known(site):
    node = await site.node(ASK, rows=ROWS)
    for _ in range(3):
        assert await ask(node, "tenant", "acme") == {
            "status": "found",
            "answer": {"egress_pool": "gold", "options": {}},
        }
    assert site.asked("/tenant/acme") == 1


async def test_what_a_handler_does_to_an_answer_is_its_own_affair(site):
    node = await site.node(
        ASK + "kumo.on('spoil', function() lookup.ask(kinds.tenant('acme')).answer.egress_pool = 'x' end)",
        rows=ROWS,
    )
    await node.call("spoil")
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "gold"


async def test_none_needs_no_service(site):
    node = await site.node(ASK, rows=ROWS)
    await site.endpoint.be("refused")
    assert await ask(node, "tenant", "ghost") == {"status": "none"}
    assert await ask(node, "egress_pool", "ghost", "east") == {"status": "none"}


async def test_a_commit_is_what_the_next_lookup_answers_with(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"
    await site.change("delete from policy.tenant where name = 'acme'", node)
    assert await ask(node, "tenant", "acme") == {"status": "none"}
    await site.change("insert into policy.tenant (name, egress_pool) values ('acme', 'gold')", node)
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "gold"


async def test_a_change_of_one_thing_costs_no_other_thing_a_request(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "egress_pool", "shared")
    await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
    await ask(node, "egress_pool", "shared")
    assert site.asked("/egress-pool/shared") == 1


async def test_a_row_that_comes_and_goes_leaves_the_one_above_it_as_good_as_it_was(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "queue", "b.example")
    await site.change("insert into policy.queue (domain, egress_pool) values ('b.example', 'gold')", node)
    await site.change("delete from policy.queue where domain = 'b.example'", node)
    found = await ask(node, "queue", "b.example")
    assert found["answer"]["options"]["egress_pool"] == "shared"
    assert "stale" not in found
    assert site.asked("/queue/default") == 1


async def test_a_bulk_change_makes_everything_of_its_kind_old_and_the_index_is_read_again(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await ask(node, "egress_pool", "shared")
    await site.change(
        "insert into policy.tenant (name) select 't' || i from generate_series(1, 6000) i;"
        "update policy.tenant set egress_pool = 'shared' where name = 'acme'",
        node,
    )
    assert (await ask(node, "tenant", "acme"))["answer"]["egress_pool"] == "shared"
    assert (await ask(node, "tenant", "t5999"))["status"] == "found"
    assert await ask(node, "tenant", "t6001") == {"status": "none"}
    assert site.asked("/names/tenant") == 2
    assert site.asked("/egress-pool/shared") == 1


@pytest.mark.parametrize(
    "mode", ["refused", "silent", "error", "html", "truncated", "unauthorized", "nonsense", "cut"]
)
async def test_what_was_known_is_answered_as_stale_whatever_the_fault(site, mode):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    await site.endpoint.be(mode)
    await node.restart()
    found = await ask(node, "tenant", "acme")
    assert (found["status"], found.get("stale")) == ("found", True)
    assert found["answer"]["egress_pool"] == "gold"
    assert await ask(node, "egress_pool", "shared") == {"status": "unknown", "stale": True}


async def test_a_silent_service_costs_the_first_handler_two_seconds_and_the_others_none(site):
    node = await site.node(ASK, rows=ROWS)
    await site.endpoint.be("silent")
    began = node.clock.now
    await ask(node, "tenant", "acme")
    first = node.clock.now - began
    for name in ("shared", "gold"):
        await ask(node, "egress_pool", name)
    assert first <= 2.5
    assert node.clock.now - began - first < 0.5


async def test_a_request_that_the_service_refuses_says_nothing_about_the_service(site):
    node = await site.node(
        "local c = require 'policyd.client' kumo.on('get', function(path) return select(2, c.answer(path)) end)\n"
        + ASK,
        rows=ROWS,
    )
    problem, is_refused = await node.call("get", "/tenant/acme?nonsense=1")
    assert is_refused, problem
    assert (await ask(node, "tenant", "acme"))["status"] == "found"


async def test_an_answer_that_a_change_has_overtaken_is_not_taken_for_the_latest(site):
    node = await site.node(ASK, rows=ROWS)
    await site.endpoint.be("late")
    site.endpoint.slow_for = 1.5
    await node.advance(5)
    async with node.process._moving:
        asking = asyncio.ensure_future(ask(node, "tenant", "acme"))
        await really(lambda: any("/tenant/acme" in url for url in +http.HOLDING))
        await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")
        position = await head(site.db)
        await really(lambda: site.position() == position)
    found = await asking
    assert found["answer"]["egress_pool"] == "shared" or found.get("stale")


async def really(holds):
    """Wait until *holds*, while the node's clock stands still."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_the_second_endpoint_answers_when_the_first_does_not(site):
    async with endpoint_before(site.endpoint.target, "html") as first:
        node = await site.kumod(policy([first.url, site.endpoint.url], site.token, site.store, ASK))
        await site.db.execute(ROWS)
        await site.caught_up(node)
        assert (await ask(node, "tenant", "acme"))["status"] == "found"
        seen = len(first.requests)
        assert (await ask(node, "egress_pool", "gold"))["status"] == "found"
        assert len(first.requests) == seen, "one that just failed is asked last"


async def test_an_endpoint_with_another_history_is_no_answer(site, postgres):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    async with serving_rows(postgres) as stranger:
        await site.endpoint.be("through", target=stranger.url)
        found = await ask(node, "egress_pool", "gold")
        assert found["status"] == "unknown"


async def test_a_lagging_replica_is_never_older_than_what_is_known(site, dsn):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    async with serving(make_config(dsn, poll=60.0)) as lagging:
        await lagging.observations.wait_for(lambda seen: type(seen).__name__ == "CurrencyRegained")
        await site.change("update policy.tenant set egress_pool = 'shared' where name = 'acme'", node)
        await site.endpoint.be("through", target=lagging.url)
        found = await ask(node, "tenant", "acme")
        assert found["answer"]["egress_pool"] == "shared"
        assert "stale" not in found


async def test_a_row_that_is_newer_than_the_names_is_not_passed_over(site, service):
    node = await site.node(ASK, rows=ROWS)
    await site.db.execute(
        "insert into policy.egress_pool (name) values ('own');"
        "insert into policy.queue (domain, egress_pool) values ('b.example', 'own');"
        "update policy.queue set egress_pool = 'gold' where domain = 'default'"
    )
    await service.reach(await head(site.db))
    # The node has not heard of it: by its names there is nothing but the default, which is another one now.
    assert (await ask(node, "queue", "b.example"))["answer"]["options"]["egress_pool"] == "own"


async def test_what_comes_without_the_service_being_in_touch_is_asked_for_again(site):
    node = await site.node(ASK, rows=ROWS)
    await ask(node, "tenant", "acme")
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.advance(400)
    assert (await ask(node, "tenant", "acme"))["stale"] is True
    await site.endpoint.be("through")
    await node.advance(15)
    assert "stale" not in await ask(node, "tenant", "acme")


@pytest.mark.parametrize("seconds", [-7200, -50, -5])
async def test_a_clock_that_is_set_back_does_not_keep_what_is_old(site, seconds):
    node = await site.node(ASK, rows=ROWS)
    await site.endpoint.be("refused")
    for _ in range(60):
        await ask(node, "tenant", "acme")
        await node.advance(1)
    node.clock.set_wall(seconds)
    await site.endpoint.be("through")
    await node.advance(15)
    assert (await ask(node, "tenant", "acme"))["status"] == "found"


async def test_settings_are_kept_while_nothing_changes_and_no_longer(site):
    node = await site.node(KEEP, rows=ROWS)
    (settings,) = await node.call("keep")
    assert json.loads(settings)["tenant_header"] == "X-Tenant"
    await site.change("update policy.queue_settings set tenant_header = 'X-T'", node)
    (settings,) = await node.call("keep")
    assert json.loads(settings)["tenant_header"] == "X-T"


async def test_names_may_hold_what_they_like(site):
    await site.db.execute("insert into policy.tenant (name) values ('a/b %é')")
    node = await site.node(ASK, rows=ROWS)
    assert (await ask(node, "tenant", "a/b %é"))["status"] == "found"
    assert site.asked("/tenant/a%2Fb%20%25%C3%A9") == 1


async def test_an_international_name_is_left_to_the_service(site):
    node = await site.node(
        ASK,
        rows="insert into policy.listener_domain (domain, relay_to) values ('xn--bcher-kva.example', true)",
    )
    assert (await ask(node, "listener_domain", "Bücher.example"))["status"] == "found"


async def test_without_a_store_the_service_is_asked_and_changes_are_heard(site):
    node = await site.node(ASK, rows=ROWS)
    second = await site.kumod(site.policy(ASK))
    await second.advance(1)
    assert any("another live process owns it" in text for _, text in second.logged)
    assert (await ask(second, "tenant", "acme"))["answer"]["egress_pool"] == "gold"
    await site.db.execute("update policy.tenant set egress_pool = 'shared' where name = 'acme'")

    async def is_heard():
        return (await ask(second, "tenant", "acme"))["answer"]["egress_pool"] == "shared"

    await second.until(is_heard)
    assert node.process is not second.process


async def test_a_script_without_pre_init_reads_what_the_node_has_stored(site):
    node = await site.node(
        ASK + "kumo.on('main', function() print(lookup.ask(kinds.tenant('acme')).answer.egress_pool) end)",
        rows=ROWS,
    )
    await ask(node, "tenant", "acme")
    await node.advance(1)
    await site.endpoint.be("refused")
    assert await node.script() == ["gold"]


async def test_what_comes_while_nobody_knows_what_changed_is_good_as_stale_only(site):
    site.store = site.store.parent / "nowhere" / "store.db"
    node = await site.kumod(site.policy(ASK))
    await site.db.execute(ROWS)
    await node.advance(2)
    assert "stale" not in await ask(node, "tenant", "acme")
    for cache in node.process.memos.caches.values():
        cache.entries.clear()
    node.process.bump_epoch()  # so that a new context asks
    assert (await ask(node, "tenant", "acme"))["stale"] is True
    await node.advance(6)
    assert "stale" not in await ask(node, "tenant", "acme")


async def test_many_handlers_at_once_ask_the_service_once(site):
    node = await site.node(ASK, rows=ROWS)
    asking = [node.process.call("ask", "tenant", "acme") for _ in range(20)]
    await node.run(asyncio.gather(*asking))
    assert site.asked("/tenant/acme") == 1
    assert await head(site.db)
