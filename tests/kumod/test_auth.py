"""Logins at a real kumod: yes, no, and an outage, which is neither; and no password anywhere."""

import signal

import pytest

from tests.integration.test_smtp_auth import HASH, PASSWORD
from tests.kumod.mail import RECIPIENT, SENDER, inject, message, send
from tests.kumod.site import GOLD, MODULES, ROWS, until

LOGINS = (
    "local smtp_auth = require('policyd.smtp_auth'):setup()\n"
    "kumo.on('smtp_server_auth_plain', smtp_auth.smtp_server_auth_plain)\n"
    "kumo.on('http_server_validate_auth_basic', smtp_auth.http_server_validate_auth_basic)\n"
    + MODULES.replace(
        "received(msg) queue_helper:apply(msg)", "received(msg, info) queue_helper:apply(msg, info)"
    )
)
CREDENTIALS = (
    ROWS
    + f"""
    update policy.tenant set require_authz = '{{alice}}' where name = 'acme';
    insert into policy.smtp_credential (username, password_hash, tenant) values ('alice', '{HASH}', 'acme');
    """
)
WRONG = "incorrect horse"


@pytest.fixture(autouse=True)
def nothing_that_is_written_holds_a_password(site):
    yield
    written = "\n".join(site.kumod.lines).encode()
    for path in site.directory.rglob("*"):
        written += path.read_bytes() if path.is_file() else b""
    assert PASSWORD.encode() not in written
    assert WRONG.encode() not in written


async def log_in(site, password=PASSWORD, username="alice", **headers):
    return await send(
        site.kumod.smtp[0], SENDER, RECIPIENT, data=message(**headers), login=(username, password)
    )


async def test_a_login_sends_for_its_tenant(site):
    await site.node(LOGINS, rows=CREDENTIALS)
    assert (await site.send(X_Tenant="acme")).code == 500
    assert (await log_in(site)).code == 250
    (delivery,) = await site.sink.receive()
    assert delivery.peer == GOLD


async def test_a_wrong_password_is_no_and_so_is_a_removed_login(site):
    await site.node(LOGINS, rows=CREDENTIALS)
    assert (await log_in(site, WRONG)).code == 535
    assert (await log_in(site)).code == 250
    await site.change("update policy.smtp_credential set enabled = false")
    assert (await log_in(site)).code == 535


async def test_an_outage_is_no_no_and_who_was_seen_before_goes_on(site, store_key):
    await site.node(LOGINS, rows=CREDENTIALS, store_key=store_key)
    assert (await log_in(site)).code == 250
    await until(lambda: "/smtp-auth/alice" in site.held())
    await site.endpoint.be("refused")
    await site.kumod.restart(signal.SIGKILL)
    assert (await log_in(site)).code == 250
    assert (await log_in(site, username="bob")).code == 454
    assert (await log_in(site, WRONG)).code == 454


async def test_without_a_store_key_an_outage_is_454(site):
    await site.node(LOGINS, rows=CREDENTIALS)
    assert (await log_in(site)).code == 250
    await site.endpoint.be("refused")
    await site.kumod.restart(signal.SIGKILL)
    reply = await log_in(site)
    assert (reply.code, reply.to) == (454, "AUTH")


async def test_a_login_over_http_sends_for_its_tenant_too(site):
    node = await site.node(LOGINS, rows=CREDENTIALS)

    async def answer(*login):
        return await inject(node.http[0], login=login)

    assert (await answer("alice", WRONG))["status"] == 401
    assert (await answer("alice", PASSWORD))["success_count"] == 1
    (delivery,) = await site.sink.receive()
    assert delivery.peer == GOLD
    await site.endpoint.be("refused")
    assert (await answer("bob", WRONG))["status"] == 500
