"""Rows that change are seen on the wire, without a reload, by queues and connections that are there already."""

from tests.kumod.mail import send
from tests.kumod.site import GOLD, ROWS, SHARED, until


async def arrives_from(site, address):
    """Send, one message after the other, until one comes from *address*."""

    async def arrives():
        return (await site.deliver()).peer == address

    await until(arrives, every=0.02)


async def test_a_revoked_domain_is_refused_and_a_new_one_relayed(site):
    node = await site.node()
    assert (await site.send()).code == 250
    await site.change("delete from policy.listener_domain where domain = 'a.example'")
    assert (await site.send()).code == 550
    await site.change(
        "insert into policy.listener_domain (domain, relay_from) values ('b.example', '{127.0.0.1}')"
    )
    assert (await send(node.smtp[0], "x@b.example")).code == 250


async def test_a_live_queue_moves_to_its_new_pool(site):
    await site.node()
    assert (await site.deliver()).peer == SHARED
    await site.db.execute("update policy.queue set egress_pool = 'gold' where domain = 'default'")
    await arrives_from(site, GOLD)


async def test_a_pool_entry_that_is_swapped_is_used_by_queues_that_have_the_pool_already(site):
    await site.node()
    assert (await site.deliver()).peer == SHARED
    await site.db.execute("update policy.egress_pool_entry set source = 'ip-2' where pool = 'shared'")
    await arrives_from(site, GOLD)


async def test_a_tenant_that_is_removed_is_refused(site):
    await site.node(rows=ROWS + "insert into policy.tenant (name) values ('brief');")
    assert (await site.send(X_Tenant="brief")).code == 250
    await site.change("delete from policy.tenant where name = 'brief'")
    assert (await site.send(X_Tenant="brief")).code == 500
