"""policyd.dkim_sign: signed as the rows say, unsigned as the rows say, and never unsigned because of a failure."""

import pytest

from policyd.live import keyring
from policyd.policy import dkim
from tests.integration.conftest import make_token
from tests.lua.kumo_sim.messages import Message
from tests.lua.signers import (
    DKIM_ROWS,
    FIRST,
    MODERN,
    SECOND,
    SIGNING,
    is_signed,
    key_path,
    mail_from,
    signatures,
    store_key,
    with_keys,
)
from tests.lua.sites import RECIPIENT, ROWS, SENDER

UNAVAILABLE = (451, "4.7.5 the DKIM signatures of this message cannot be made now, try again later")


@pytest.fixture
def signing(site, keys):
    """Start a node that signs for `a.example` and below `wild.example`."""
    with_keys(keys)

    async def start(rows="", **options):
        return await site.node(SIGNING, rows=ROWS + DKIM_ROWS + rows, **options)

    return start


async def receive(node, domain="a.example"):
    reply = await node.receive(SENDER, RECIPIENT, data=mail_from(domain))
    return reply.messages[0] if reply.code == 250 else (reply.code, reply.text)


async def test_a_domain_signs_with_what_its_rows_say(signing):
    node = await signing(
        "update policy.dkim_domain set expiration = 3600, over_sign = true, body_canonicalization = 'Simple'"
    )
    message = await receive(node, "A.Example")
    (signature,) = message.signed_by
    assert is_signed(message)
    assert {
        name: signature[name] for name in ("maker", "expiration", "over_sign", "body_canonicalization")
    } == {
        "maker": "rsa_sha256_signer",
        "expiration": 3600,
        "over_sign": True,
        "body_canonicalization": "Simple",
    }
    assert signature["key"] == {
        "event_name": "policyd.dkim_key",
        "event_args": ["a.example", "s1", key_path(FIRST).partition("=")[2]],
    }
    assert message.meta["policyd_revision"] >= 1


async def test_wildcards_sign_as_the_domain_and_additional_signatures_in_their_order(signing, keys):
    keys.write("esp.example/e1", MODERN)
    keys.write("house.example/h1", SECOND)
    node = await signing("""
        insert into policy.dkim_signature (name, domain, selector, policy) values
          ('esp', 'esp.example', 'e1', 'Always'), ('house', 'house.example', 'h1', 'OnlyIfMissingDomainBlock');
        insert into policy.dkim_additional_signature (position, signature) values (0, 'house'), (1, 'esp');
    """)
    message = await receive(node, "x.wild.example")
    assert [name for name, _, _ in signatures(message)] == ["x.wild.example", "esp.example"]
    assert [each["maker"] for each in message.signed_by] == ["rsa_sha256_signer", "ed25519_signer"]
    assert [name for name, _, _ in signatures(await receive(node, "nobody.test"))] == [
        "house.example",
        "esp.example",
    ]


async def test_what_nothing_signs_goes_out_unsigned_and_nobody_is_asked(signing, site):
    node = await signing()
    asked = len(site.endpoint.requests)
    assert (await receive(node, "nobody.test")).signed_by == []
    assert not [line for line in site.endpoint.requests[asked:] if "/dkim/" in line]
    await site.endpoint.be("silent")
    assert (await receive(node, "others.test")).signed_by == []


async def test_all_domains_without_a_block_are_one_question(signing, site, keys):
    keys.write("house.example/h1", SECOND)
    node = await signing("""
        insert into policy.dkim_signature (name, domain, selector) values ('house', 'house.example', 'h1');
        insert into policy.dkim_additional_signature (position, signature) values (0, 'house');
    """)
    for i in range(5):
        assert is_signed(await receive(node, f"nobody-{i}.test"), SECOND, "house.example", "h1")
    await node.advance(1)
    assert [path for path in site.held() if path.startswith("/dkim/")] == ["/dkim/%21"]
    await site.endpoint.be("refused")
    assert is_signed(await receive(node, "stranger.test"), SECOND, "house.example", "h1")


async def test_a_new_block_is_seen_where_there_was_none(signing, site, keys):
    node = await signing()
    assert (await receive(node, "b.example")).signed_by == []
    keys.write("b.example/s1", SECOND)
    await site.change("insert into policy.dkim_domain (domain) values ('b.example')", node)
    assert is_signed(await receive(node, "b.example"), SECOND, "b.example")
    await site.change("delete from policy.dkim_domain where domain = 'b.example'", node)
    assert (await receive(node, "b.example")).signed_by == []


@pytest.mark.parametrize("mode", ["refused", "error", "html"])
async def test_what_is_not_known_is_put_off(signing, site, mode):
    node = await signing()
    await receive(node, "nobody.test")
    await site.endpoint.be(mode)
    assert await receive(node) == UNAVAILABLE
    assert not [message for message in node.queued() if not message.signed_by]


async def test_before_there_is_an_index_everything_is_put_off(signing, site):
    await site.endpoint.be("refused")
    node = await signing()
    assert (await receive(node, "nobody.test"))[0] == 451


@pytest.mark.parametrize("content", [None, b"garbage"])
async def test_a_plan_whose_key_is_missing_or_unusable_is_put_off_and_heals(
    signing, site, keys, content, monkeypatch
):
    monkeypatch.setattr(dkim, "ASK_AGAIN_AFTER", 0.5)
    monkeypatch.setattr(keyring, "_PROBLEM_FOR", 0.2)
    keys.remove("a.example/s1")
    if content is not None:
        keys.write("a.example/s1", content)
    node = await signing()
    assert await receive(node) == UNAVAILABLE
    assert [
        text
        for _, text in node.logged
        if "mail cannot be signed for a.example, selector s1: its key is" in text
    ]
    # Everybody else is answered.
    assert is_signed(await receive(node, "x.wild.example"), SECOND, "x.wild.example")
    keys.write("a.example/s1", FIRST)

    async def heals():
        await node.advance(1)
        return isinstance(message := await receive(node), Message) and is_signed(message)

    await node.until(heals)


async def test_a_key_that_cannot_be_had_stops_nobody_else(signing, site):
    node = await signing()
    await site.db.execute("update policy.api_token set scopes = '{lookup,status}'")
    await site.caught_up(node)
    assert await receive(node) == UNAVAILABLE
    assert any(
        "a lookup of dkim_key got no answer: " in text and "scope dkim is needed" in text
        for _, text in node.logged
    )
    assert await node.listener_domain("a.example") == {"relay_to": True}
    assert (await receive(node, "nobody.test")).signed_by == []


async def test_a_service_that_wants_tls_for_keys_is_reported_as_that(signing, site):
    node = await signing()
    await receive(node, "nobody.test")
    await site.endpoint.be("plaintext")
    assert await receive(node) == UNAVAILABLE
    assert any("https:// is needed in endpoints" in text for _, text in node.logged)


async def test_it_is_the_operator_s_choice_to_send_unsigned(signing, site, keys):
    keys.write("esp.example/e1", MODERN)
    keys.remove("a.example/s1")
    node = await signing(
        """
        insert into policy.dkim_signature (name, domain, selector) values ('esp', 'esp.example', 'e1');
        insert into policy.dkim_additional_signature (position, signature) values (0, 'esp');
        """,
        on_unknown="'unsigned'",
    )
    assert is_signed(await receive(node), MODERN, "esp.example", "e1")
    await site.endpoint.be("refused")
    assert (await receive(node, "new.wild.example")).signed_by == []
    assert (await node.inject(SENDER, RECIPIENT, data=mail_from("other.wild.example"))).fail_count == 0
    await node.settle()
    assert node.delivered[-1].message.signed_by == []


@pytest.mark.parametrize("deferred", [False, True])
async def test_what_is_injected_is_held_and_signed_when_that_can_be_done(signing, site, deferred):
    node = await signing("update policy.queue_settings set remove_tenant_header = true")
    await receive(node, "nobody.test")
    await site.endpoint.be("refused")
    assert (
        await node.inject(SENDER, RECIPIENT, data=mail_from("a.example"), deferred=deferred)
    ).fail_count == 0
    await node.advance(900)
    assert not [
        delivery for delivery in node.delivered if delivery.message.values_of("From") == ["x@a.example"]
    ]
    (message,) = [each for each in node.queued() if each.queue == "pending.policyd"]
    assert message.attempts == 0
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 2, within=180)
    assert is_signed(message)
    assert (node.delivered[-1].queue, message.values_of("X-Tenant")) == ("acme@dest.a.example", [])


async def test_held_mail_is_signed_after_all_else_was_done_to_it(signing, site):
    await site.endpoint.be("refused")
    node = await signing("update policy.queue_settings set remove_tenant_header = true")
    await node.inject(SENDER, RECIPIENT, data=mail_from("a.example"))
    (message,) = node.queued()
    assert message.meta["policyd_pending"] == "queue,dkim"
    await site.endpoint.be("through")
    await node.until(lambda: node.delivered, within=180)
    assert [name for name, _ in message.header_pairs()][:2] == ["DKIM-Signature", "From"]
    assert is_signed(message)


async def test_a_message_without_one_author_is_refused_as_it_is(signing):
    node = await signing()
    for head, said in (
        (b"", "is missing from this message"),
        (b"From: a@a.example, b@b.example\r\n", "exactly one"),
    ):
        reply = await node.receive(SENDER, RECIPIENT, data=head + b"Subject: s\r\n\r\nhi\r\n")
        assert (reply.code, said in reply.text) == (552, True)


async def test_a_replaced_key_signs_the_next_message(signing, site, keys):
    node = await signing()
    assert is_signed(await receive(node))
    keys.write("a.example/new", SECOND)
    await site.change(
        "update policy.dkim_domain set key_name = 'a.example/new' where domain = 'a.example'", node
    )
    assert is_signed(await receive(node), SECOND)


async def test_the_key_of_a_replaced_plan_is_there_before_it_is_needed(signing, site, keys, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    assert is_signed(await receive(node))
    keys.write("a.example/new", SECOND)
    await site.change(
        "update policy.dkim_domain set key_name = 'a.example/new' where domain = 'a.example'", node
    )
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.restart()
    assert is_signed(await receive(node), SECOND)


async def test_a_key_is_asked_for_once(signing, site):
    node = await signing()
    for _ in range(3):
        assert is_signed(await receive(node))
    assert site.asked(key_path(FIRST)) == 1


async def test_an_outage_of_days_is_signed_through_without_a_store_key(signing, site):
    node = await signing()
    assert is_signed(await receive(node))
    await node.advance(1)
    await site.endpoint.be("refused")
    for _ in range(3):
        await node.advance(86_400, at_once=True)
        assert is_signed(await receive(node))


async def test_without_a_store_key_a_restart_in_an_outage_cannot_sign(signing, site):
    node = await signing()
    assert is_signed(await receive(node))
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.restart()
    assert await receive(node) == UNAVAILABLE
    assert (await node.inject(SENDER, RECIPIENT, data=mail_from("a.example"))).fail_count == 0
    await site.endpoint.be("through")
    await node.until(lambda: len(node.delivered) == 2, within=180)
    assert is_signed(node.delivered[-1].message)


async def test_signers_may_be_as_many_as_answers(signing):
    node = await signing(cache_capacity="4711")
    assert node.process.capacities["dkim_signer_cache"] == node.process.capacities["dkim_key_cache"] == 4711


async def test_it_needs_no_queue_helper_of_ours(site, keys):
    with_keys(keys)
    modules = """
    require('policyd.sources'):setup()
    local signer = require('policyd.dkim_sign'):setup()
    kumo.on('http_message_generated', function(msg) signer(msg) end)
    kumo.on('get_queue_config', function() return kumo.make_queue_config { egress_pool = 'gold' } end)
    kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
    """
    await site.endpoint.be("refused")
    node = await site.node(modules, rows=ROWS + DKIM_ROWS)
    await node.inject(SENDER, RECIPIENT, data=mail_from("a.example"))
    await node.advance(600)
    assert not node.delivered
    await site.endpoint.be("through")
    await node.until(lambda: node.delivered, within=180)
    assert (node.delivered[0].pool, is_signed(node.delivered[0].message)) == ("gold", True)


async def test_validation_passes_and_says_what_a_store_key_would_be_for(signing, tmp_path):
    node = await signing()
    fine, said = await node.validate()
    assert fine
    assert any(
        "without a store_key, a kumod that is restarted during an outage cannot sign" in line for line in said
    )


async def test_validation_finds_a_key_that_is_missing_and_a_token_that_may_not_have_any(
    signing, site, keys, tmp_path
):
    keys.remove("a.example/s1")
    node = await signing(store_key=store_key(tmp_path))
    fine, said = await node.validate()
    assert (fine, said) == (False, ["policyd: dkim a.example: selector s1 of a.example: its key is missing"])


async def test_validation_says_that_the_token_has_not_the_scope(signing, site, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    await make_token(site.db, "weak.0123456789abcdefghij", scopes=("lookup", "status"))
    site.token.write_text("weak.0123456789abcdefghij")
    fine, said = await node.validate()
    assert not fine
    assert any("a.example: its key cannot be had" in line for line in said)


async def test_validation_says_so_before_anything_signs(signing, site, tmp_path):
    node = await signing("delete from policy.dkim_domain;", store_key=store_key(tmp_path))
    assert await node.validate() == (True, [])
    await make_token(site.db, "weak.0123456789abcdefghij", scopes=("lookup", "status"))
    site.token.write_text("weak.0123456789abcdefghij")
    fine, said = await node.validate()
    assert fine
    assert any("a token without the scope dkim could not" in line for line in said)


async def test_validation_offline_still_looks_at_the_store_key(signing, site, tmp_path, monkeypatch):
    monkeypatch.setenv("POLICYD_VALIDATE", "offline")
    node = await signing(store_key=store_key(tmp_path, b"too short"))
    await site.endpoint.be("refused")
    fine, said = await node.validate()
    assert not fine
    assert any("the store_key cannot be read, or has not 64 bytes" in line for line in said)
