"""Lookups of the services themselves, with the judge's eye: label, marks, statuses, and private keys by their fingerprints."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import aiohttp

from tests.chaos.history import History
from tests.chaos.judge import Told
from tests.chaos.questions import Question, canonical, every_question, shuffled
from tests.chaos.world import LEASE, SIGNED, Service, World
from tests.integration.signing import fingerprint

Report: TypeAlias = Callable[[Told | str], None]
"""Takes what a service answered, or a sentence about what is wrong with how it did."""
_MAY_BE_REFUSED = (409, 429, 503)


async def ask(
    world: World, service: Service, question: Question, *, asked_from: str | None = None
) -> Told | str:
    """What a service answers, or what is wrong with how it does."""
    asked_at = time.monotonic()
    headers = {} if asked_from is None else {"Policy-Position": asked_from}
    unavailable = Told(
        who=service.child.name,
        question=question,
        asked_at=asked_at,
        told_at=asked_at,
        answer=None,
        is_unknown=True,
    )
    try:
        async with world.session.get(service.url + question.lookup.path, headers=headers) as response:
            body, label = await response.json(content_type=None), response.headers.get("Policy-Position")
            status, is_stale = response.status, "Policy-Stale" in response.headers
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return unavailable
    if status in _MAY_BE_REFUSED:
        return unavailable
    if status not in (200, 404) or label is None:
        return f"{service.child.name} answers {question.lookup.path} with status {status}: {body}"
    return Told(
        who=service.child.name,
        question=question,
        asked_at=asked_at,
        told_at=time.monotonic(),
        answer=canonical(body["answer"]) if status == 200 else None,
        label=label,
        is_stale=is_stale,
        asked_from=asked_from,
        current_since=None if is_stale else asked_at - LEASE,
    )


async def probe(world: World, service: Service, history: History, *, seed: int, report: Report) -> None:
    """Ask a service without end; every third time as one who has heard of the newest commit."""
    chance, questions = random.Random(seed), shuffled(seed, lua=False)
    while True:
        head = history.head(time.monotonic())
        asked_from = str(head.position) if head is not None and chance.random() < 0.3 else None
        report(await ask(world, service, next(questions), asked_from=asked_from))
        await asyncio.sleep(chance.expovariate(12))


async def sweep(world: World, service: Service) -> list[Told | str]:
    """Everything that can be asked, once."""
    return [await ask(world, service, question) for question in every_question(lua=False)]


async def sign(world: World, service: Service) -> bool | str:
    """Whether a key can be had for each domain that signs; or what is wrong with one."""
    had = 0
    for domain in SIGNED:
        try:
            plan = await _get(world, f"{service.url}/dkim/{domain}")
            signatures = plan["answer"]["signatures"] if plan is not None else []
            for key_id in [each["key_id"] for each in signatures if "key_id" in each]:
                key = await _get(world, f"{service.url}/dkim/{domain}/s1?key_id={key_id}")
                if key is None:
                    continue
                pem = key["answer"]["key"]
                if fingerprint(pem.encode()) != key_id or pem not in world.keys[domain]:
                    return f"{service.child.name} gives {domain} a key that is not {key_id}"
                had += 1
        except (aiohttp.ClientError, TimeoutError):
            continue
    return had == len(SIGNED)


async def _get(world: World, url: str) -> Any:
    async with world.session.get(url) as response:
        return await response.json(content_type=None) if response.status == 200 else None
