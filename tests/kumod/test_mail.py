"""Mail through a real kumod: who may relay, from where it leaves, where it goes, when it is tried again."""

from tests.kumod.mail import RECIPIENT, message, send
from tests.kumod.site import GOLD, ROWS, SHARED, until


async def test_mail_leaves_by_the_pool_of_its_tenant(site):
    await site.node()
    shared = await site.deliver()
    gold = await site.deliver(X_Tenant="acme")
    assert (shared.peer, shared.greeting) == (SHARED, "one.a.example")
    assert (gold.peer, gold.greeting) == (GOLD, "two.a.example")


async def test_only_those_with_a_row_may_relay(site):
    node = await site.node()
    assert (await send(node.smtp[0], "x@b.example")).code == 550
    assert (await send(node.smtp[0], "x@A.EXAMPLE")).code == 250
    await site.sink.receive()


async def test_a_tenant_without_a_row_is_refused_for_good(site):
    await site.node()
    reply = await site.send(X_Tenant="ghost")
    assert (reply.code, reply.to) == (500, "DATA")


async def test_injected_mail_takes_the_same_way(site):
    await site.node()
    answer = await site.inject("injected")
    assert (answer["success_count"], answer["fail_count"]) == (1, 0)
    (delivery,) = await site.sink.receive()
    assert (delivery.peer, delivery.header("Subject")) == (SHARED, "injected")


async def test_a_routing_domain_is_where_mail_goes_instead(site):
    # No MX and no address: kumod can only reach it through the other.
    await site.node(
        rows=ROWS
        + "insert into policy.queue (domain, routing_domain) values ('lost.invalid', 'relay.example');"
    )
    delivery = await site.deliver(recipient="y@lost.invalid")
    assert delivery.recipients == ("y@lost.invalid",)
    assert await site.kumod.scheduled("lost.invalid!relay.example") is not None


async def test_a_queue_retries_as_its_rows_say(site):
    node = await site.node(
        rows=ROWS
        + """
        insert into policy.queue (domain, options) values
          ('dest.example', '{"retry_interval": "7m", "max_retry_interval": "1h", "max_age": "2 days"}');
        insert into policy.queue_tenant (domain, tenant, options) values ('dest.example', 'acme', '{"max_age": 3600}');
        """
    )
    site.sink.verdict = lambda _: "450 4.2.0 not now"
    assert (await site.send(X_Tenant="acme", X_Campaign="welcome")).code == 250
    name = "welcome:acme@dest.example"
    await until(lambda: site.sink.refused)
    queue = await node.scheduled(name)
    while queue["num_scheduled"] == 0:
        queue = await node.scheduled(name)
    config = queue["queue_config"]
    wanted = {"egress_pool": "gold", "retry_interval": "7m", "max_retry_interval": "1h", "max_age": "1h"}
    assert {key: config[key] for key in wanted} == wanted
    (waiting,) = queue["messages"]
    assert waiting["message"]["num_attempts"] == 1
    assert waiting["message"]["meta"]["policyd_revision"] >= 1


async def test_several_recipients_each_have_their_queue(site):
    node = await site.node()
    reply = await send(node.smtp[0], "x@a.example", RECIPIENT, "z@one.dest.example", data=message("both"))
    assert reply.code == 250
    got = await site.sink.receive(2)
    assert sorted(delivery.recipients for delivery in got) == [("y@dest.example",), ("z@one.dest.example",)]


async def test_lists_that_are_empty_are_empty_and_no_error(site):
    """kumod's own tables cannot tell an empty list from an empty map."""
    node = await site.node(
        rows=ROWS
        + """
        insert into policy.listener_domain (domain, relay_from) values ('closed.example', '{}');
        insert into policy.tenant (name, egress_pool, require_authz) values ('sealed', 'gold', '{}');
        insert into policy.egress_pool (name) values ('empty');
        insert into policy.queue (domain, egress_pool) values ('one.dest.example', 'empty');
        """
    )
    assert (await send(node.smtp[0], "x@closed.example")).code == 550
    reply = await site.send(X_Tenant="sealed")
    assert (reply.code, "requires SMTP AUTH" in reply.text) == (500, True)
    assert (await site.send("waits", recipient="y@one.dest.example")).code == 250

    async def waits():
        found = await node.scheduled("one.dest.example")
        return found is not None and found["num_scheduled"] == 1

    await until(waits)
    await site.change("insert into policy.egress_pool_entry (pool, source) values ('empty', 'ip-1')")
    await until(lambda: flushed(site))


async def flushed(site):
    await site.kumod.flush()
    return "waits" in site.sink.subjects()


async def test_a_tenants_budget_is_kept_and_nobody_elses_mail_waits_for_it(site):
    node = await site.node(
        rows=ROWS + "update policy.tenant set overall_max_message_rate = '2/hour' where name = 'acme';"
    )
    for i in range(3):
        await site.send(f"acme-{i}", X_Tenant="acme")
    await site.deliver("others")
    await site.sink.receive(3)

    async def waits():
        found = await node.scheduled("acme@dest.example")
        return found is not None and found["num_scheduled"] == 1

    await until(waits)
    (waiting,) = (await node.scheduled("acme@dest.example"))["messages"]
    assert waiting["message"].get("num_attempts", 0) == 0


async def test_a_listener_has_its_own_domains_by_the_name_that_the_policy_gives_it(site):
    node = await site.node(
        rows=ROWS
        + "insert into policy.listener_domain (listener, domain, relay_to) values ('mx', 'dest.example', true);",
    )
    assert [(await send(port, "x@b.example")).code for port in node.smtp] == [550, 250]
