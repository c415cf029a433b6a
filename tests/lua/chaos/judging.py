"""
What must hold whatever happens: an answer was committed, and it is none from before what the node knows unless it says so;
mail is never refused for good, nor sent by a default, because something is out of order.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.lua.chaos.states import LISTENED, POOLS, QUEUES, SOURCES, TENANTS, State
from tests.lua.chaos.world import World
from tests.lua.kumo_sim.node import Node
from tests.lua.kumo_sim.queue_names import QueueName
from tests.lua.kumo_sim.scheduling import ScheduledQueue
from tests.lua.kumo_sim.values import decoded, plain, thawed

HOLD = "policyd-hold"


@dataclass(frozen=True, slots=True)
class Question:
    """What a handler asks, how an answer of it reads, and what a state says to it."""

    kind: str
    arguments: tuple[str | None, ...]
    read: Callable[[dict[str, Any]], Any]
    of: Callable[..., Any]

    def said(self, state: State) -> Any:
        return self.of(state, *self.arguments)

    def __str__(self) -> str:
        return f"{self.kind}{self.arguments}"


def questions() -> list[Question]:
    """All that there is to ask of the small policy, and a few things that are not there."""
    domains = [*(name.replace("*", "x") for name in LISTENED), "nobody.example"]
    queues = [*(name.replace("*", "x") for name in QUEUES), "else.test"]
    return [
        *(Question("listener_domain", (name,), _relay_to, State.relays) for name in domains),
        *(Question("egress_source", (name,), _ehlo_domain, State.source) for name in (*SOURCES, "ip-9")),
        *(Question("egress_pool", (name,), _entries, State.pool) for name in (*POOLS, "spare", "nowhere")),
        *(Question("tenant", (name,), _egress_pool, State.tenant) for name in (*TENANTS, "ghost")),
        *(Question("queue", (name, who), _queue, State.queue) for name in queues for who in (None, *TENANTS)),
    ]


def _relay_to(answer: dict[str, Any]) -> Any:
    return answer["relay_to"]


def _ehlo_domain(answer: dict[str, Any]) -> Any:
    return answer["ehlo_domain"]


def _egress_pool(answer: dict[str, Any]) -> Any:
    return answer["egress_pool"]


def _entries(answer: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry["name"] for entry in answer.get("entries") or ())


def _queue(answer: dict[str, Any]) -> Any:
    return None if answer.get("hold") else answer["options"]["egress_pool"]


def known(node: Node, generation: int | None = None) -> str | None:
    """
    The position up to which the handlers of this process have been told what changed, lately or at a *generation*; None when
    that is not at hand.
    """
    cache = node.process.memos.caches.get("user.policyd.1.known")
    entries = dict(cache.entries) if cache else {}
    key = next(reversed(entries), None) if generation is None else (None, str(generation))
    entry = entries.get(key)
    if entry is None or not entry.results:
        return None
    window = decoded(plain(thawed(entry.results[0])))
    return window.get("position") if isinstance(window, dict) else None


async def judge(world: World, question: Question) -> str:
    """Ask, and hold the answer against everything that was committed; what it was."""
    before = known(world.node)
    results = await world.node.call("asked", question.kind, *question.arguments)
    assert results is not None
    found, generation = json.loads(results[0]), results[1]
    if found["status"] == "unknown":
        return "unknown"
    value = question.read(found["answer"]) if found["status"] == "found" else None
    told = known(world.node, generation) or before
    if found.get("stale") or told is None:
        ever = [state for each in world.histories for state in each.states]
        assert value in map(question.said, ever), f"{question} is {value!r}, which nobody ever committed"
        return f"{value!r}, stale"
    allowed = [question.said(state) for state in since(world, told)]
    assert value in allowed, f"{question} is {value!r}, and since {told} there was only {allowed}"
    return repr(value)


def since(world: World, position: str) -> list[State]:
    """What the histories that hold this position have said from there on."""
    number = int(position.partition("-")[0])
    return [state for each in world.histories if each.holds(position) for state in each.since(number)]


def judge_mail(world: World) -> None:
    """No message is lost, or bounced, or sent by what nobody committed."""
    node = world.node
    assert not node.stranded, "kumod ignores messages until it is restarted"
    assert not node.scheduler.lost, "messages are in nobody's memory"
    # The sink takes everything, so an attempt that failed is one that should have waited.
    bad = [
        record for record in node.records if record["type"] in {"Bounce", "Expiration", "TransientFailure"}
    ]
    assert not bad, bad
    states = [state for history in world.histories for state in history.states]
    for delivery in node.delivered:
        parts = QueueName.parse(delivery.queue)
        pools = {state.queue(parts.domain, parts.tenant) for state in states}
        assert delivery.pool in pools, f"{delivery.queue} left by pool {delivery.pool}"
        sources = {name for state in states for name in state.pool(delivery.pool) or ()}
        assert delivery.source["name"] in sources, f"{delivery.queue} left by {delivery.source}"


async def judge_converged(world: World, rng: random.Random) -> None:
    """Everything is as it is committed now, and says nothing of being old: answers, queues, and their pools."""
    state, node = world.active.state, world.node
    everything = questions()
    for question in [*(everything[i] for i in world.often), *rng.sample(everything, 6)]:
        said = await judge(world, question)
        assert said == repr(question.said(state)), f"{question} is {said}, should be {question.said(state)!r}"
    for queue in node.scheduler.queues.values():
        assert isinstance(queue, ScheduledQueue), f"a queue could not be made: {queue.failure}"
        parts = QueueName.parse(queue.name)
        pool = state.queue(parts.domain, parts.tenant)
        if parts.domain == "pending.policyd":
            continue
        built = queue.config["egress_pool"]
        assert built == (pool or HOLD), f"{queue.name} has pool {built}, should have {pool or HOLD}"
        entries = _entries(queue.pool)
        assert entries == (state.pool(pool) if pool else ()), f"{queue.name} sends from {entries}"
