"""What a real kumod signs, as another program verifies it: by the rows, with the key of this moment, through outages."""

import signal
from dataclasses import replace

import pytest

from tests.integration.conftest import make_config, serving
from tests.integration.signing import RESTLESS, KeyFiles
from tests.kumod.mail import inject, message, send
from tests.kumod.signatures import signers
from tests.kumod.site import MODULES, ROWS, until
from tests.unit.keys.pems import ed25519_pem, rsa_pem

FIRST, SECOND, MODERN = rsa_pem(), rsa_pem(number=1), ed25519_pem()
SIGNING = "local dkim_signer = require('policyd.dkim_sign'):setup()\n" + MODULES.replace(
    "queue_helper:apply(msg)", "queue_helper:apply(msg) dkim_signer(msg)"
)
DKIM_ROWS = (
    ROWS
    + """
    update policy.dkim_settings set selector = 's1';
    insert into policy.dkim_domain (domain) values ('a.example');
    """
)
S1 = {"s1@a.example": FIRST}


@pytest.fixture
def keys(key_directory):
    files = KeyFiles(key_directory)
    files.write("a.example/s1", FIRST)
    return files


async def test_what_others_verify_is_what_the_rows_say(site, keys):
    keys.write("shared/2026", MODERN)
    await site.node(
        SIGNING,
        rows=DKIM_ROWS
        + """
        update policy.dkim_domain set over_sign = true, body_canonicalization = 'Simple', expiration = 3600;
        insert into policy.dkim_signature (name, domain, selector, algorithm, key_name)
          values ('ours', 'relay.example', 'e1', 'ed25519', 'shared/2026');
        insert into policy.dkim_additional_signature (position, signature) values (0, 'ours');
        """,
    )
    delivery = await site.deliver()
    assert set(signers(delivery, {**S1, "e1@relay.example": MODERN})) == {"s1@a.example", "e1@relay.example"}


async def test_injected_mail_is_signed_too(site, keys):
    await site.node(SIGNING, rows=DKIM_ROWS)
    for deferred in (False, True):
        await site.inject(str(deferred), deferred_generation=deferred)
        delivery = await site.sink.find(lambda each, name=str(deferred): each.header("Subject") == name)
        assert signers(delivery, S1) == ["s1@a.example"]


async def test_the_message_after_a_rotation_is_signed_with_the_new_key(site, keys):
    await site.node(SIGNING, rows=DKIM_ROWS)
    assert signers(await site.deliver(), S1) == ["s1@a.example"]
    keys.write("a.example/s2", SECOND)
    await site.change("update policy.dkim_domain set selector = 's2'")
    assert signers(await site.deliver(), {"s2@a.example": SECOND}) == ["s2@a.example"]
    await site.change("delete from policy.dkim_domain")
    assert signers(await site.deliver(), {}) == []


async def test_a_key_that_is_replaced_where_it_lives_is_used_under_the_same_selector(
    site, keys, dsn, key_directory
):
    config = replace(make_config(dsn, keys=key_directory), dkim=RESTLESS)
    async with serving(config) as service:
        await site.endpoint.be("through", target=service.url)
        await site.node(SIGNING, rows=DKIM_ROWS)
        await site.deliver()
        keys.write("a.example/s1", SECOND)
        await until(lambda: is_signed(site, SECOND))


async def is_signed(site, pem):
    delivery = await site.deliver()
    try:
        return signers(delivery, {"s1@a.example": pem}) == ["s1@a.example"]
    except AssertionError:
        assert signers(delivery, S1) == ["s1@a.example"]  # the key before it, never another
        return False


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
async def test_a_node_that_is_restarted_in_an_outage_signs_on(site, keys, store_key, by):
    await site.node(SIGNING, rows=DKIM_ROWS, store_key=store_key)
    await site.deliver()
    await until(lambda: any(path.startswith("/dkim/a.example/s1") for path in site.held()))
    await site.endpoint.be("refused")
    await site.kumod.restart(by)
    assert signers(await site.deliver(), S1) == ["s1@a.example"]
    assert FIRST not in site.store.read_bytes() + site.store.with_name("store.db-wal").read_bytes()


async def test_without_a_store_key_mail_waits_for_its_signature(site, keys):
    node = await site.node(SIGNING, rows=DKIM_ROWS)
    await site.deliver()
    await site.endpoint.be("refused")
    await node.restart()
    reply = await site.send()
    assert (reply.code, reply.text[:5]) == (451, "4.7.5")
    for i in range(12):
        answer = await inject(node.http[0], content=message(f"held-{i}"))
        assert answer["fail_count"] == 0
    await site.endpoint.be("through")
    await site.caught_up()
    await site.sink.receive(2)
    await node.flush()
    delivered = (await site.sink.receive(13))[1:]
    assert {tuple(signers(each, S1)) for each in delivered} == {("s1@a.example",)}


async def test_a_domain_without_rows_is_sent_unsigned(site, keys):
    node = await site.node(SIGNING, rows=DKIM_ROWS)
    await send(node.smtp[0], data=message().replace(b"x@a.example", b"x@elsewhere.example"))
    (delivery,) = await site.sink.receive()
    assert signers(delivery, {}) == []
