"""The simulated node has kumod's hazards: what a policy does wrong shows as it would on a real one."""

import pytest

from tests.lua.kumo_sim.errors import HandlerFailed, NotSimulated, Stuck
from tests.lua.kumo_sim.node import Node

POOLS = """
kumo.on('get_egress_pool', function(name)
  return kumo.make_egress_pool { name = name, ttl = '200ms', entries = { { name = 's1' } } }
end)
kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
"""
RELAY = (
    "kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_to = true } end)\n"
)


def policy(text: str) -> str:
    return f"local kumo = require 'kumo'\n{RELAY}{text}"


async def test_a_message_goes_from_the_listener_to_the_sink_by_way_of_its_queue_and_pool(kumod):
    node = await kumod(
        policy(
            POOLS
            + """
            kumo.on('smtp_server_message_received', function(msg) msg:set_meta('tenant', 'acme') end)
            kumo.on('get_queue_config', function(domain, tenant) return kumo.make_queue_config { egress_pool = tenant } end)
            """
        )
    )
    reply = await node.receive("a@sender.example", "b@dest.example")
    await node.settle()
    assert reply.code == 250
    (delivery,) = node.delivered
    assert (delivery.queue, delivery.pool, delivery.source["name"]) == ("acme@dest.example", "acme", "s1")
    assert [record["type"] for record in node.records] == ["Reception", "Delivery"]
    assert not node.spool


async def test_without_an_answer_for_a_queue_mail_leaves_from_the_unspecified_source(kumod):
    node = await kumod(policy("kumo.on('get_queue_config', function() return end)"))
    await node.receive("a@sender.example", "b@dest.example")
    assert node.delivered[0].source == {"name": "unspecified"}


async def test_an_explicit_nil_for_a_queue_is_an_error_and_smtp_says_421(kumod):
    node = await kumod(policy("kumo.on('get_queue_config', function() return nil end)"))
    assert (await node.receive("a@sender.example", "b@dest.example")).code == 421
    assert not node.spool


async def test_a_rejection_by_the_listener_domain_is_a_421_too(kumod):
    node = await kumod(
        "local kumo = require 'kumo' kumo.on('get_listener_domain', function() kumo.reject(451, '4.3.0 later') end)"
    )
    reply = await node.receive("a@sender.example", "b@dest.example")
    assert (reply.code, reply.text) == (421, "4.3.0 technical difficulties")
    with pytest.raises(HandlerFailed) as raised:
        await node.listener_domain("dest.example")
    assert raised.value.rejection is not None
    assert raised.value.rejection.code == 451


async def test_an_error_in_throttle_insert_ready_queue_takes_a_due_message_out_of_memory(kumod):
    node = await kumod(
        policy(
            """
            kumo.on('throttle_insert_ready_queue', function(msg)
              if msg:num_attempts() > 0 then error 'oops' end
            end)
            """
        )
    )
    node.sink = lambda _: "451 4.2.0 later"
    await node.receive("a@sender.example", "b@dest.example")
    await node.advance(3600)
    assert len(node.scheduler.lost) == 1
    assert len(node.spool) == 1


async def test_an_epoch_queue_looks_at_its_pool_once_for_each_bump(kumod):
    node = await kumod(
        policy(
            """
            local series = kumo.counter_series.define { name = 'n', num_buckets = 1, bucket_size = '365 days' }
            kumo.on('get_queue_config', function() return kumo.make_queue_config { egress_pool = 'p', refresh_strategy = 'Epoch' } end)
            kumo.on('get_egress_pool', function(name)
              return kumo.make_egress_pool { name = name, ttl = '1s', entries = { { name = 's' .. series:sum() } } }
            end)
            kumo.on('get_egress_source', function(name) return kumo.make_egress_source { name = name } end)
            kumo.on('change', function(bump) series:increment(1) if bump then kumo.bump_config_epoch() end end)
            """
        )
    )
    queue = await node.queue("dest.example")
    await node.call("change", True)
    await node.advance(30)
    assert queue.pool["entries"] == [{"name": "s0"}], (
        "within its ttl the pool is the old one, and nobody looks again"
    )
    await node.call("change", True)
    await node.advance(1)
    assert queue.pool["entries"] == [{"name": "s2"}]


async def test_a_pool_that_raises_at_start_strands_the_spool_until_the_next_restart(kumod, tmp_path):
    flag = tmp_path / "broken"
    node = await kumod(
        policy(
            f"""
            kumo.on('get_queue_config', function() return kumo.make_queue_config {{ egress_pool = 'p' }} end)
            kumo.on('get_egress_pool', function(name)
              if io.open('{flag}') then error 'no' end
              return kumo.make_egress_pool {{ name = name }}
            end)
            """
        )
    )
    await node.receive("a@sender.example", "b@dest.example")
    assert len(node.queued()) == 1
    flag.touch()
    await node.restart()
    flag.unlink()
    await node.advance(300)
    assert len(node.stranded) == 1
    await node.restart()
    assert not node.stranded
    assert len(node.queued()) == 1


async def test_an_empty_pool_counts_attempts_and_set_due_does_not(kumod):
    hold = """
    kumo.on('throttle_insert_ready_queue', function(msg)
      if msg:recipient().domain == 'held.example' then msg:set_due(os.date('!%Y-%m-%dT%H:%M:%SZ', os.time() + 30)) end
    end)
    kumo.on('get_queue_config', function() return kumo.make_queue_config { egress_pool = 'none', retry_interval = '5s' } end)
    kumo.on('get_egress_pool', function(name) return kumo.make_egress_pool { name = name } end)
    """
    node = await kumod(policy(hold))
    held = await node.receive("a@sender.example", "b@held.example")
    tried = await node.receive("a@sender.example", "b@dest.example")
    await node.advance(300)
    assert held.messages[0].attempts == 0
    assert tried.messages[0].attempts > 3


async def test_what_http_injection_raises_is_a_200_and_with_deferred_generation_not_even_counted(kumod):
    node = await kumod(policy("kumo.on('http_message_generated', function() kumo.reject(451, 'later') end)"))
    injected = await node.inject("a@sender.example", "b@dest.example")
    assert (injected.success_count, injected.fail_count) == (0, 1)
    deferred = await node.inject("a@sender.example", "b@dest.example", deferred=True)
    assert (deferred.success_count, deferred.fail_count) == (1, 0)
    assert not node.spool


async def test_contexts_share_what_is_memoized_and_only_one_of_them_fills_it(kumod):
    node = await kumod(
        policy(
            """
            local calls = kumo.counter_series.define { name = 'calls', num_buckets = 1, bucket_size = '365 days' }
            local slow = kumo.memoize(function(key) calls:increment(1) kumo.sleep(3) return { key = key } end,
              { name = 'user.slow', ttl = '1 minute', capacity = 10 })
            kumo.on('ask', function(key) return slow(key).key, calls:sum() end)
            """
        )
    )
    import asyncio

    answers = await asyncio.gather(*(node.call("ask", "k") for _ in range(5)))
    assert answers == [("k", 1)] * 5
    assert node.process.contexts_made >= 5


async def test_what_waits_fails_in_the_body_of_a_module_and_in_a_comparator(kumod, tmp_path):
    (tmp_path / "eager.lua").write_text("require('kumo').sleep(0.1) return {}")
    node = await kumod(
        policy(
            """
            kumo.on('eager', function() return require 'eager' end)
            kumo.on('sort', function()
              local t = { 1, 2 }
              table.sort(t, function(a, b) kumo.sleep(0.1) return a < b end)
            end)
            """
        ),
        package_path=f"{tmp_path}/?.lua",
    )
    for event in ("eager", "sort"):
        with pytest.raises(HandlerFailed, match="yield across a C-call boundary"):
            await node.call(event)


async def test_handlers_are_registered_at_file_scope_and_single_ones_once(kumod):
    node = await kumod(policy("kumo.on('late', function() kumo.on('other', function() end) end)"))
    with pytest.raises(HandlerFailed, match="from within the event handler 'late'"):
        await node.call("late")
    with pytest.raises(HandlerFailed, match="get_listener_domain event already has a handler"):
        await kumod(policy(RELAY))


async def test_an_error_or_a_bump_throws_the_context_away(kumod):
    node = await kumod(
        policy(
            "count = 0 kumo.on('count', function(fail) count = count + 1 if fail then error 'x' end return count end)"
        )
    )
    assert [await node.call("count"), await node.call("count")] == [(1,), (2,)]
    with pytest.raises(HandlerFailed):
        await node.call("count", True)
    assert await node.call("count") == (1,)
    node.process.bump_epoch()
    assert await node.call("count") == (1,)


async def test_what_is_not_simulated_says_its_name(kumod):
    node: Node = await kumod(
        policy("kumo.on('ask', function() return pcall(function() return kumo.dns.lookup_ptr 'x' end) end)")
    )
    assert (await node.call("ask") or ())[0] is False
    (problem,) = node.problems
    assert isinstance(problem, NotSimulated)
    assert str(problem) == "kumo.dns.lookup_ptr is not simulated"
    node.problems.clear()


async def test_a_handler_that_waits_for_nothing_is_stuck(kumod):
    node = await kumod(policy("kumo.on('ask', function() return kumo.mpsc.define('q'):recv() end)"))
    with pytest.raises(Stuck):
        await node.call("ask")


async def test_a_signer_takes_its_key_from_an_event_in_another_context_and_keeps_it(kumod):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )
    node = await kumod(
        policy(
            f"""
            local asked = kumo.counter_series.define {{ name = 'asked', num_buckets = 1, bucket_size = '365 days' }}
            kumo.on('key', function(domain, selector, id)
              asked:increment(1)
              if id == 'gone' then error 'no such key' end
              return [[{pem}]]
            end)
            kumo.on('smtp_server_message_received', function(msg)
              local ok, err = pcall(function()
                msg:dkim_sign(kumo.dkim.ed25519_signer {{ domain = 'sender.example', selector = 's', headers = {{ 'From' }}, ttl = '1 hour',
                  key = {{ event_name = 'key', event_args = {{ 'sender.example', 's', msg:get_first_named_header_value 'X-Key' }} }} }})
              end)
              if not ok then kumo.reject(451, '4.7.5 ' .. asked:sum()) end
            end)
            """
        )
    )
    data = b"From: a@sender.example\r\nX-Key: %s\r\n\r\nx\r\n"
    for _ in range(2):
        reply = await node.receive("a@sender.example", "b@dest.example", data=data % b"k1")
        assert reply.messages[0].signed_by[0]["key"]["event_args"] == ["sender.example", "s", "k1"]
    for _ in range(2):
        reply = await node.receive("a@sender.example", "b@dest.example", data=data % b"gone")
        assert (reply.code, reply.text) == (451, "4.7.5 2"), "a failure is remembered too"


async def test_log_hooks_deliver_by_lua_and_retry_where_they_are_told_to(kumod):
    node = await kumod(
        policy(
            """
            local tries = kumo.counter_series.define { name = 'tries', num_buckets = 1, bucket_size = '365 days' }
            kumo.on('pre_init', function() kumo.configure_log_hook { name = 'hook', meta = { 'tenant' } } end)
            kumo.on('should_enqueue_log_record', function(msg, hook)
              if msg:get_meta('log_record').type ~= 'Delivery' then return false end
              msg:set_meta('queue', 'one.' .. hook .. '.log_hook')
              return true
            end)
            kumo.on('get_queue_config', function(domain)
              if domain:match '%.log_hook$' then
                return kumo.make_queue_config { retry_interval = '1m', protocol = { custom_lua = { constructor = 'make.hook', batch_size = 10 } } }
              end
            end)
            kumo.on('make.hook', function(domain)
              return { send_batch = function(_, msgs)
                tries:increment(1)
                if tries:sum() == 1 then kumo.reject(400, 'busy') end
                return 'sent ' .. #msgs .. ' to ' .. domain
              end }
            end)
            """
        )
    )
    await node.receive("a@sender.example", "b@dest.example")
    await node.advance(120)
    sent = [
        record["response"]["content"] for record in node.records if record["queue"] == "one.hook.log_hook"
    ]
    assert sent == ["busy", "sent 1 to one.hook.log_hook"]


async def test_a_machine_that_was_asleep_wakes_once_and_not_for_every_second(kumod):
    node = await kumod(
        policy(
            """
            local ticks = kumo.counter_series.define { name = 'ticks', num_buckets = 1, bucket_size = '3650 days' }
            kumo.on('tick', function() while true do kumo.sleep(1) ticks:increment(1) end end)
            kumo.on('init', function() kumo.spawn_task { event_name = 'tick', args = { 1 } } end)
            kumo.on('ticks', function() return ticks:sum() end)
            """
        )
    )
    await node.advance(10)
    assert await node.call("ticks") == (10,)
    await node.advance(86_400, at_once=True)
    assert await node.call("ticks") == (11,)
