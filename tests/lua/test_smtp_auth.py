"""policyd.smtp_auth: yes and no are the service's, an outage is neither, and a login sends for its own tenant alone."""

import json
import unicodedata
from pathlib import Path

import pytest

from tests.integration.conftest import make_token
from tests.integration.test_golden import insert
from tests.integration.test_smtp_auth import HASH, PASSWORD
from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.signers import store_key
from tests.lua.sites import RECIPIENT, ROWS, SENDER

GOLDEN = Path(__file__).parents[1] / "contract" / "golden" / "smtp_auth.json"
UNAVAILABLE = (454, "4.7.0 logins cannot be checked at the moment, try again later")
WRONG = "incorrect horse"
MODULES = """
kumo.on('get_listener_domain', function() return kumo.make_listener_domain { relay_to = true } end)
require('policyd.sources'):setup()
local smtp_auth = require('policyd.smtp_auth'):setup()
kumo.on('smtp_server_auth_plain', smtp_auth.smtp_server_auth_plain)
kumo.on('http_server_validate_auth_basic', smtp_auth.http_server_validate_auth_basic)
local queue_helper = require('policyd.queue'):setup()
kumo.on('smtp_server_message_received', function(msg) queue_helper:apply(msg) end)
kumo.on('http_message_generated', function(msg, auth_info) queue_helper:apply(msg, auth_info) end)
kumo.on('get_egress_path_config', function() return kumo.make_egress_path {} end)
"""
CREDENTIALS = f"""
insert into policy.tenant (name, egress_pool) values ('other', 'shared');
insert into policy.smtp_credential (username, password_hash, tenant) values
  ('alice', '{HASH}', 'acme'), ('bob', '{HASH}', 'other');
insert into policy.smtp_credential (username, password_hash, tenant, networks) values
  ('home', '{HASH}', 'acme', '{{10.0.0.0/8}}');
"""


@pytest.fixture
def node_with_logins(site):
    async def start(rows="", **options):
        return await site.node(MODULES, rows=ROWS + CREDENTIALS + rows, **options)

    return start


async def log_in(node, username="alice", password=PASSWORD, authz="", **settings):
    reply = await node.session(**settings).auth_plain(username, password, authz)
    return reply.code


async def test_the_right_password_is_yes_and_anything_else_is_no(node_with_logins):
    node = await node_with_logins()
    assert [
        await log_in(node),
        await log_in(node, password=WRONG),
        await log_in(node, "nobody"),
        await log_in(node, "ALICE"),
        await log_in(node, password=""),
        await log_in(node, "home"),
        await log_in(node, "home", peer="10.1.2.3"),
    ] == [235, 535, 535, 535, 535, 535, 235]


async def test_one_function_may_receive_mail_of_both_kinds_with_what_it_is_given(site):
    received = "function(msg, given) queue_helper:apply(msg, given) end"
    modules = MODULES.replace("function(msg) queue_helper:apply(msg) end", received).replace(
        "function(msg, auth_info) queue_helper:apply(msg, auth_info) end", received
    )
    node = await site.node(modules, rows=ROWS + CREDENTIALS)
    assert (await node.receive(SENDER, RECIPIENT)).code == 250
    session = node.session()
    await session.auth_plain("alice", PASSWORD)
    reply = await session.mail(SENDER, RECIPIENT)
    assert reply.messages[0].meta["tenant"] == "acme"


async def test_who_it_is_is_what_the_service_says_and_nobody_acts_as_another(node_with_logins, site):
    node = await node_with_logins()
    session = node.session()
    assert (await session.auth_plain("alice", PASSWORD)).code == 235
    reply = await session.mail(SENDER, RECIPIENT)
    assert {
        name: reply.messages[0].meta[name] for name in ("authz_id", "authn_id", "policyd_tenant", "tenant")
    } == {
        "authz_id": "alice",
        "authn_id": "alice",
        "policyd_tenant": "acme",
        "tenant": "acme",
    }
    assert await log_in(node, "alice", PASSWORD, authz="bob") == 535
    assert await log_in(node, "alice", PASSWORD, authz="alice") == 235


async def test_umlauts_may_be_typed_in_either_form_and_are_one_name(node_with_logins, site):
    node = await node_with_logins(
        f"insert into policy.smtp_credential (username, password_hash, tenant) values ('jörg', '{HASH}', 'acme')"
    )
    for form in ("NFC", "NFD"):
        session = node.session()
        assert (await session.auth_plain(unicodedata.normalize(form, "jörg"), PASSWORD)).code == 235
        reply = await session.mail(SENDER, RECIPIENT)
        assert reply.messages[0].meta["authz_id"] == "jörg"


async def test_golden_exchanges_are_what_a_session_is_told(site):
    golden = json.loads(GOLDEN.read_text())
    await insert(site.db, golden["rows"])
    node = await site.node(MODULES)
    compared = 0
    for exchange in golden["exchanges"]:
        body = exchange["request"].get("body")
        if exchange["response"]["status"] != 200 or "\0" in body["username"]:
            continue
        session = node.session(peer=f"[{body['peer']}]" if ":" in body["peer"] else body["peer"])
        reply = await session.auth_plain(body["username"], body["password"])
        expected = exchange["response"]["body"]
        assert reply.code == (235 if expected["authenticated"] else 535), exchange["claim"]
        if expected["authenticated"]:
            assert (session._conn.meta["authz_id"], session._conn.meta["policyd_tenant"]) == (
                expected["username"],
                expected["tenant"],
            )
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize(
    "mode", ["refused", "silent", "error", "html", "truncated", "unauthorized", "nonsense", "cut"]
)
async def test_whatever_is_no_answer_is_try_later_and_never_no(node_with_logins, site, mode):
    node = await node_with_logins()
    await site.endpoint.be(mode)
    assert await log_in(node) == 454
    assert await log_in(node, password=WRONG) == 454
    login = await node.http_login("alice", PASSWORD)
    assert login.status == 500


async def test_a_session_that_is_told_to_try_later_goes_on(node_with_logins, site):
    node = await node_with_logins()
    await site.endpoint.be("refused")
    session = node.session()
    assert (await session.auth_plain("alice", PASSWORD)).code == 454
    await site.endpoint.be("through")
    await node.advance(15)
    assert (await session.auth_plain("alice", PASSWORD)).code == 235


async def test_too_many_failures_are_try_later_and_stop_nothing_else(node_with_logins, site):
    node = await node_with_logins()
    codes = [await log_in(node, password=f"{WRONG} {i}") for i in range(11)]
    assert codes == [535] * 10 + [454]
    assert await node.queue_config("acme@dest.example")
    assert any("it is asked too often" in text for _, text in node.logged)


async def test_a_token_that_may_not_ask_is_reported_as_that(node_with_logins, site):
    node = await node_with_logins()
    await site.db.execute("update policy.api_token set scopes = '{lookup,status}'")
    await site.caught_up(node)
    assert await log_in(node) == 454
    assert any(
        "a login got no answer: " in text and "scope auth is needed" in text for _, text in node.logged
    )
    assert (await node.queue_config("acme@dest.example"))["egress_pool"] == "gold"


# Tenants


def named(tenant):
    return f"From: x@a.example\r\nX-Tenant: {tenant}\r\nSubject: s\r\n\r\nhi\r\n".encode()


async def sent(node, username, data, **meta):
    session = node.session(meta=meta)
    assert (await session.auth_plain(username, PASSWORD)).code == 235
    reply = await session.mail(SENDER, RECIPIENT, data=data)
    return reply.messages[0].meta["tenant"] if reply.code == 250 else (reply.code, reply.text)


async def test_a_login_sends_for_its_own_tenant_alone(node_with_logins, site):
    node = await node_with_logins("update policy.queue_settings set default_tenant = 'other'")
    assert await sent(node, "alice", named("acme")) == "acme"
    assert await sent(node, "alice", named("other")) == (
        500,
        "authz_id 'alice' is not authorized to send as tenant 'other'",
    )
    # Which a message that names none need not name.
    assert await sent(node, "alice", b"From: x@a.example\r\n\r\nhi\r\n") == "acme"
    assert (await node.receive(SENDER, RECIPIENT)).messages[0].meta["tenant"] == "other"


@pytest.mark.parametrize(("authz", "expected"), [("{alice}", True), ("{eve}", False), ("{}", False)])
async def test_require_authz_is_kept_too_over_smtp_and_over_http(node_with_logins, site, authz, expected):
    node = await node_with_logins(f"update policy.tenant set require_authz = '{authz}' where name = 'acme'")
    assert (await sent(node, "alice", named("acme")) == "acme") == expected
    login = await node.http_login("alice", PASSWORD)
    injection = await node.inject(SENDER, RECIPIENT, data=named("acme"), login=login)
    assert (injection.fail_count == 0) == expected
    # Without a login nobody is anybody, as with the stock helper.
    assert (await node.inject(SENDER, RECIPIENT, data=named("acme"))).fail_count == 1


@pytest.mark.parametrize("deferred", [False, True])
async def test_over_http_the_same_holds_through_an_outage(node_with_logins, site, deferred):
    node = await node_with_logins()
    alice, bob = await node.http_login("alice", PASSWORD), await node.http_login("bob", PASSWORD)
    # The settings are known, what becomes of bob's tenant is not.
    assert await sent(node, "alice", named("acme")) == "acme"
    await node.advance(1)
    node.delivered.clear()
    await site.endpoint.be("refused")
    refused = await node.inject(SENDER, RECIPIENT, data=named("other"), login=alice)
    assert refused.errors[0].endswith("authz_id 'alice' is not authorized to send as tenant 'other'")
    assert (await node.inject(SENDER, RECIPIENT, login=bob, deferred=deferred)).fail_count == 0
    await node.advance(120)
    assert not node.delivered
    await node.restart()
    await site.endpoint.be("through")
    await node.until(lambda: not node.spool, within=180)
    assert [(each.queue, each.pool) for each in node.delivered] == [("other@dest.a.example", "shared")]


async def test_mail_of_a_login_that_is_not_told_whose_it_is_is_an_error(site):
    modules = MODULES.replace("queue_helper:apply(msg, auth_info)", "queue_helper:apply(msg)")
    node = await site.node(modules, rows=ROWS + CREDENTIALS)
    login = await node.http_login("alice", PASSWORD)
    injection = await node.inject(SENDER, RECIPIENT, login=login)
    assert "call apply(msg, auth_info), with what http_message_generated is given" in injection.errors[0]
    # A trusted host is nobody's login.
    assert (await node.inject(SENDER, RECIPIENT)).fail_count == 0


async def test_who_does_not_use_our_http_handler_is_not_asked_for_anything(site):
    modules = MODULES.replace("apply(msg, auth_info)", "apply(msg)").replace(
        "smtp_auth.http_server_validate_auth_basic", "function() return true end"
    )
    node = await site.node(modules, rows=ROWS + CREDENTIALS)
    login = await node.http_login("theirs", "x")
    assert (await node.inject(SENDER, RECIPIENT, login=login)).fail_count == 0


# Validation


async def test_validation_asks_whether_logins_can_be_asked_about(node_with_logins, site, tmp_path):
    node = await node_with_logins(store_key=store_key(tmp_path))
    assert await node.validate() == (True, [])
    await make_token(site.db, "weak.0123456789abcdefghij", scopes=("lookup", "status"))
    site.token.write_text("weak.0123456789abcdefghij")
    fine, said = await node.validate()
    assert not fine
    assert any(line.startswith("policyd: logins: ") and "scope auth is needed" in line for line in said)


async def test_validation_says_what_a_store_key_would_be_for(node_with_logins):
    node = await node_with_logins()
    fine, said = await node.validate()
    assert (fine, said) == (
        True,
        ["policyd: (not counted) without a store_key, nobody can log in during an outage"],
    )


async def test_it_is_set_up_once_and_after_policyd(site):
    with pytest.raises(HandlerFailed, match=r"policyd\.smtp_auth: setup was called before"):
        await site.kumod(site.policy(MODULES + "require('policyd.smtp_auth'):setup()"))
