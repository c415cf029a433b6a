"""policyd.listener_domains: as the stock helper answers, and no permanent refusal because of an outage."""

import pytest

from tests.lua.kumo_sim.errors import HandlerFailed
from tests.lua.sites import RECIPIENT, ROWS, SENDER


async def test_a_row_is_what_the_handler_answers(site):
    node = await site.node(rows=ROWS)
    assert await node.listener_domain("a.example") == {"relay_to": True}
    assert await node.listener_domain("x.y.wild.example") == {"relay_to": True}


async def test_no_row_is_no_relaying_and_nobody_is_asked(site):
    node = await site.node(rows=ROWS)
    asked = len(site.endpoint.requests)
    assert await node.listener_domain("stranger.test") is None
    assert await node.listener_domain("") is None
    assert await node.listener_domain("[10.0.0.1]") is None
    assert len(site.endpoint.requests) == asked
    assert (await node.receive("a@stranger.test", "b@other.test")).code == 550


async def test_case_and_a_trailing_dot_do_not_matter(site):
    node = await site.node(
        rows="insert into policy.listener_domain (domain, relay_to) values ('foo_bar.example', true)"
    )
    assert await node.listener_domain("Foo_Bar.EXAMPLE.") == {"relay_to": True}


async def test_what_strangers_send_leaves_nothing_in_the_store(site):
    node = await site.node(rows=ROWS)
    for i in range(20):
        await node.listener_domain(f"stranger-{i}.test")
        await node.listener_domain(f"x{i}.wild.example")
    await node.advance(1)
    assert site.held() == {"/listener-domain/*.wild.example": "found"}


async def test_the_listener_has_its_own_rows_by_address_or_by_name(site):
    node = await site.node(
        rows="insert into policy.listener_domain (listener, domain, log_oob) values"
        " ('10.0.0.1:25', 'a.example', 'true'), ('mx', 'a.example', 'LogThenDrop'), ('*', 'a.example', 'false')"
    )
    assert await node.listener_domain("a.example", "10.0.0.1:25") == {"log_oob": True}
    assert await node.listener_domain("a.example", "10.0.0.1:25", policyd_listener="mx") == {
        "log_oob": "LogThenDrop"
    }
    assert await node.listener_domain("a.example", "10.9.9.9:25") == {"log_oob": False}


async def test_who_has_logged_in_as_one_of_the_named_may_relay_from_where_he_is(site):
    node = await site.node(
        rows="insert into policy.listener_domain (domain, relay_from, relay_from_authz)"
        " values ('a.example', '{203.0.113.0/24}', '{alice,bob}')"
    )
    assert await node.listener_domain("a.example") == {"relay_from": ["203.0.113.0/24"]}
    assert await node.listener_domain("a.example", authz_id="bob") == {"relay_from": ["192.0.2.1"]}
    assert await node.listener_domain("a.example", authz_id="eve") == {"relay_from": ["203.0.113.0/24"]}


async def test_what_exists_and_was_never_fetched_is_put_off_and_never_refused(site):
    node = await site.node(rows=ROWS)
    await site.endpoint.be("refused")
    with pytest.raises(HandlerFailed) as raised:
        await node.listener_domain("a.example")
    assert raised.value.rejection is not None
    assert raised.value.rejection.code == 451
    assert (await node.receive(SENDER, "b@a.example")).code == 421


async def test_before_there_is_an_index_nothing_is_refused_either(site):
    await site.endpoint.be("refused")
    node = await site.node(rows=ROWS)
    assert (await node.receive("a@stranger.test", "b@other.test")).code == 421
    await site.endpoint.be("through")
    await site.caught_up(node)
    await node.advance(3)
    assert (await node.receive("a@stranger.test", "b@other.test")).code == 550


async def test_a_revoked_domain_is_revoked_for_the_next_session(site):
    node = await site.node(rows=ROWS)
    assert await node.listener_domain("a.example") == {"relay_to": True}
    await site.change("update policy.listener_domain set relay_to = false where domain = 'a.example'", node)
    assert await node.listener_domain("a.example") == {"relay_to": False}
    await site.change("delete from policy.listener_domain where domain = 'a.example'", node)
    assert await node.listener_domain("a.example") is None


async def test_a_new_row_is_seen_where_none_was_looked_for_before(site):
    node = await site.node(rows=ROWS)
    assert await node.listener_domain("new.wild.example") == {"relay_to": True}
    await site.change(
        "insert into policy.listener_domain (domain, relay_to) values ('new.wild.example', false)", node
    )
    assert await node.listener_domain("new.wild.example") == {"relay_to": False}


async def test_a_known_domain_is_relayed_through_an_outage_and_a_restart_in_it(site):
    node = await site.node(rows=ROWS)
    assert (await node.receive(SENDER, RECIPIENT.replace("dest.", ""))).code == 250
    await node.advance(1)
    await site.endpoint.be("silent")
    await node.advance(600)
    assert await node.listener_domain("a.example") == {"relay_to": True}
    await node.restart()
    assert await node.listener_domain("a.example") == {"relay_to": True}


async def test_what_is_stale_for_longer_than_max_stale_is_unknown(site):
    node = await site.node(rows=ROWS, max_stale="600")
    assert await node.listener_domain("a.example") == {"relay_to": True}
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.advance(300)
    assert await node.listener_domain("a.example") == {"relay_to": True}
    await node.advance(600)
    with pytest.raises(HandlerFailed, match="451"):
        await node.listener_domain("a.example")
