"""policyd.pending: injected mail waits, whoever answers for queues, until each of its steps is done."""

from tests.lua.sites import RECIPIENT, SENDER

MODULES = """
local pending = require 'policyd.pending'
kumo.on('get_queue_config', function() return kumo.make_queue_config { egress_pool = 'theirs' } end)
kumo.on('get_egress_pool', function(name) return kumo.make_egress_pool { name = name, entries = { { name = 'ip' } } } end)
kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
kumo.on('http_message_generated', function(msg)
  for _, name in ipairs { 'second', 'first' } do pending.park(msg, name) end
end)
"""
STEPS = """
for _, name in ipairs { 'first', 'second' } do
  require('policyd.pending').step(name, function(msg)
    if msg:get_meta('may_' .. name) then
      msg:set_meta('done', (msg:get_meta 'done' or '') .. name .. ' ')
      return true
    end
  end)
end
"""


async def parked(site):
    node = await site.node(STEPS + MODULES)
    assert (await node.inject(SENDER, RECIPIENT)).fail_count == 0
    await node.advance(600)
    (message,) = node.queued()
    assert (message.queue, message.attempts) == ("pending.policyd", 0)
    return node, message


async def test_without_policyd_queue_it_waits_too_and_counts_no_attempt(site):
    node, message = await parked(site)
    assert not node.delivered
    message.meta |= {"may_first": True, "may_second": True}
    await node.until(lambda: node.delivered, within=180)
    assert node.delivered[0].pool == "theirs"


async def test_steps_are_done_in_the_order_of_the_policy_s_handler_each_once(site):
    node, message = await parked(site)
    message.meta["may_first"] = True
    await node.advance(180)
    assert "done" not in message.meta
    message.meta["may_second"] = True
    await node.until(lambda: node.delivered, within=180)
    assert message.meta["done"] == "second first "


async def test_a_step_that_is_done_is_not_done_again_while_a_later_one_waits(site):
    node, message = await parked(site)
    message.meta["may_second"] = True
    await node.advance(300)
    assert message.meta["done"] == "second "
    await node.restart()
    await node.advance(300)
    (again,) = node.queued()
    assert again.meta["done"] == "second "
    again.meta["may_first"] = True
    await node.until(lambda: node.delivered, within=180)
    assert again.meta["done"] == "second first "
