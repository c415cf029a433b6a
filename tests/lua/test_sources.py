"""policyd.sources: pools and their sources, held and never stranded while nobody can say what they are."""

import pytest

from tests.integration.conftest import head
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import ROWS, SENDER

GOLD_EXAMPLE = (
    "insert into policy.queue (domain, egress_pool) values ('gold.example', 'gold');"
    "insert into policy.listener_domain (domain, relay_to) values ('gold.example', true);"
)
SOURCES = "require('policyd.sources'):setup()"
PROXY = (
    "insert into policy.egress_source (name, socks5_proxy_server, socks5_proxy_source_address,"
    " socks5_proxy_username, socks5_proxy_password) values"
    " ('proxied', '10.0.0.9:1080', '10.0.0.9', 'u', '{\"secret\": \"proxy\"}');"
    "insert into policy.egress_pool_entry (pool, source) values ('shared', 'proxied');"
)


async def test_a_pool_is_short_lived_in_kumod_and_in_the_order_of_its_entries(site):
    node = await site.node(
        SOURCES,
        rows=ROWS
        + "insert into policy.egress_pool_entry (pool, source, weight) values ('shared', 'ip-2', 3)",
    )
    assert await node.egress_pool("shared") == {
        "name": "shared",
        "entries": [{"name": "ip-1"}, {"name": "ip-2", "weight": 3}],
        "ttl": "200ms",
    }
    assert await node.egress_source("ip-1") == {"name": "ip-1", "source_address": "192.0.2.1", "ttl": "200ms"}


async def test_a_pool_brings_its_sources_and_the_service_is_asked_once(site):
    node = await site.node(SOURCES, rows=ROWS)
    await node.egress_pool("shared")
    await node.egress_source("ip-1")
    assert site.asked("/egress-pool/shared") == 1
    assert site.asked("/egress-source/ip-1") == 0


async def test_a_node_group_has_its_own_addresses(site):
    rows = ROWS + (
        "insert into policy.egress_source_group (name, node_group, source_address) values ('ip-1', 'east', '198.51.100.1')"
    )
    node = await site.node(SOURCES, rows=rows, node_group="'east'")
    assert [entry["name"] for entry in (await node.egress_pool("shared"))["entries"]] == ["ip-1"]
    assert (await node.egress_source("ip-1"))["source_address"] == "198.51.100.1"
    assert (await node.egress_source("ip-2"))["source_address"] == "192.0.2.2"


async def test_an_empty_pool_is_a_pool(site):
    node = await site.node(SOURCES, rows="insert into policy.egress_pool (name) values ('suspended')")
    assert await node.egress_pool("suspended") == {"name": "suspended", "ttl": "200ms"}


async def test_a_pool_that_is_not_there_is_empty_and_reported_and_does_not_raise(site):
    node = await site.node(SOURCES, rows=ROWS)
    assert await node.egress_pool("nowhere") == {"name": "nowhere", "ttl": "200ms"}
    assert any("no egress pool 'nowhere'" in text for _, text in node.logged)


async def test_a_pool_nobody_can_describe_is_empty_and_does_not_raise(site):
    node = await site.node(SOURCES, rows=ROWS)
    await site.endpoint.be("refused")
    assert await node.egress_pool("shared") == {"name": "shared", "ttl": "200ms"}


async def test_a_source_that_is_not_there_is_an_error(site):
    node = await site.node(SOURCES, rows=ROWS)
    with pytest.raises(HandlerFailed, match="egress source 'nowhere': none"):
        await node.egress_source("nowhere")


async def test_a_secret_is_resolved_on_the_node_that_was_given_it(site):
    node = await site.node(SOURCES, rows=ROWS + PROXY, secrets="{ proxy = '/etc/proxy.secret' }")
    assert (await node.egress_source("proxied"))["socks5_proxy_password"] == "/etc/proxy.secret"


async def test_a_source_with_a_secret_that_the_node_has_not_got_is_left_out_of_its_pool(site):
    node = await site.node(SOURCES, rows=ROWS + PROXY)
    assert [entry["name"] for entry in (await node.egress_pool("shared"))["entries"]] == ["ip-1"]
    assert any("the secret 'proxy'" in text for _, text in node.logged)


async def test_what_kumod_refuses_is_not_used_and_the_last_good_one_is(site):
    node = await site.node(SOURCES, rows=ROWS)
    await node.egress_pool("shared")
    await node.egress_source("ip-1")
    await site.change(
        "update policy.egress_source set socks5_proxy_server = '10.0.0.9:1080', socks5_proxy_source_address = '10.0.0.9',"
        " socks5_proxy_username = 'u', socks5_proxy_password = '{\"secret\": \"proxy\"}' where name = 'ip-1'",
        node,
    )
    assert await node.egress_source("ip-1") == {"name": "ip-1", "source_address": "192.0.2.1", "ttl": "200ms"}
    epoch = node.process.epoch
    await node.advance(120)
    assert node.process.epoch - epoch <= 1, "nothing is gained by looking again and again"


async def test_a_pool_s_new_entry_is_on_the_wire_after_one_bump(site):
    node = await site.node(rows=ROWS)
    await node.receive(SENDER, "y@a.example")
    await node.advance(30)
    await site.change(
        "insert into policy.egress_pool_entry (pool, source) values ('shared', 'ip-2');"
        "delete from policy.egress_pool_entry where pool = 'shared' and source = 'ip-1'",
        node,
    )
    await node.advance(1)
    await node.receive(SENDER, "y@a.example")
    await node.settle()
    assert [delivery.source["name"] for delivery in node.delivered] == ["ip-1", "ip-2"]


async def test_mail_for_a_pool_nobody_can_describe_waits_without_attempts_and_leaves_when_it_is_known(site):
    node = await site.node(rows=ROWS + GOLD_EXAMPLE)
    await node.receive(SENDER, "y@gold.example")
    await node.listener_domain("a.example")
    await node.queue_config("a.example")
    await site.endpoint.be("refused")
    reply = await node.receive(SENDER, "y@a.example")
    assert reply.code == 250
    await node.advance(600)
    assert [delivery.pool for delivery in node.delivered] == ["gold"]
    assert reply.messages[0].attempts == 0
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 2, within=120)
    assert node.delivered[1].source["name"] == "ip-1"


@pytest.mark.parametrize("seconds", [7200, -7200])
async def test_held_mail_is_not_tried_because_the_clock_is_set(site, seconds):
    node = await site.node(rows=ROWS + GOLD_EXAMPLE)
    await node.receive(SENDER, "y@gold.example")
    await node.listener_domain("a.example")
    await node.queue_config("a.example")
    await site.endpoint.be("refused")
    messages = [(await node.receive(SENDER, "y@a.example")).messages[0] for _ in range(10)]
    await node.advance(30)
    node.clock.set_wall(seconds)
    await node.advance(90)
    assert {message.attempts for message in messages} == {0}
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 11, within=120)


async def test_mail_is_held_for_the_pool_that_its_queue_was_built_with(site):
    node = await site.node(rows=ROWS + GOLD_EXAMPLE)
    await node.receive(SENDER, "y@gold.example")
    await node.listener_domain("a.example")
    await node.queue_config("a.example")
    await site.endpoint.be("refused")
    (first,) = (await node.receive(SENDER, "y@a.example")).messages
    await site.db.execute("update policy.queue set egress_pool = 'gold' where domain = 'default'")
    await site.endpoint.be("through")
    position = await head(site.db)
    await node.until(lambda: site.position() == position, step=0.01)
    assert node.process.epoch == 0, "kumod's queue does not know yet"
    (second,) = (await node.receive(SENDER, "y@a.example")).messages
    await node.until(lambda: len(node.delivered) == 3, within=120)
    assert (first.attempts, second.attempts) == (0, 0)


async def test_others_find_what_it_knows_under_the_stock_module_s_name(site):
    node = await site.node(
        SOURCES
        + """
        kumo.on('main', function()
          local data = require('policy-extras.sources').CONFIGURED.get_data()
          print(data.pools.shared.entries[1].name, data.sources['ip-1'].source_address)
        end)
        """,
        rows=ROWS,
    )
    assert await node.script() == ["ip-1\t192.0.2.1"]


async def test_a_file_list_is_refused_in_the_caller_s_line(site):
    with pytest.raises(HandlerFailed, match=r"policy.lua.*policyd.sources: there are no files to name"):
        await site.kumod(site.policy("\nrequire('policyd.sources'):setup { '/etc/sources.toml' }"))
