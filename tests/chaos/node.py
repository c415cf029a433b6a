"""
A simulated kumod in real time: `python -m tests.chaos.node NAME TOKEN_FILE STORE SEED RATE ENDPOINT…`.

It asks without end what its handlers would ask, and says what it was told, and what it knew.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.clock import RealClock
from tests.chaos.lines import listen, say
from tests.chaos.questions import Question, every_question, shuffled
from tests.lua.kumo_sim.process import Process
from tests.lua.sites import policy

ROOT = Path(__file__).parents[2]
_AT_ONCE = 2
_SWEEPS = 5
_MODULES = """
local lookup, kinds = require 'policyd.lookup', require 'policyd.kinds'
local handles, store = require 'policyd.handles', require 'policyd.store'
local changes_at = lookup.changes_cache(function()
  return store.window(lookup.WINDOW) or { lost = true }
end)
local function known()
  local generation = handles.generation:sum()
  return generation > 0 and changes_at(generation).position or nil
end
kumo.on('ask', function(kind, ...)
  local before, touch = known(), handles.touch:sum()
  local found = lookup.ask(kinds[kind](...))
  return kumo.json_encode { before = before, after = known(), touch = touch, found = found }
end)
"""


class Kumod:
    """What is asked of it, and how."""

    def __init__(self, text: str) -> None:
        path = f"{ROOT}/lua-client/?.lua;{ROOT}/lua-client/?/init.lua"
        self.process = Process(text, package_path=path, clock=RealClock())

    async def start(self) -> None:
        async with self.process.context(fresh=True) as context:
            await context.call("pre_init", several=True)
            await context.call("init")

    async def ask(self, question: Question, **more: Any) -> bool:
        """Ask, and say what came of it; whether it is known to hold."""
        touch_offset = time.monotonic() - time.time()
        asked_at = time.monotonic()
        arguments = list(question.arguments)
        results = await self.process.call("ask", question.kind, *arguments)
        assert results is not None
        told = json.loads(results[0])
        say(
            what="told",
            kind=question.kind,
            arguments=arguments,
            asked_at=asked_at,
            told_at=time.monotonic(),
            touch=told["touch"] + touch_offset if told["touch"] else None,
            before=told.get("before"),
            after=told.get("after"),
            found=told["found"],
            **more,
        )
        return told["found"]["status"] != "unknown" and not told["found"].get("stale")


async def _go_on(kumod: Kumod, questions: Iterator[Question], rate: float, working: asyncio.Event) -> None:
    while True:
        await working.wait()
        await kumod.ask(next(questions))
        await asyncio.sleep(_AT_ONCE / rate)


async def _sweep(kumod: Kumod) -> None:
    """Ask everything; again what was not good, for what is held in memory as stale is not asked for at once."""
    questions = every_question(lua=True)
    for again in range(_SWEEPS):
        questions = [each for each in questions if not await kumod.ask(each, sweep=again)]
        if not questions:
            break
        await asyncio.sleep(3)
    say(what="swept")


async def main(text: str, *, seed: int, rate: float) -> None:
    """Live by a policy until standard input ends; `sweep` there has it ask everything once."""
    kumod = Kumod(text)
    await kumod.start()
    working = asyncio.Event()
    working.set()
    tasks = [
        asyncio.ensure_future(_go_on(kumod, shuffled(seed + each, lua=True), rate, working))
        for each in range(_AT_ONCE)
    ]

    def do(told: dict[str, Any]) -> None:
        if told.get("sweep"):
            working.clear()
            tasks.append(asyncio.ensure_future(_sweep(kumod)))

    say(what="started")
    await listen(do)
    for task in tasks:
        if task.done():
            task.result()
    if kumod.process.problems:
        raise kumod.process.problems[0]


if __name__ == "__main__":
    name, token, store, seed, rate, *endpoints = sys.argv[1:]
    text = policy(endpoints, Path(token), Path(store), _MODULES, node=f"'{name}'")
    asyncio.run(main(text, seed=int(seed), rate=float(rate)))
