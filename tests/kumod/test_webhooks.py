"""A real kumod's log records at the webhooks that rows name, whatever becomes of the service meanwhile."""

import hashlib
import hmac
import signal

from tests.kumod.site import MODULES, ROWS, until
from tests.kumod.webhooks import webhook

HOOKED = "require('policyd.log_hooks'):setup { slots = 2 }\n" + MODULES
SECRETS = "{ hook = { key_data = 'a-shared-secret' }, bearer = { key_data = 'Bearer b34r3r' } }"


async def test_a_webhook_is_told_signed_and_with_its_secrets(site, receiver):
    row = webhook(
        receiver, secret="'hook'", headers="""'{"Authorization": {"secret": "bearer"}, "X-Plain": "yes"}'"""
    )
    await site.node(HOOKED, rows=ROWS + row, secrets=SECRETS)
    await site.deliver(X_Tenant="acme", X_Campaign="welcome")
    record = await receiver.record(type="Delivery")
    assert record["meta"]["tenant"] == "acme"
    assert record["meta"]["policyd_revision"] >= 1
    assert record["source_address"]["address"].startswith("127.0.0.22:")
    headers, body = receiver.requests[0]
    assert (headers["authorization"], headers["x-plain"]) == ("Bearer b34r3r", "yes")
    signed = f"{headers['policyd-timestamp']}.".encode() + body
    assert (
        headers["policyd-signature"]
        == "sha256=" + hmac.digest(b"a-shared-secret", signed, hashlib.sha256).hex()
    )


async def test_webhooks_come_and_go_with_their_rows(site, receiver):
    await site.node(HOOKED)
    await site.deliver(recipient="before@dest.example")
    await site.change(webhook(receiver))
    await site.deliver(recipient="told@dest.example")
    await receiver.record(type="Delivery")
    await site.change("delete from policy.webhook")
    await site.deliver(recipient="after@dest.example")
    await site.change(webhook(receiver, "another"))
    await site.deliver(recipient="last@dest.example")
    await receiver.record(type="Delivery", recipient="last@dest.example")
    recipients = {record["recipient"] for record in receiver.records()}
    assert recipients == {"told@dest.example", "last@dest.example"}


async def test_each_tenant_is_told_of_its_own_mail(site, receiver):
    await site.node(HOOKED, rows=ROWS + webhook(receiver, tenant="'acme'", events="'{Delivery}'"))
    await site.deliver()
    await site.deliver(X_Tenant="acme")
    await receiver.record(type="Delivery")
    assert [record["meta"]["tenant"] for record in receiver.records()] == ["acme"]


async def test_an_endpoint_that_fails_is_asked_again_and_one_that_refuses_is_not(site, receiver):
    node = await site.node(HOOKED, rows=ROWS + webhook(receiver, events="'{Delivery}'"))
    receiver.status = 503
    await site.deliver()
    await receiver.record(type="Delivery")
    queue = "all.policyd.log_hook"
    await until(lambda: waits(node, queue))
    receiver.status = 400
    await node.flush()
    await until(lambda: len(receiver.requests) == 2)
    await node.says("its records are dropped")
    assert not await waits(node, queue)


async def waits(node, queue):
    found = await node.scheduled(queue)
    return found is not None and found["num_scheduled"] > 0


async def test_records_of_an_outage_reach_their_webhook(site, receiver):
    await site.node(HOOKED, rows=ROWS + webhook(receiver, events="'{Delivery}'"))
    await site.deliver()
    await receiver.record(type="Delivery")
    await until(lambda: "/webhooks" in site.held())
    await site.endpoint.be("refused")
    await site.kumod.restart(signal.SIGKILL)
    await site.deliver("in the outage")
    await until(lambda: len(receiver.records()) >= 2)
