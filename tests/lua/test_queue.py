"""policyd.queue: as the stock helper for what is known; held, put off or parked for what is not."""

import pytest

from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import MODULES, ROWS, SENDER

TENANTED = b"From: x@a.example\r\nX-Tenant: acme\r\nSubject: s\r\n\r\nhi\r\n"
GHOST = TENANTED.replace(b"acme", b"ghost")


async def test_a_queue_is_made_with_the_merged_options(site):
    node = await site.node(
        rows=ROWS
        + """
        insert into policy.queue (domain, egress_pool, options) values ('gmail.example', 'gold', '{"max_age": "1 day"}');
        insert into policy.queue_tenant (domain, tenant, options) values ('gmail.example', 'acme', '{"retry_interval": 600}');
        """
    )
    assert await node.queue_config("gmail.example") == {
        "refresh_strategy": "Epoch",
        "egress_pool": "gold",
        "max_age": "1 day",
    }
    assert await node.queue_config("acme@gmail.example") == {
        "refresh_strategy": "Epoch",
        "egress_pool": "gold",
        "max_age": "1 day",
        "retry_interval": 600,
    }


async def test_a_row_may_say_how_its_queue_refreshes(site):
    node = await site.node(
        rows=ROWS
        + "insert into policy.queue (domain, options) values ('ttl.example', '{\"refresh_strategy\": \"Ttl\"}')"
    )
    assert (await node.queue_config("ttl.example"))["refresh_strategy"] == "Ttl"


async def test_a_campaign_without_a_tenant_is_no_tenant(site):
    node = await site.node(rows=ROWS)
    assert (await node.queue_config("welcome:@a.example"))["egress_pool"] == "shared"


async def test_recipients_domains_leave_nothing_in_the_store(site):
    node = await site.node(rows=ROWS)
    for i in range(10):
        await node.queue_config(f"welcome-{i}:acme@domain-{i}.example")
    await node.advance(1)
    assert [path for path in site.held() if path.startswith("/queue/")] == ["/queue/default?tenant=acme"]


async def test_apply_takes_tenant_campaign_and_routing_domain(site):
    node = await site.node(
        rows=ROWS
        + """
        update policy.queue_settings set campaign_header = 'X-Campaign', remove_tenant_header = true;
        insert into policy.queue (domain, routing_domain) values ('a.example', 'relay.example');
        """
    )
    data = TENANTED.replace(b"Subject", b"X-Campaign: welcome\r\nSubject")
    reply = await node.receive(SENDER, "y@a.example", data=data)
    (message,) = reply.messages
    assert {name: message.meta[name] for name in ("tenant", "campaign", "routing_domain")} == {
        "tenant": "acme",
        "campaign": "welcome",
        "routing_domain": "relay.example",
    }
    assert message.values_of("X-Tenant") == []
    assert message.values_of("X-Campaign") == ["welcome"]
    assert message.meta["policyd_revision"] >= 1
    await node.settle()
    assert node.delivered[0].pool == "gold"


async def test_a_tenant_without_a_row_is_refused_for_good_in_an_outage_too(site):
    node = await site.node(rows=ROWS)
    assert (await node.receive(SENDER, "y@a.example", data=GHOST)).code == 500
    await node.advance(1)
    await site.endpoint.be("silent")
    reply = await node.receive(SENDER, "y@a.example", data=GHOST.replace(b"ghost", b"spook"))
    assert (reply.code, reply.text) == (
        500,
        "tenant 'spook' specified by 'X-Tenant' header is not defined in your queue config",
    )


async def test_that_a_tenant_has_no_row_is_known_in_an_outage_without_ever_having_been_asked(site):
    node = await site.node(rows=ROWS)
    assert (await node.receive(SENDER, "y@a.example")).code == 250
    await site.endpoint.be("silent")
    assert (await node.receive(SENDER, "y@a.example", data=GHOST)).code == 500


@pytest.mark.parametrize(
    ("authz", "authz_id", "code"),
    [
        ("{alice}", None, 500),
        ("{alice}", "eve", 500),
        ("{alice}", "alice", 250),
        ("{}", "alice", 500),
        ("{}", None, 500),
        (None, None, 250),
    ],
)
async def test_require_authz_names_who_may_send_and_an_empty_list_is_nobody(site, authz, authz_id, code):
    node = await site.node(rows=ROWS)
    await site.db.execute(
        "update policy.tenant set require_authz = $1::text::text[] where name = 'acme'", authz
    )
    await site.caught_up(node)
    meta = {} if authz_id is None else {"authz_id": authz_id}
    assert (await node.receive(SENDER, "y@a.example", data=TENANTED, meta=meta)).code == code
    # And the same from the store, after a restart in an outage.
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.restart()
    assert (await node.receive(SENDER, "y@a.example", data=TENANTED, meta=meta)).code == code


async def test_a_campaign_that_would_break_the_queue_s_name_is_not_taken(site):
    node = await site.node(rows=ROWS + "update policy.queue_settings set campaign_header = 'X-Campaign'")
    data = TENANTED.replace(b"Subject", b"X-Campaign: a@b:c\r\nSubject")
    (message,) = (await node.receive(SENDER, "y@a.example", data=data)).messages
    assert "campaign" not in message.meta


async def test_without_any_pool_mail_waits_and_leaves_when_there_is_one(site):
    node = await site.node(rows=ROWS + "update policy.queue set egress_pool = null where domain = 'default'")
    reply = await node.receive(SENDER, "y@a.example")
    assert reply.code == 250
    await node.advance(1500)
    assert reply.messages[0].attempts == 0
    assert not node.delivered
    await site.change("update policy.queue set egress_pool = 'shared' where domain = 'default'", node)
    await node.until(lambda: node.delivered, within=120)
    assert (node.delivered[0].pool, node.delivered[0].source["name"]) == ("shared", "ip-1")


async def test_on_missing_stock_is_what_kumod_does_by_itself(site):
    node = await site.node(
        rows=ROWS
        + "update policy.queue set egress_pool = null where domain = 'default';"
        + "update policy.queue_settings set on_missing = 'stock'"
    )
    await node.receive(SENDER, "y@a.example")
    await node.settle()
    assert node.delivered[0].source == {"name": "unspecified"}


async def test_smtp_is_put_off_while_the_policy_of_a_message_is_unknown(site):
    node = await site.node(rows=ROWS)
    await node.listener_domain("a.example")
    await site.endpoint.be("refused")
    reply = await node.receive(SENDER, "y@a.example")
    assert (reply.code, reply.text) == (451, "4.3.0 policy is not available, try again later")
    assert not node.spool


@pytest.mark.parametrize("deferred", [False, True])
async def test_what_is_injected_over_http_is_kept_and_sent_as_it_should_have_been(site, deferred):
    node = await site.node(rows=ROWS)
    await site.endpoint.be("refused")
    injection = await node.inject(SENDER, "y@a.example", data=TENANTED, deferred=deferred)
    assert injection.fail_count == 0
    await node.advance(900)
    (message,) = node.queued()
    assert (message.queue, message.attempts) == ("pending.policyd", 0)
    assert not node.delivered
    await site.endpoint.be("through")
    await node.until(lambda: node.delivered, within=180)
    assert (node.delivered[0].queue, node.delivered[0].pool) == ("acme@a.example", "gold")
    assert not [
        name for name in ("policyd_pending", "policyd_queue") if node.delivered[0].message.meta.get(name)
    ]


async def test_a_parked_message_of_a_tenant_without_a_row_bounces_when_that_is_known(site):
    await site.endpoint.be("refused")
    node = await site.node(rows=ROWS)
    await node.inject(SENDER, "y@a.example", data=GHOST)
    await site.endpoint.be("through")
    await site.caught_up(node)
    await node.until(lambda: not node.spool, within=180)
    assert [record["type"] for record in node.records if record["type"] == "Bounce"] == ["Bounce"]
    assert not node.delivered


async def test_a_parked_message_goes_on_to_the_queue_that_the_operator_chose(site):
    modules = (
        "require('policyd.sources'):setup() local helper = require('policyd.queue'):setup()\n"
        "kumo.on('http_message_generated', function(msg) msg:set_meta('queue', 'chosen.example') helper:apply(msg) end)"
    )
    await site.endpoint.be("refused")
    node = await site.node(modules, rows=ROWS)
    await node.inject(SENDER, "y@a.example")
    await site.endpoint.be("through")
    await node.until(lambda: node.delivered, within=180)
    assert node.delivered[0].queue == "chosen.example"


async def test_the_spool_waits_through_a_start_with_nothing_known_and_then_leaves(site):
    node = await site.node(rows=ROWS)
    node.sink = lambda _: "451 4.2.0 later"
    for _ in range(3):
        await node.receive(SENDER, "y@a.example")
    await site.endpoint.be("silent")
    await node.stop()
    site.store.unlink()
    for suffix in ("-wal", "-shm"):
        site.store.with_name(site.store.name + suffix).unlink(missing_ok=True)
    await node.restart()
    assert not node.stranded
    node.sink = lambda _: "250 ok"
    before = [message.attempts for message in node.queued()]
    await node.advance(600)
    assert [message.attempts for message in node.queued()] == before
    assert len(before) == 3
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 3, within=180)
    assert {delivery.source["name"] for delivery in node.delivered} == {"ip-1"}


async def test_without_our_sources_the_hold_needs_no_pool(site):
    modules = """
    require('policyd.queue'):setup()
    kumo.on('get_egress_pool', function(name) error('no such pool ' .. name) end)
    """
    await site.endpoint.be("refused")
    node = await site.node(modules, rows=ROWS)
    config = await node.queue_config("a.example")
    assert config["protocol"] == {"custom_lua": {"constructor": "policyd.hold"}}
    queue = await node.queue("a.example")
    assert queue.name == "a.example"


async def test_a_queue_that_somebody_else_answers_for_is_not_held(site):
    modules = """
    kumo.on('get_queue_config', function(domain)
      if domain == 'mine.example' then return kumo.make_queue_config { egress_pool = 'mine' } end
    end)
    require('policyd.sources'):setup()
    require('policyd.queue'):setup()
    kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_to = true } end)
    """
    node = await site.node(
        modules,
        rows=ROWS
        + "insert into policy.egress_pool (name) values ('mine');"
        + "insert into policy.egress_pool_entry (pool, source) values ('mine', 'ip-2');"
        + "update policy.queue set egress_pool = null where domain = 'default'",
    )
    await node.receive(SENDER, "y@held.example")
    await node.receive(SENDER, "y@mine.example")
    await node.advance(60)
    assert [delivery.queue for delivery in node.delivered] == ["mine.example"]


async def test_rates_are_kept_under_the_stock_helper_s_names_and_the_campaign_s_is_its_own(site):
    node = await site.node(
        rows=ROWS
        + """
        update policy.queue_settings set campaign_header = 'X-Campaign';
        update policy.tenant set overall_max_message_rate = '1000/s' where name = 'acme';
        insert into policy.tenant_campaign (tenant, campaign, overall_max_message_rate) values ('acme', 'slow', '1/h');
        """
    )
    data = TENANTED.replace(b"Subject", b"X-Campaign: slow\r\nSubject")
    for _ in range(3):
        await node.receive(SENDER, "y@a.example", data=data)
    await node.advance(60)
    assert len(node.delivered) == 1
    assert {name.rsplit(":", 3)[0] for name in node.process.throttles} == {
        "queue-helper-tenant-overall_max_message_rate-acme",
        "queue-helper-tenant-campaign-overall_max_message_rate-acme-slow",
    }


async def test_a_raise_on_the_way_into_a_ready_queue_is_not_passed_on(site):
    node = await site.node(rows=ROWS)
    assert await node.call("throttle_insert_ready_queue", None) == ()
    assert any("attempt to index a nil value" in text for _, text in node.logged)


async def test_a_fault_of_our_own_holds_a_queue_and_strands_nothing(site):
    node = await site.node(
        """
        require('policyd.sources'):setup()
        require('policyd.queue'):setup()
        require('policyd.lookup').ask = function() error 'oops' end
        """,
        rows=ROWS,
    )
    assert (await node.queue_config("a.example"))["egress_pool"] == "policyd-hold"
    assert await node.egress_pool("shared") == {"name": "shared", "ttl": "200ms"}


async def test_log_records_pass(site):
    node = await site.node(rows=ROWS)
    (message,) = (await node.receive(SENDER, "y@a.example")).messages
    message.meta |= {"reception_protocol": "LogRecord", "queue": "hook.log_hook", "tenant": "acme"}
    await site.endpoint.be("refused")
    assert await node.call("throttle_insert_ready_queue", message) == ()
    assert message.due is None or message.due <= node.clock.wall


async def test_resolve_config_and_the_hook_that_is_left_out(site):
    node = await site.node(
        """
        local helper = require('policyd.queue'):setup_with_options { skip_queue_config_hook = true }
        kumo.on('get_queue_config', function(domain, tenant, campaign)
          local params = helper:resolve_config(domain, tenant, campaign)
          params.max_age = '3 days'
          return kumo.make_queue_config(params)
        end)
        """,
        rows=ROWS,
    )
    assert await node.queue_config("a.example") == {
        "refresh_strategy": "Epoch",
        "egress_pool": "shared",
        "max_age": "3 days",
    }


async def test_an_option_that_is_none_is_refused_in_the_caller_s_line(site):
    with pytest.raises(HandlerFailed, match=r"policy.lua\"?\]?:4: policyd.queue: there is no option 'skip'"):
        await site.kumod(site.policy("\nrequire('policyd.queue'):setup_with_options { skip = true }"))


async def test_a_queue_that_is_held_goes_on_being_held_while_kumod_puts_its_pool_in_place(site):
    asked = """
    kumo.on('again', function()
      local made = require('policyd.queue_config').get_queue_config('a.example', '', '', '')
      return made ~= nil and require('policyd.hold').is_queue_marked(require('policyd.insertion').mark('a.example'))
    end)
    kumo.on('held', function() return require('policyd.hold').is_queue_marked(require('policyd.insertion').mark('a.example')) end)
    """
    await site.endpoint.be("refused")
    node = await site.node(MODULES + asked, rows=ROWS)
    assert (await node.queue_config("a.example"))["egress_pool"] == "policyd-hold"
    await site.endpoint.be("through")
    await node.advance(3)
    assert await node.call("again") == (True,)
    await node.advance(15)
    assert await node.call("held") == (False,)
