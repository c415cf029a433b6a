"""
Random days of a node: changes, faults, restarts, full disks, clocks that jump, stores that vanish.

In every one: no answer that was never committed; none older than what the node has applied, unless it says so; no
permanent refusal and no default route because of a fault; nothing lost; and all is right again soon after the last one.
"""

import json
import random
from typing import Any

import pytest

from tests.integration.conftest import head
from tests.lua.sites import ASK, KINDS, ROWS, SENDER

SEEDS = [
    *range(3),
    *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(3, 100)),
]
FAULTS = ["refused", "silent", "error", "html", "truncated", "unauthorized", "nonsense", "cut"]
MODES = [*FAULTS, *["through"] * 4]
TENANTS = ["t1", "t2", "t3"]
TENANTED = b"From: x@a.example\r\nX-Tenant: acme\r\nSubject: s\r\n\r\nhi\r\n"


class Tenants:
    """What the tenants' pools were, by revision, and ways to change and to judge them."""

    def __init__(self, site, rng):
        self.site = site
        self.rng = rng
        self.values = {name: [(0, None)] for name in TENANTS}

    def at(self, name, revision):
        return [value for since, value in self.values[name] if since <= revision][-1]

    async def head(self):
        return int((await head(self.site.db)).partition("-")[0])

    async def change(self):
        name, pool = self.rng.choice(TENANTS), self.rng.choice([None, "shared", "gold"])
        if pool is None:
            await self.site.db.execute("delete from policy.tenant where name = $1", name)
        else:
            await self.site.db.execute(
                "insert into policy.tenant (name, egress_pool) values ($1, $2)"
                " on conflict (name) do update set egress_pool = excluded.egress_pool",
                name,
                pool,
            )
        revision = await self.head()
        if self.at(name, revision) != pool:
            self.values[name].append((revision, pool))

    async def judge(self, node):
        name = self.rng.choice(TENANTS)
        applied = int(self.site.position().partition("-")[0])
        found = await self.answer(node, name)
        if found["status"] == "unknown":
            return
        pool = found["answer"].get("egress_pool") if found["status"] == "found" else None
        revisions = range(found["revision"], await self.head() + 1)
        assert pool in {self.at(name, revision) for revision in revisions}
        if not found.get("stale") and not node.process.disk_full:
            assert found["revision"] >= applied or pool == self.at(name, applied)

    async def answer(self, node, name):
        (text,) = await node.call("ask", "tenant", name)
        return json.loads(text)


async def recovered(site, node):
    """Wait until the last fault is over and the node has heard of everything."""
    node.process.disk_full = False
    await site.endpoint.be("through")
    position = await head(site.db)
    await node.until(lambda: site.position() == position and site.indexed() >= KINDS, within=60)


@pytest.mark.parametrize("seed", SEEDS)
async def test_answers_are_right_or_say_that_they_are_old(site, seed):
    rng = random.Random(seed)
    tenants = Tenants(site, rng)
    node = await site.node(ASK, rows=ROWS)
    for _ in range(60):
        match rng.choice(
            ["change", "change", "mode", "advance", "ask", "ask", "ask", "restart", "wall", "full"]
        ):
            case "change":
                await tenants.change()
            case "mode":
                await site.endpoint.be(rng.choice(MODES))
            case "advance":
                await node.advance(rng.choice([0.2, 1, 5, 30, 400]))
            case "restart":
                await node.restart()
            case "wall":
                node.clock.set_wall(rng.choice([-3600, -5, 5, 3600]))
            case "full":
                node.process.disk_full = not node.process.disk_full
            case _:
                await tenants.judge(node)
    await recovered(site, node)
    await node.advance(5)
    for name in TENANTS:
        found = await tenants.answer(node, name)
        assert not found.get("stale")
        pool = found["answer"]["egress_pool"] if found["status"] == "found" else None
        assert pool == tenants.at(name, await tenants.head())


async def receive(node, accepted):
    reply = await node.receive(SENDER, "y@a.example", data=TENANTED)
    assert reply.code == 250 or 400 <= reply.code < 500, reply
    accepted += reply.messages


async def inject(node, accepted, *, deferred):
    injection = await node.inject(SENDER, "y@a.example", data=TENANTED, deferred=deferred)
    assert injection.fail_count == 0
    accepted += injection.messages


async def wipe(site, node):
    await node.stop()
    for path in site.store.parent.glob("store.db*"):
        path.unlink()
    await node.restart()


@pytest.mark.parametrize("seed", SEEDS)
async def test_mail_is_put_off_or_held_and_then_leaves_as_it_should(site, seed):
    rng = random.Random(seed)
    if rng.random() < 0.5:
        await site.endpoint.be("refused")
    node = await site.node(rows=ROWS)
    accepted: list[Any] = []
    for _ in range(40):
        match rng.choice(
            ["change", "mode", "advance", "advance", "receive", "receive", "inject", "restart", "wipe"]
        ):
            case "change":
                pool = rng.choice(["shared", "gold"])
                await site.db.execute("update policy.tenant set egress_pool = $1 where name = 'acme'", pool)
            case "mode":
                await site.endpoint.be(rng.choice(MODES))
            case "advance":
                await node.advance(rng.choice([0.2, 5, 30, 400]))
            case "receive":
                await receive(node, accepted)
            case "inject":
                await inject(node, accepted, deferred=rng.random() < 0.5)
            case "restart":
                await node.restart()
            case _:
                await wipe(site, node)
        assert not node.stranded
        assert not node.scheduler.lost
    await recovered(site, node)
    await node.until(lambda: not node.spool, within=400)
    assert len(node.delivered) == len(accepted)
    assert {delivery.pool for delivery in node.delivered} <= {"shared", "gold"}
    assert {delivery.source["name"] for delivery in node.delivered} <= {"ip-1", "ip-2"}
    assert not [record for record in node.records if record["type"] in {"Bounce", "Expiration"}]
    for message in accepted:
        # kumod itself counts one when a message changes its queue.
        was_parked = message.meta["reception_protocol"] == "HTTP"
        assert message.attempts <= was_parked
