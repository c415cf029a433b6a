"""
Random days of what depends on secrets: keys that are replaced, logins that are revoked; faults, restarts, damage.

In every one: no mail goes out unsigned that has to be signed, nor signed with anything but a committed plan; nobody gets in
with a wrong password, nor with one that the node knows to be revoked, and nobody who may get in is told no for good.
"""

import random
import sqlite3

import pytest

from tests.integration.conftest import head
from tests.integration.test_smtp_auth import HASH, PASSWORD
from tests.lua.faults import TROUBLES
from tests.lua.signers import DKIM_ROWS, FIRST, SECOND, SIGNING, mail_from, signatures, store_key
from tests.lua.sites import RECIPIENT, ROWS, SENDER
from tests.lua.test_smtp_auth import MODULES, WRONG

MODES = [*TROUBLES, *["through"] * 4]
SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 60))]
KEYS = {"first": FIRST, "second": SECOND}
EVENTS = ["mode", "mode", "mode", "advance", "advance", "restart", "wall", "full", "damage"]
DAMAGE = """
update entry set answer = '{}AAAA' || substr(answer, 5)
 where kind in ('dkim_key', 'smtp_login') and random() % 2 = 0
"""


async def recovered(site, node):
    """Wait until the last fault is over and the node has heard of everything."""
    node.process.disk_full = False
    await site.endpoint.be("through")
    await site.caught_up(node)


async def disturb(site, node, rng, event):
    match event:
        case "mode":
            await site.endpoint.be(rng.choice(MODES))
        case "advance":
            await node.advance(rng.choice([0.2, 1, 5, 30, 400]))
        case "restart":
            await node.restart()
        case "wall":
            node.clock.set_wall(rng.choice([-5, 5]))
        case "full":
            node.process.disk_full = not node.process.disk_full
        case _:
            with sqlite3.connect(site.store, timeout=5) as store:
                store.execute(DAMAGE.format("AAAA"[: rng.choice([0, 4])]))
            store.close()


async def revision(site):
    return int((await head(site.db)).partition("-")[0])


class Told:
    """What was committed of one thing, by revision."""

    def __init__(self, value):
        self.values = [(0, value)]

    def now(self):
        return self.values[-1][1]

    def between(self, first, last):
        """What it was at any of these revisions."""
        before = [value for since, value in self.values if since <= first][-1]
        return {before, *(value for since, value in self.values if first < since <= last)}


@pytest.mark.parametrize("seed", SEEDS)
async def test_mail_is_signed_as_somebody_once_said(site, keys, tmp_path, seed):
    rng = random.Random(seed)
    for name, pem in KEYS.items():
        keys.write(f"a.example/{name}", pem)
    rows = ROWS + DKIM_ROWS + "update policy.dkim_domain set key_name = 'a.example/first'"
    node = await site.node(SIGNING, rows=rows, store_key=store_key(tmp_path))
    plan, accepted = Told("first"), []
    for _ in range(50):
        match rng.choice(["change", "mail", "mail", "inject", *EVENTS]):
            case "change":
                name = rng.choice(list(KEYS))
                await site.db.execute(
                    "update policy.dkim_domain set key_name = $1 where domain = 'a.example'",
                    f"a.example/{name}",
                )
                plan.values.append((await revision(site), name))
            case "mail":
                reply = await node.receive(SENDER, RECIPIENT, data=mail_from("a.example"))
                assert reply.code == 250 or 400 <= reply.code < 500, reply
                accepted += reply.messages
            case "inject":
                injection = await node.inject(SENDER, RECIPIENT, data=mail_from("a.example"))
                assert injection.fail_count == 0
                accepted += injection.messages
            case event:
                await disturb(site, node, rng, event)
    await recovered(site, node)
    await node.advance(15)
    reply = await node.receive(SENDER, RECIPIENT, data=mail_from("a.example"))
    assert signatures(reply.messages[0]) == [("a.example", "s1", KEYS[plan.now()].strip())]
    await node.until(lambda: len(node.delivered) == len(accepted) + 1, within=300)
    for delivery in node.delivered:
        assert signatures(delivery.message) in [[("a.example", "s1", pem.strip())] for pem in KEYS.values()]


@pytest.mark.parametrize("seed", SEEDS)
async def test_logins_are_let_in_as_far_as_anybody_knows(site, tmp_path, seed):
    rng = random.Random(seed)
    credentials = f"""
    insert into policy.smtp_credential (username, password_hash, tenant) values
      ('alice', '{HASH}', 'acme'), ('bob', '{HASH}', 'acme');
    """
    node = await site.node(MODULES, rows=ROWS + credentials, store_key=store_key(tmp_path))
    enabled = Told(True)
    for _ in range(60):
        match rng.choice(["change", "right", "right", "right", "wrong", *EVENTS]):
            case "change":
                await site.db.execute(
                    "update policy.smtp_credential set enabled = $1 where username = 'alice'",
                    not enabled.now(),
                )
                enabled.values.append((await revision(site), not enabled.now()))
            case "right":
                applied = int(site.position().partition("-")[0])
                reply = await node.session().auth_plain("alice", PASSWORD)
                possible = enabled.between(applied, await revision(site))
                allowed = {454} | {235 if value else 535 for value in possible}
                assert reply.code in allowed, (reply, possible)
            case "wrong":
                reply = await node.session(peer=f"198.51.{rng.randrange(250)}.1").auth_plain("bob", WRONG)
                assert reply.code in {454, 535}
            case event:
                await disturb(site, node, rng, event)
    await recovered(site, node)
    await node.advance(15)
    reply = await node.session().auth_plain("alice", PASSWORD)
    assert reply.code == (235 if enabled.now() else 535)
