"""Private keys on a node: in its store under the store key only, and in nothing that anybody reads."""

import sqlite3

import pytest

from tests.lua.signers import (
    DKIM_ROWS,
    FIRST,
    SECOND,
    SIGNING,
    is_signed,
    key_path,
    mail_from,
    store_key,
    with_keys,
)
from tests.lua.sites import RECIPIENT, ROWS, SENDER


@pytest.fixture
def signing(site, keys):
    """Start a node that signs for `a.example` and below `wild.example`."""
    with_keys(keys)

    async def start(**options):
        return await site.node(SIGNING, rows=ROWS + DKIM_ROWS, **options)

    return start


async def signed(node, domain="a.example", pem=FIRST):
    """Whether mail of that domain is signed; False if it is put off."""
    reply = await node.receive(SENDER, RECIPIENT, data=mail_from(domain))
    assert reply.code in (250, 451)
    return reply.code == 250 and is_signed(reply.messages[0], pem, domain)


async def restarted_in_an_outage(site, node, **settings):
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.stop()
    return await node.restart(**settings)


def rewrite(site, sql, *parameters):
    with sqlite3.connect(site.store) as store:
        assert store.execute(sql, parameters).rowcount == 1
    store.close()


async def test_with_a_store_key_a_restart_in_an_outage_signs_on(signing, site, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    node = await restarted_in_an_outage(site, node)
    assert await signed(node)
    await node.advance(86_400, at_once=True)
    assert await signed(node)


async def test_without_one_no_key_is_stored(signing, site):
    node = await signing()
    assert await signed(node)
    await node.advance(1)
    assert key_path(FIRST) not in site.held()


TAMPERING = {
    "a changed ciphertext": "update entry set answer = 'AAAA' || substr(answer, 5) where path = ?",
    "a changed mac": "update entry set answer = substr(answer, 1, length(answer) - 4) || '0000' where path = ?",
    "something else": 'update entry set answer = \'{"key": "x"}\' where path = ?',
    "nothing": "update entry set answer = '' where path = ?",
    "another one's": """update entry set answer = (select answer from entry
                          where path like '/dkim/x.wild.example/%') where path = ?""",
}


@pytest.mark.parametrize("sql", TAMPERING.values(), ids=TAMPERING.keys())
async def test_what_this_node_did_not_put_there_is_not_there_and_is_reported_once(
    signing, site, tmp_path, sql
):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    assert await signed(node, "x.wild.example", SECOND)
    await node.advance(1)
    await site.endpoint.be("refused")
    await node.stop()
    rewrite(site, sql, key_path(FIRST))
    await node.restart()
    for _ in range(3):
        assert not await signed(node)
    assert await signed(node, "x.wild.example", SECOND)
    assert sum("was not written with this store key" in text for _, text in node.logged) == 1
    # The service is asked as if nothing were there, and what it says is stored.
    await site.endpoint.be("through")
    await node.advance(15)
    assert await signed(node)
    node = await restarted_in_an_outage(site, node)
    assert await signed(node)


async def test_another_store_key_opens_nothing(signing, site, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    store_key(tmp_path, bytes(range(1, 65)))
    node = await restarted_in_an_outage(site, node)
    assert not await signed(node)


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65, None])
async def test_a_store_key_of_the_wrong_size_is_none_and_is_reported(signing, site, tmp_path, content):
    expression = store_key(tmp_path, content or b"")
    if content is None:
        (tmp_path / "store.key").unlink()
    node = await signing(store_key=expression)
    assert await signed(node)
    await node.advance(1)
    assert key_path(FIRST) not in site.held()
    said = "cannot be read" if content is None else f"has {len(content)} bytes, and not 64"
    assert any(f"the store key {said}" in text for _, text in node.logged)


async def test_a_key_that_is_replaced_is_stored_beside_the_old_one_and_the_plan_decides(
    signing, site, keys, tmp_path
):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    keys.write("a.example/new", SECOND)
    await site.change(
        "update policy.dkim_domain set key_name = 'a.example/new' where domain = 'a.example'", node
    )
    assert await signed(node, pem=SECOND)
    node = await restarted_in_an_outage(site, node)
    assert await signed(node, pem=SECOND)


async def test_a_key_that_nothing_needs_any_more_leaves_the_store(signing, site, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    assert await signed(node, "x.wild.example", SECOND)
    await node.advance(1)
    await node.stop()
    rewrite(site, "update entry set used_at = used_at - 31 * 86400 where path = ?", key_path(FIRST))
    await node.restart()
    assert await signed(node, "y.wild.example") is False
    await node.advance(1)
    stored = [path for path in site.held() if "key_id" in path]
    assert stored == [key_path(SECOND, "x.wild.example")]


async def test_no_private_key_is_anywhere_but_in_memory(signing, site, tmp_path):
    node = await signing(store_key=store_key(tmp_path))
    assert await signed(node)
    await site.db.execute("update policy.dkim_domain set expiration = 60")
    await site.caught_up(node)
    await node.advance(1)
    # What fails on the way tells nothing either.
    for fault in ("refused", "nonsense", "truncated"):
        await site.endpoint.be(fault)
        assert not await signed(node, "new.wild.example")
        await node.advance(20)
    node.process.disk_full = True
    await site.endpoint.be("through")
    await node.advance(20)
    assert await signed(node, "x.wild.example", SECOND)
    await node.validate()
    process = node.process
    arguments = [key for cache in process.memos.caches.values() for key in cache.entries]
    shown = "\n".join(
        [*(text for _, text in node.logged), *process.printed, str(arguments), str(node.records)]
    )
    shown += str(list(process.keys)) + str([message.meta for message in node.spool.values()])
    await node.stop()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("store.db*"))
    assert key_path(FIRST).encode() in files
    for pem in (FIRST, SECOND):
        for line in pem.decode().splitlines():
            assert line not in shown
            assert line.encode() not in files
