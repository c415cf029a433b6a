"""Logins through an outage: from a verifier under the store key, for an hour, until the row changes; and no password anywhere."""

import sqlite3

import pytest

from tests.integration.test_smtp_auth import HASH, PASSWORD
from tests.lua.signers import store_key
from tests.lua.sites import RECIPIENT, ROWS, SENDER
from tests.lua.test_smtp_auth import CREDENTIALS, MODULES, WRONG, log_in, named

PATH = "/smtp-auth/alice"


@pytest.fixture
def known(site, tmp_path):
    """A node at which `alice` and, from her network, `home` have logged in; then the service goes away."""

    async def start(**options):
        settings = {"store_key": store_key(tmp_path), **options}
        settings = {name: value for name, value in settings.items() if value}
        node = await site.node(MODULES, rows=ROWS + CREDENTIALS, **settings)
        assert await log_in(node) == 235
        assert await log_in(node, "home", peer="10.1.2.3") == 235
        assert (await node.receive(SENDER, RECIPIENT, data=named("acme"))).code == 250
        await node.advance(2)
        return node

    return start


async def outage(site, node, *, restarted):
    await site.endpoint.be("refused")
    if restarted:
        await node.restart()
    else:
        await node.advance(20)
    return node


@pytest.mark.parametrize("restarted", [False, True])
async def test_who_logged_in_before_logs_in_and_sends_for_the_same_tenant(known, site, restarted):
    node = await outage(site, await known(), restarted=restarted)
    session = node.session()
    assert (await session.auth_plain("alice", PASSWORD)).code == 235
    assert session._conn.meta["authz_id"] == "alice"
    assert (await session.mail(SENDER, RECIPIENT, data=named("other"))).code == 500
    assert (await session.mail(SENDER, RECIPIENT, data=named("acme"))).code == 250
    login = await node.http_login("alice", PASSWORD)
    assert (login.status, login.auth_info["groups"]) == (200, ["policyd:tenant:acme"])


async def test_nobody_is_told_no(known, site):
    node = await outage(site, await known(), restarted=True)
    assert await log_in(node, password=WRONG) == 454
    assert await log_in(node, "bob") == 454
    assert await log_in(node, "nobody") == 454


async def test_networks_and_the_end_are_kept_too(known, site):
    node = await known()
    await site.change(
        "update policy.smtp_credential set expires_at = now() + interval '10 minutes' where username = 'home'",
        node,
    )
    assert await log_in(node, "home", peer="10.1.2.3") == 235
    await node.advance(2)
    await outage(site, node, restarted=True)
    assert await log_in(node, "home") == 454
    assert await log_in(node, "home", peer="10.9.9.9") == 235
    assert await log_in(node, "home", peer="[::ffff:10.9.9.9]") == 235
    await node.advance(900, at_once=True)
    assert await log_in(node, "home", peer="10.9.9.9") == 454
    assert await log_in(node) == 235


async def test_an_hour_after_the_last_contact_it_is_over(known, site):
    node = await outage(site, await known(), restarted=True)
    await node.advance(3000, at_once=True)
    assert await log_in(node) == 235
    await node.advance(700, at_once=True)
    assert await log_in(node) == 454


async def test_for_how_long_is_the_operator_s_choice(known, site):
    node = await outage(site, await known(auth_max_stale="86400"), restarted=True)
    await node.advance(80_000, at_once=True)
    assert await log_in(node) == 235


@pytest.mark.parametrize(
    "change",
    [
        "update policy.smtp_credential set enabled = false where username = 'alice'",
        "delete from policy.smtp_credential where username = 'alice'",
        "update policy.smtp_credential set networks = '{203.0.113.0/24}' where username = 'alice'",
    ],
)
async def test_a_change_of_the_row_ends_it_at_once(known, site, change):
    node = await known()
    await site.change(change, node)
    await outage(site, node, restarted=False)
    assert await log_in(node) == 454
    await node.restart()
    assert await log_in(node) == 454
    assert await log_in(node, "home", peer="10.1.2.3") == 235


async def test_a_new_password_is_known_after_the_next_login(known, site):
    node = await known()
    await site.change("update policy.smtp_credential set tenant = 'other' where username = 'alice'", node)
    assert await log_in(node) == 235
    await node.advance(2)
    await outage(site, node, restarted=True)
    assert (await node.http_login("alice", PASSWORD)).auth_info["groups"] == ["policyd:tenant:other"]


async def test_without_a_store_key_nobody_logs_in_and_nothing_is_stored(known, site):
    node = await known(store_key=None)
    assert PATH not in site.held()
    await outage(site, node, restarted=False)
    assert await log_in(node) == 454


async def test_while_the_service_answers_all_else_a_known_login_goes_on(known, site):
    node = await known()
    await site.db.execute("update policy.api_token set scopes = '{lookup,status}'")
    await site.caught_up(node)
    assert await log_in(node) == 235
    assert await log_in(node, password=WRONG) == 454
    assert await log_in(node, "bob") == 454


async def test_guessing_in_an_outage_ends_after_ten_failures(known, site):
    node = await outage(site, await known(), restarted=True)
    for i in range(10):
        assert await log_in(node, password=f"{WRONG} {i}") == 454
    # From there and from its neighbours not even the right one; from elsewhere it is.
    assert await log_in(node, peer="192.0.2.77") == 454
    assert await log_in(node, peer="198.51.100.1") == 235
    await node.advance(601)
    assert await log_in(node) == 235


@pytest.mark.parametrize(
    "sql",
    [
        "update entry set answer = (select answer from entry where path = '/smtp-auth/home') where path = ?",
        'update entry set answer = \'{"username": "alice", "tenant": "other"}\' where path = ?',
        "update entry set answer = 'AAAA' || substr(answer, 5) where path = ?",
    ],
    ids=["another one's", "in plain text", "changed"],
)
async def test_what_this_node_did_not_store_lets_nobody_in(known, site, sql):
    node = await known()
    await site.endpoint.be("refused")
    await node.stop()
    with sqlite3.connect(site.store) as store:
        assert store.execute(sql, (PATH,)).rowcount == 1
    store.close()
    await node.restart()
    assert await log_in(node) == 454
    assert await log_in(node, "home", peer="10.1.2.3") == 235


async def test_another_history_lets_nobody_in(known, site):
    node = await known()
    await site.endpoint.be("refused")
    await node.stop()
    with sqlite3.connect(site.store) as store:
        store.execute("update position set era = era + 1")
    store.close()
    await node.restart()
    assert await log_in(node) == 454


async def test_no_password_is_anywhere(known, site, tmp_path):
    node = await known()
    assert await log_in(node, password=WRONG) == 535
    await node.http_login("alice", PASSWORD)
    for fault in ("refused", "nonsense", "truncated", "error", "unauthorized", "silent"):
        await site.endpoint.be(fault)
        await node.advance(30)
        for username, password in (("alice", PASSWORD), ("alice", WRONG), ("bob", PASSWORD)):
            await log_in(node, username, password)
            assert (await node.http_login(username, password)).status != 401
    node.process.disk_full = True
    await site.endpoint.be("through")
    await node.advance(30)
    await log_in(node)
    await log_in(node, "bob")
    session = node.session()
    await session.auth_plain("alice", PASSWORD)
    await session.mail(SENDER, RECIPIENT)
    process = node.process
    shown = "\n".join(
        [
            *(text for _, text in node.logged),
            *process.printed,
            str([key for cache in process.memos.caches.values() for key in cache.entries]),
            str([cache.entries for cache in process.memos.caches.values()]),
            str(list(process.series.known)),
            str(list(process.throttles)),
            str(node.records),
            str([message.meta for message in node.spool.values()]),
            str(site.endpoint.requests),
        ]
    )
    await node.stop()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert PATH.encode() in files
    for secret in (PASSWORD, WRONG, HASH, "argon2"):
        assert secret not in shown
        assert secret.encode() not in files


async def test_kumod_s_own_log_line_with_the_password_is_left_out_unless_the_operator_says_otherwise(
    site, monkeypatch
):
    monkeypatch.setenv("KUMOD_LOG", "info")
    node = await site.node(MODULES, rows=ROWS + CREDENTIALS)
    await site.endpoint.be("refused")
    await node.http_login("alice", PASSWORD)
    assert any(PASSWORD in text for _, text in node.logged)
    monkeypatch.delenv("KUMOD_LOG")
    del node.logged[:]
    await node.restart()
    await node.http_login("alice", PASSWORD)
    assert not any(PASSWORD in text for _, text in node.logged)
