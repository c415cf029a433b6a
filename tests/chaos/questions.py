"""What nodes and probes ask, and what the answer is, given the documents of a moment."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from policyd.policy.asking import overlay
from policyd.policy.egress import EGRESS_POOL, EGRESS_SOURCE
from policyd.policy.listener_domain import LISTENER_DOMAIN
from policyd.policy.lookup import Kind, Lookup
from policyd.policy.names import domain_chain
from policyd.policy.queue import QUEUE, QUEUE_SETTINGS
from policyd.policy.resolving import Resolving
from policyd.policy.tags import tag
from policyd.policy.tenant import TENANT
from policyd.policy.webhook import WEBHOOKS
from tests.chaos.history import Documents, State
from tests.integration.rows_at_random import (
    ASKED_DOMAINS,
    CAMPAIGNS,
    GROUPS,
    LISTENERS,
    POOLS,
    SOURCES,
    TENANTS,
)

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (LISTENER_DOMAIN, EGRESS_SOURCE, EGRESS_POOL, TENANT, QUEUE_SETTINGS, QUEUE, WEBHOOKS)
}
_DEPENDS = {"queue": ("queue", "tenant", "queue_settings"), "egress_pool": ("egress_pool", "egress_source")}
_NOTHING: Documents = {}
_NOBODY = "!"
_LUA = tuple(name for name in KINDS if name != "webhook")
Answer: TypeAlias = Any
"""None where nothing is there."""


@dataclass(frozen=True, slots=True)
class Question:
    """A kind, and what Lua's `kinds` takes for it: a key, and parameters in their order."""

    kind: str
    arguments: tuple[str | None, ...]
    lookup: Lookup = field(compare=False, repr=False)

    @classmethod
    def make(cls, kind: str, arguments: tuple[str | None, ...]) -> "Question":
        """The question, as the service would read it."""
        key, *given = arguments or (None,)
        names = [parameter.name for parameter in KINDS[kind].parameters]
        pairs = [(name, value) for name, value in zip(names, given, strict=False) if value is not None]
        return cls(kind, arguments, KINDS[kind].read(key, pairs))


def every_question(*, lua: bool) -> list[Question]:
    """Each that there is, in a fixed order; with *lua* those that a node asks."""
    return [
        Question.make(kind, arguments) for kind in (_LUA if lua else KINDS) for arguments in _arguments(kind)
    ]


def shuffled(seed: int, *, lua: bool) -> Iterator[Question]:
    """Questions without end, each as often as any other."""
    questions, chance = every_question(lua=lua), random.Random(seed)
    while True:
        chance.shuffle(questions)
        yield from questions


def concerned(question: Question, state: State) -> tuple[Documents, ...]:
    """Those documents of a state that the answer may depend on: the same objects where they are the same."""
    return tuple(state.parts.get(kind, _NOTHING) for kind in _DEPENDS.get(question.kind, (question.kind,)))


def answer_at(question: Question, state: State, *, names: State | None = None) -> Answer:
    """What is right at that state; with *names*, if only that exists of it which existed there, too."""
    documents = {tag: body for part in concerned(question, state) for tag, body in part.items()}
    if names is not None:
        documents = {tag: body for tag, body in documents.items() if tag in names.documents}
    resolving = Resolving(lambda: KINDS[question.kind].resolve(question.lookup, 0.0))
    resolved = None
    while resolved is None:
        resolved = resolving.show(state.position, documents)
    layers = resolved.resolution.layers
    return canonical(overlay(layers)) if layers else None


def reduced(question: Question, names: State) -> Question:
    """The question as a node asks it that knows what exists by *names*: see lua-client/policyd/reduction.lua."""
    given, there = (*question.arguments, None, None, None), names.documents
    if question.kind == "listener_domain":
        for listener, name in itertools.product(
            (question.lookup.parameters.get("listener"), None), domain_chain(question.lookup.key)
        ):
            if tag("listener_domain", listener or "*", name) in there:
                return Question.make("listener_domain", (name, listener))
    if question.kind == "queue":
        return _reduced_queue(question.lookup.key, given[1], given[2], there)
    return question


def _reduced_queue(domain: str, tenant: str | None, campaign: str | None, there: Documents) -> Question:
    hit = next((name for name in domain_chain(domain) if tag("queue", name) in there), None)
    if tenant is None:
        return Question.make("queue", (hit or "default", None, None))
    inner = tag("queue", hit or "default", tenant)
    if hit is None and inner in there:
        return Question.make("queue", (domain, tenant, campaign))
    known = there.get(tag("tenant", tenant))
    if campaign is not None and tag("queue", hit or "default", tenant, campaign) not in there:
        campaign = campaign if campaign in (known or {}).get("campaigns", {}) else None
    if known is None and inner not in there:
        tenant = _NOBODY
    return Question.make("queue", (hit or "default", tenant, campaign))


def canonical(value: Any) -> Any:
    """JSON without what does not survive Lua: empty lists and objects, and the difference between 5 and 5.0."""
    match value:
        case dict():
            pairs = {name: canonical(each) for name, each in value.items()}
            return {name: each for name, each in sorted(pairs.items()) if each not in ({}, [], None)}
        case list():
            return [canonical(each) for each in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _arguments(kind: str) -> Iterator[tuple[str | None, ...]]:
    tenants, campaigns = (None, *TENANTS, "nobody"), (None, *CAMPAIGNS)
    match kind:
        case "listener_domain":
            yield from itertools.product(ASKED_DOMAINS, (None, *LISTENERS))
        case "egress_source":
            yield from itertools.product((*SOURCES, "none"), (None, *GROUPS))
        case "egress_pool":
            yield from itertools.product((*POOLS, "none"), (None, *GROUPS))
        case "tenant":
            yield from ((name,) for name in (*TENANTS, "nobody"))
        case "queue":
            for domain, tenant in itertools.product(ASKED_DOMAINS, tenants):
                yield from ((domain, tenant, campaign) for campaign in (campaigns if tenant else (None,)))
        case _:
            yield ()
