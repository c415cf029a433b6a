"""A real kumod while nobody answers: what is known holds, what is not known waits, and nothing is lost."""

import asyncio
import signal
from urllib.parse import urlsplit

import pytest

from tests.integration.conftest import make_config, serving, serving_rows
from tests.kumod.mail import inject, message
from tests.kumod.site import GOLD, MODULES, ROWS, SHARED, until
from tests.kumod.webhooks import webhook

HELD = 12
"""So many messages wait in these tests: kumod looks at each at a random second within a minute, and one is enough to see it."""


async def attempts(node, queue):
    """How many attempts kumod has counted for each message that waits in *queue*."""
    found = await node.scheduled(queue)
    return [each["message"].get("num_attempts", 0) for each in found["messages"]] if found else []


async def test_an_outage_changes_nothing_for_mail_whose_policy_is_known(site):
    await site.node()
    await site.deliver()
    await site.deliver(X_Tenant="acme")
    await site.endpoint.be("refused")
    assert (await site.deliver()).peer == SHARED
    assert (await site.deliver(X_Tenant="acme")).peer == GOLD
    assert (await site.send(X_Tenant="ghost")).code == 500


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
async def test_a_node_that_is_restarted_in_an_outage_delivers_on(site, by):
    await site.node()
    await site.deliver()
    await site.deliver(X_Tenant="acme")
    site.sink.is_open.clear()
    assert (await site.send("spooled")).code == 250
    await until(lambda: {"/queue/default", "/queue/default?tenant=acme"} <= set(site.held()))
    await site.endpoint.be("refused")
    site.sink.is_open.set()
    await site.kumod.restart(by)
    assert (await site.deliver("after")).peer == SHARED
    assert (await site.deliver("after", X_Tenant="acme")).peer == GOLD
    await site.sink.until(lambda: "spooled" in site.sink.subjects())


async def test_a_silent_service_makes_nobody_wait(site):
    await site.node()
    await site.deliver()
    await site.endpoint.be("silent")
    clock = asyncio.get_running_loop().time
    began = clock()
    for _ in range(20):
        await site.deliver()
    assert clock() - began < 15


async def test_with_nothing_known_mail_is_put_off_and_what_is_spooled_is_held_without_counting(site):
    node = await site.node()
    site.sink.is_open.clear()
    for i in range(HELD):
        assert (await site.send(f"spooled-{i}")).code == 250
    await node.stop(signal.SIGKILL)
    for path in site.store.parent.iterdir():
        path.unlink()
    site.sink.is_open.set()
    await site.endpoint.be("refused")
    await node.start()
    assert (await site.send("new")).code == 421
    # Delayed from now on, so each was looked at once.
    await until_held(node, "dest.example")
    assert await attempts(node, "dest.example") == [0] * HELD
    await node.flush()
    await until_held(node, "dest.example")
    assert await attempts(node, "dest.example") == [0] * HELD
    assert site.sink.deliveries == []
    await site.endpoint.be("through")
    await site.caught_up()
    await recovered(site, HELD)
    assert {delivery.peer for delivery in site.sink.deliveries} == {SHARED}
    assert sorted(site.sink.subjects()) == sorted(f"spooled-{i}" for i in range(HELD))
    assert (await site.send("new")).code == 250


async def refuses(site):
    return (await site.send()).code == 550


async def until_held(node, queue, count=HELD):
    """Wait until *count* messages are delayed in a queue."""

    async def are_held():
        found = await node.scheduled(queue)
        return found and found["num_scheduled"] >= count

    await until(are_held)


async def recovered(site, count):
    """One comes by itself, since nothing else would tell the node; the others are made due."""
    await site.sink.receive(1)
    await site.kumod.flush()
    await site.sink.receive(count)


async def test_mail_injected_with_nothing_known_is_held_and_then_sent(site):
    await site.endpoint.be("refused")
    node = await site.node()
    for i in range(HELD):
        for deferred in (False, True):
            answer = await site.inject(
                f"{'deferred' if deferred else 'plain'}-{i}", deferred_generation=deferred
            )
            assert answer["fail_count"] == 0, answer
    await until_held(node, "pending.policyd", 2 * HELD)
    assert await attempts(node, "pending.policyd") == [0] * 2 * HELD
    await node.restart(signal.SIGKILL)
    await until_held(node, "pending.policyd", 2 * HELD)
    assert await attempts(node, "pending.policyd") == [0] * 2 * HELD
    await site.endpoint.be("through")
    await site.caught_up()
    await recovered(site, 2 * HELD)
    assert {delivery.peer for delivery in site.sink.deliveries} == {SHARED}
    assert len(set(site.sink.subjects())) == 2 * HELD


async def test_injected_mail_that_turns_out_not_to_be_allowed_is_bounced_and_told(site, receiver):
    await site.db.execute(ROWS + webhook(receiver, events="'{Bounce,Delivery}'"))
    await site.endpoint.be("refused")
    node = await site.node("require('policyd.log_hooks'):setup()\n" + MODULES, rows="")
    ghost = await inject(node.http[0], content=message("ghost", X_Tenant="ghost"))
    allowed = await inject(node.http[0], content=message("allowed", X_Tenant="acme"))
    assert (ghost["fail_count"], allowed["fail_count"]) == (0, 0)
    await until_held(node, "pending.policyd", 2)
    await site.endpoint.be("through")
    await site.caught_up()
    await until(lambda: is_flushed(site, "allowed"))
    record = await receiver.record(type="Bounce")
    assert (record["response"]["code"], record["queue"]) == (500, "pending.policyd")
    assert "tenant 'ghost' specified by 'X-Tenant' header is not defined" in record["response"]["content"]
    assert not (await node.scheduled("pending.policyd") or {"num_scheduled": 0})["num_scheduled"]


async def is_flushed(site, subject):
    await site.kumod.flush()
    return subject in site.sink.subjects()


async def test_another_history_is_taken_over(site, postgres):
    """As when a database was restored, or an endpoint is another installation's."""
    await site.node()
    await site.deliver()
    others = ROWS.replace("('shared', 'ip-1'), ('gold', 'ip-2')", "('shared', 'ip-2'), ('gold', 'ip-1')")
    async with serving_rows(postgres, others) as another:
        await site.endpoint.be("through", target=another.url)
        await until(lambda: arrives_from(site, GOLD))
        await site.kumod.says("another history")


async def arrives_from(site, address):
    return (await site.deliver()).peer == address


async def test_service_and_database_may_go_and_come_back(site, postgres, dsn):
    """As the others, but for the service itself, and a database that lets nobody in."""
    async with serving(make_config(dsn)) as second:
        await site.endpoint.be("through", target=second.url)
        await site.node()
        await site.deliver()
    database = urlsplit(dsn).path[1:]
    async with postgres.administrator() as administrator:
        await administrator.execute(f"alter database {database} allow_connections false")
    await site.kumod.restart()
    assert (await site.deliver()).peer == SHARED
    async with postgres.administrator() as administrator:
        await administrator.execute(f"alter database {database} allow_connections true")
    async with serving(make_config(dsn)) as third:
        await site.endpoint.be("through", target=third.url)
        await site.change("delete from policy.listener_domain where domain = 'a.example'")
        # What was given as stale may be used for two seconds.
        await until(lambda: refuses(site))
