"""What may happen on a bad day."""

import os
import random
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from tests.lua.chaos.judging import Question, judge, judge_mail, questions
from tests.lua.chaos.states import DOMAIN, TENANT
from tests.lua.chaos.world import World
from tests.lua.faults import TROUBLES

Action: TypeAlias = Callable[[World, random.Random], Awaitable[str]]

SENDER, RECIPIENT = f"x@{DOMAIN}", f"y@{DOMAIN}"
TENANTED = f"From: {SENDER}\r\nX-Tenant: {TENANT}\r\nSubject: s\r\n\r\nhi\r\n".encode()


async def change(world: World, rng: random.Random) -> str:
    return await world.active.change(rng)


async def change_unlogged(world: World, rng: random.Random) -> str:
    return await world.active.change_unlogged(rng)


async def change_in_bulk(world: World, rng: random.Random) -> str:
    return await world.active.change_in_bulk(rng)


async def prune(world: World, _: random.Random) -> str:
    return await world.active.prune()


async def fault(world: World, rng: random.Random) -> str:
    """Endpoints do what endpoints do; most often all of them, because it is the network."""
    mode = rng.choice(TROUBLES)
    ill = world.endpoints if rng.random() < 0.6 else [rng.choice(world.endpoints)]
    for endpoint in ill:
        endpoint.slow_for = rng.choice([0.4, 1.5, 3.0])
        await world.lead(endpoint, mode)
    return f"{mode}: {len(ill)} endpoints"


async def mend(world: World, rng: random.Random) -> str:
    for endpoint in world.endpoints:
        await world.lead(endpoint, "through", rng.choice(world.mine()))
    return "endpoints lead through"


async def hang_up(world: World, _: random.Random) -> str:
    """Connections end, and with them the long-poll."""
    for endpoint in world.endpoints:
        await world.lead(endpoint)
    return "hang up"


async def lag(world: World, rng: random.Random) -> str:
    """A replica hears nothing of changes any more, or nothing at all of its database."""
    replica = world.replicas[1]
    purpose = rng.choice(["change feed", ""])
    rng.choice([replica.proxy.fall_silent, replica.proxy.cut])(purpose)
    for endpoint in world.endpoints if rng.random() < 0.5 else world.endpoints[1:]:
        await world.lead(endpoint, "through", replica)
    return f"a replica lags: {purpose or 'all'}"


async def catch_up(world: World, _: random.Random) -> str:
    world.replicas[1].proxy.heal()
    return "the replica may catch up"


async def restore(world: World, _: random.Random) -> str:
    """The database is replaced by an older copy that went its own way: another history."""
    world.active = next(history for history in world.histories if history is not world.active)
    for endpoint in world.endpoints:
        await world.lead(endpoint, "through", world.mine()[0])
    return f"restore: the history is {world.active.name}"


async def split(world: World, _: random.Random) -> str:
    """One endpoint leads to one history, the other one to another."""
    for endpoint, replica in zip(world.endpoints, (world.replicas[0], world.replicas[2]), strict=True):
        await world.lead(endpoint, "through", replica)
    return "endpoints lead to different histories"


async def restart_service(world: World, rng: random.Random) -> str:
    replica = world.mine()[0]
    led = [endpoint for endpoint in world.endpoints if endpoint.target == replica.service.url]
    await replica.stop()
    for _ in range(rng.randrange(2)):
        await judge(world, rng.choice(questions()))
    await replica.start()
    for endpoint in led:
        await world.lead(endpoint, None, replica)
    return "restart of the service"


async def restart(world: World, _: random.Random) -> str:
    await world.node.restart()
    return "restart of the node"


async def downtime(world: World, rng: random.Random) -> str:
    """The node is down for a while; things change meanwhile."""
    await world.node.stop()
    for _ in range(rng.randrange(3)):
        await world.active.change(rng)
    seconds = rng.choice([10, 600, 86_400])
    world.node.clock.move_to(world.node.clock.now + seconds)
    await world.node.restart()
    return f"the node was down for {seconds} s"


async def full(world: World, _: random.Random) -> str:
    process = world.node.process
    process.disk_full = not process.disk_full
    return f"disk full: {process.disk_full}"


async def damage(world: World, rng: random.Random) -> str:
    """The store is damaged under a running node."""
    try:
        size = world.store.stat().st_size
    except FileNotFoundError:
        return "no store to damage"
    with world.store.open("r+b") as file:
        file.seek(rng.choice([0, rng.randrange(max(size, 1))]))
        file.write(os.urandom(4096))
    return "the store is damaged"


async def other_store(world: World, rng: random.Random) -> str:
    """The node is started on a store that is gone, cut off, somebody else's, or of the day before."""
    await world.node.stop()
    what = rng.choice(["gone", "truncated", "foreign", "old", "old"])
    aside = world.store.parent / "aside"
    if what == "old" and aside.exists():
        wipe(world.store)
        shutil.copytree(aside, world.store.parent, dirs_exist_ok=True)
    else:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in files_of(world.store):
            shutil.copy(path, aside)
    if what in {"gone", "foreign"}:
        wipe(world.store)
    if what == "truncated" and world.store.exists():
        with world.store.open("r+b") as file:
            file.truncate(world.store.stat().st_size // 2)
    if what == "foreign":
        with sqlite3.connect(world.store) as other:
            other.execute("create table theirs (x)")
        other.close()
    await world.node.restart()
    return f"restart on a store that is {what}"


def files_of(store: Path) -> list[Path]:
    return [
        path for suffix in ("", "-wal", "-shm") if (path := store.with_name(store.name + suffix)).exists()
    ]


def wipe(store: Path) -> None:
    for path in files_of(store):
        path.unlink()


async def jump(world: World, rng: random.Random) -> str:
    seconds = rng.choice([-7200, -60, -5, 5, 60, 7200])
    world.node.clock.set_wall(seconds)
    return f"the wall clock jumps by {seconds} s"


async def sleep(world: World, rng: random.Random) -> str:
    seconds = rng.choice([60, 3600])
    await world.node.advance(seconds, at_once=True)
    return f"the machine slept for {seconds} s"


async def purge(world: World, _: random.Random) -> str:
    """kumod is short of memory and empties its caches."""
    world.node.process.memos.purge()
    return "caches are purged"


async def advance(world: World, rng: random.Random) -> str:
    seconds = rng.choice([0.1, 0.5, 2, 6, 20])
    await world.node.advance(seconds)
    return f"{seconds} s pass"


async def ask(world: World, rng: random.Random) -> str:
    question = rng.choice(asked_about(world, rng))
    return f"ask {question}: {await judge(world, question)}"


def asked_about(world: World, rng: random.Random) -> list[Question]:
    """Most often what was asked before, or what the last change has changed."""
    everything = questions()
    before, now = world.active.states[-2:] if len(world.active.states) > 1 else 2 * [world.active.state]
    changed = [question for question in everything if question.said(before) != question.said(now)]
    often = [everything[i] for i in world.often]
    return rng.choice([changed or often, often, everything])


async def receive(world: World, rng: random.Random) -> str:
    data = rng.choice([None, TENANTED])
    reply = await world.node.receive(SENDER, RECIPIENT, data=data)
    assert reply.code == 250 or 400 <= reply.code < 500, f"SMTP says {reply.code} {reply.text}"
    world.accepted.extend(reply.messages)
    return f"SMTP: {reply.code}"


async def inject(world: World, rng: random.Random) -> str:
    data, deferred = rng.choice([None, TENANTED]), rng.random() < 0.5
    injection = await world.node.inject(SENDER, RECIPIENT, data=data, deferred=deferred)
    assert injection.fail_count == 0, injection.errors
    assert len(injection.messages) == 1, "kumod said 200 and dropped the message"
    world.accepted.extend(injection.messages)
    return "HTTP injection"


async def look_at_queue(world: World, rng: random.Random) -> str:
    """Queues that live, so that they have to follow."""
    name = rng.choice([f"{TENANT}@{DOMAIN}", DOMAIN, "x.example", "t1@b.example", "else.test"])
    queue = await world.node.queue(name)
    return f"queue {name}: pool {queue.config.get('egress_pool')}"


ACTIONS: dict[Action, float] = {
    change: 8,
    change_unlogged: 2,
    change_in_bulk: 0.3,
    prune: 1,
    fault: 5,
    mend: 4,
    hang_up: 2,
    lag: 2,
    catch_up: 1,
    restore: 1,
    split: 1,
    restart_service: 1,
    restart: 2,
    downtime: 1,
    full: 2,
    damage: 1,
    other_store: 1,
    jump: 2,
    sleep: 1,
    purge: 2,
    advance: 8,
    ask: 16,
    receive: 4,
    inject: 2,
    look_at_queue: 4,
}


async def act(world: World, rng: random.Random) -> None:
    """Let something happen, and see that nothing went wrong by it."""
    (action,) = rng.choices(list(ACTIONS), weights=list(ACTIONS.values()))
    at = len(world.story)
    world.tell(f"{action.__name__} …")
    told = await action(world, rng)
    world.story[at] = f"{world.node.clock.now:9.2f}  {told}"
    judge_mail(world)
