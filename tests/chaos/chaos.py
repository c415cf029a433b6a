"""Rounds of faults, each followed by a recovery, while nodes and probes ask and somebody edits; and the judgement of it all."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.faults import FAULTS, Fault, use
from tests.chaos.history import History, applied
from tests.chaos.judge import Judge, Told
from tests.chaos.probes import ask, probe, sign, sweep
from tests.chaos.questions import Question, canonical, every_question
from tests.chaos.tally import Tally
from tests.chaos.world import LEASE, Node, World

IN_TOUCH = 15.0
"""Seconds for which a node counts on what it heard, by its own rule."""
HEARD_BEFORE = 9.0
"""How much older than that it may be: the longest request for changes, and the clock's second."""
RECOVERED_WITHIN = 90.0
SETTLED = 3.0
"""Seconds after which it is known what became of a commit, unless the database is gone."""
Tell = Callable[[str], None]


class Chaos:
    """One run of it."""

    def __init__(self, seed: int, tell: Tell) -> None:
        self.tally = Tally(seed)
        self.history = History()
        self.judge = Judge(self.history)
        self._chance = random.Random(seed)
        self._tell = tell
        self._said: dict[str, Any] = {}
        self._pending: list[Told] = []
        self._latest: dict[str, Told] = {}
        self._swept: dict[str, dict[Question, Told]] = {}
        self._done: set[str] = set()
        self._pauses: dict[str, list[tuple[float, float]]] = {}
        self._heard = asyncio.Event()
        self._resting = False
        self._began = time.monotonic()

    # What is heard

    def hear(self, said: dict[str, Any]) -> None:
        """Take in what a process says."""
        self.tally.story.append({"heard": time.monotonic(), **said, "documents": None})
        match said:
            case {"what": "begun", "position": position, "parent": parent, "changed": changed, "at": at}:
                self.history.add(
                    position, parent, applied(self.history.states[parent].documents, changed), at
                )
            case {"what": "committed", "position": position, "at": at}:
                self.history.commit(position, at)
                self.tally.commits += 1
            case {"what": "others", "revisions": revisions, "at": at}:
                self.history.others(revisions, at)
            case {"what": "log", "revisions": revisions, "documents": documents, "at": at}:
                wrong = self.history.found(revisions, documents, at)
                if wrong is not None:
                    self.tally.is_wrong(wrong)
            case {"what": "told", "from": name}:
                self._hear_node(name, said)
            case {"what": "swept", "from": name}:
                self._done.add(name)
            case {"what": "resting"}:
                self._resting = True
            case _:
                pass
        self._heard.set()

    def _take(self, told: Told | str) -> None:
        if isinstance(told, str):
            self.tally.is_wrong(told)
        else:
            self._pending.append(told)

    def _hear_node(self, name: str, said: dict[str, Any]) -> None:
        found, touch, asked_at = said["found"], said["touch"], said["asked_at"]
        in_touch = touch is not None and asked_at - touch <= IN_TOUCH
        was_paused = any(
            begin <= said["told_at"] and end >= asked_at - IN_TOUCH - HEARD_BEFORE
            for begin, end in self._pauses.get(name, ())
        )
        told = Told(
            who=name,
            question=Question.make(said["kind"], tuple(said["arguments"])),
            asked_at=asked_at,
            told_at=said["told_at"],
            answer=canonical(found["answer"]) if found["status"] == "found" else None,
            is_unknown=found["status"] == "unknown",
            is_stale=bool(found.get("stale")),
            number=found.get("revision") or 0,
            knew=(said["before"], said["after"]),
            current_since=touch - HEARD_BEFORE - LEASE if in_touch and not was_paused else None,
        )
        self._latest[name] = told
        if "sweep" in said:
            self._swept.setdefault(name, {})[told.question] = told
        self._pending.append(told)

    # What is done

    async def run(self, world: World, seconds: float) -> None:
        """Let it go on for so long, and then see whether all is well."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in (await self._start(world))]
            deck, end = self._deck(), time.monotonic() + seconds
            while time.monotonic() < end and not self.tally.wrong:
                await self._round(world, deck)
            if not self.tally.wrong:
                await self._finish(world)
            for task in tasks:
                task.cancel()
        self._judge_all(is_over=True)
        self.tally.wrong += [each for child in world.children for each in child.unexpected]

    async def _start(self, world: World) -> list[Any]:
        await world.vault.start()
        world.new_keys()
        await world.editor.start()
        await self._wait(lambda: bool(self.history.states), "the editor begins")
        # What may be restored later, from the first time on.
        await world.cluster.stop()
        await world.cluster.copy()
        for child in [service.child for service in world.services] + [node.child for node in world.nodes]:
            await child.start()
        took = await self._recover(world)
        self._tell(f"{self._now():6.1f} s  all is up after {took:.1f} s")
        probes = [
            probe(world, service, self.history, seed=self.tally.seed + n, report=self._take)
            for n, service in enumerate(world.services)
        ]
        return [*probes, self._keep_judging(), self._keep_signing(world)]

    async def _round(self, world: World, deck: Iterator[Fault]) -> None:
        faults = self._deal(deck)
        lasts = [(fault, self._chance.uniform(0.0, 2.0), self._chance.uniform(0.3, 6.0)) for fault in faults]
        begun, text = self._now(), " + ".join(f"{fault.name} {seconds:.1f} s" for fault, _, seconds in lasts)
        self.tally.story.append({"at": time.monotonic(), "what": "faults", "which": text})
        async with asyncio.TaskGroup() as group:
            for fault, after, seconds in lasts:
                group.create_task(self._happen(world, fault, after, seconds))
        await world.heal()
        took = await self._recover(world)
        self.tally.recoveries.append(took)
        self._tell(f"{begun:6.1f} s  {text}: well again after {took:.1f} s")
        await asyncio.sleep(self._chance.uniform(0.0, 1.5))

    async def _happen(self, world: World, fault: Fault, after: float, seconds: float) -> None:
        chance = random.Random(self._chance.random())
        await asyncio.sleep(after)
        self.tally.faults[fault.name] += 1
        begun = time.monotonic()
        try:
            await use(fault, world, self.history, chance, seconds)
        finally:
            if "paused" in fault.name:
                for node in world.nodes:
                    self._pauses.setdefault(node.child.name, []).append((begun, time.monotonic()))

    def _deck(self) -> Iterator[Fault]:
        """Every fault, before any of them comes again."""
        while True:
            yield from self._chance.sample(FAULTS, len(FAULTS))

    def _deal(self, deck: Iterator[Fault]) -> list[Fault]:
        dealt: dict[str, Fault] = {}
        for fault in deck:
            if fault.family in dealt:
                self._held = fault
                break
            dealt[fault.family] = fault
            if len(dealt) == 3 or self._chance.random() < 0.3:
                break
        return list(dealt.values())

    # Whether all is well

    async def _recover(self, world: World) -> float:
        """How long it takes until everybody answers, unmarked, from what was committed lately."""
        began = time.monotonic()
        question = every_question(lua=False)[0]
        try:
            async with asyncio.timeout(RECOVERED_WITHIN):
                for service in world.services:
                    while not self._is_fresh(await ask(world, service, question), since=began):  # noqa: ASYNC110 - as who asks
                        await asyncio.sleep(0.05)
                    while await sign(world, service) is not True:  # noqa: ASYNC110 - likewise
                        await asyncio.sleep(0.1)
                for node in world.nodes:
                    while not self._is_fresh(self._latest.get(node.child.name), since=began):
                        self._heard.clear()
                        await self._heard.wait()
        except TimeoutError:
            self.tally.is_wrong(f"not well again {RECOVERED_WITHIN:.0f} s after the last fault")
        return time.monotonic() - began

    def _is_fresh(self, told: Told | str | None, *, since: float) -> bool:
        if told is None or isinstance(told, str) or told.asked_at < since or told.is_unknown or told.is_stale:
            return False
        state = self.history.states.get(told.label or told.knew[0] or "")
        floors = self.history.floors(told.asked_at - 2.0, told.told_at)
        is_new = self.history.last_commit > since - 2.0 or self._resting
        return is_new and state is not None and any(floor.bears(state) for floor in floors)

    async def _finish(self, world: World) -> None:
        """Let the editor rest, and ask everybody everything: nothing may be left of the faults."""
        self._tell(f"{self._now():6.1f} s  over; everybody is asked everything")
        world.editor.tell(work=False)
        await self._wait(lambda: self._resting, "the editor rests")
        await self._recover(world)
        head = await world.cluster.head()
        lost = {str(state.position) for state in self.history.committed()} - await world.cluster.log()
        if lost:
            self.tally.is_wrong(f"committed, and not in the log any more: {', '.join(sorted(lost))}")
        for node in world.nodes:
            name = node.child.name
            await self._wait(lambda name=name: self._latest[name].knew[0] == head, f"{name} is at {head}")  # type: ignore[misc]
            await self._sweep_node(node, head)
        for service in world.services:
            for told in await sweep(world, service):
                if isinstance(told, str) or told.is_unknown or told.is_stale or told.label != head:
                    self.tally.is_wrong(f"in the end, and at {head}: {told}")
                else:
                    self._pending.append(told)

    async def _sweep_node(self, node: Node, head: str) -> None:
        name = node.child.name
        node.child.tell(sweep=True)
        await self._wait(lambda: name in self._done, f"{name} answers everything")
        for told in self._swept.get(name, {}).values():
            if told.is_unknown or told.is_stale or told.knew[0] != head:
                self.tally.is_wrong(f"in the end, and at {head}: {told}")

    async def _wait(self, is_so: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(RECOVERED_WITHIN):
                while not is_so():
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            self.tally.is_wrong(f"not within {RECOVERED_WITHIN:.0f} s: {what}")

    async def _keep_signing(self, world: World) -> None:
        while True:
            for service in world.services:
                had = await sign(world, service)
                self.tally.outcomes[
                    "keys", "right" if had is True else "wrong" if had else "unavailable"
                ] += 1
                if isinstance(had, str):
                    self.tally.is_wrong(had)
            await asyncio.sleep(0.5)

    async def _keep_judging(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self._judge_all(is_over=False)

    def _judge_all(self, *, is_over: bool) -> None:
        """Judge what is old enough for its commits to be known; what cannot be judged yet waits."""
        now, waiting = time.monotonic(), []
        for told in self._pending:
            if not is_over and now - told.told_at < SETTLED:
                waiting.append(told)
                continue
            verdict = self.judge.judge(told)
            if verdict.outcome != "undecided":
                self.tally.judged(told, verdict)
            elif is_over:
                self.tally.is_wrong(f"{told.who}: {verdict.why}")
            else:
                waiting.append(told)
        self._pending[:] = waiting

    def _now(self) -> float:
        return time.monotonic() - self._began
