"""
Bad days of a node, at random: changes, outages, lagging replicas, restores, restarts, full disks, damaged stores, clocks that jump.

In every one: no answer that was never committed; none older than what the node knows, unless it says so; no permanent
refusal and no default route because of a fault; nothing lost; and some seconds after the last fault all is as committed.
"""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from tests.lua.chaos.actions import act, restore
from tests.lua.chaos.judging import judge_converged, judge_mail, known, questions
from tests.lua.chaos.states import TENANT, Change, State
from tests.lua.chaos.world import World, world
from tests.lua.sites import ask

QUICK, MANY = range(4), range(4, 2000)
SEEDS = [*QUICK, *(pytest.param(seed, marks=pytest.mark.soak) for seed in MANY)]
EPISODES, ACTS = 3, 25
# A bump that is owed comes within ten seconds of the contact; a queue that was held looks again every ten, once kumod looks
# whether it should, which is every ten, too.
SOON = 25


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_goes_wrong_on_a_bad_day_and_soon_after_it_all_is_well(opened, seed):
    rng = random.Random(seed)
    async with opened() as here:
        try:
            await day(here, rng)
        except BaseException as error:
            error.add_note(f"seed {seed}:\n" + "\n".join(here.story))
            raise


@pytest.fixture
def opened(postgres, dsn, kumod, tmp_path) -> Callable[..., AbstractAsyncContextManager[World]]:
    return lambda **options: world(postgres, dsn, kumod, tmp_path, **options)


async def day(here: World, rng: random.Random) -> None:
    node = here.node
    here.often = rng.sample(range(len(questions())), 8)
    await node.start()
    for _ in range(EPISODES):
        for _ in range(ACTS):
            await act(here, rng)
        here.tell("all is healed")
        await here.heal()
        await node.until(lambda: known(node) == here.active.head, within=60)
        await node.advance(SOON)
        here.tell("all is judged")
        await judge_converged(here, rng)
    await node.until(lambda: not node.spool, within=400)
    judge_mail(here)
    assert len(node.delivered) == len(here.accepted)


@pytest.fixture
async def restored(opened) -> AsyncIterator[World]:
    """A node that holds an answer from after the last thing that its feed could take in, and then that is undone by a restore."""
    async with opened() as here:
        node = here.node
        await node.start()
        await node.until(lambda: known(node) == here.active.head)
        await node.advance(1)
        # It hears of what comes now, and cannot write it down.
        node.process.disk_full = True
        moved = State(tenants={TENANT: "shared"})
        await here.active.commit(
            Change((f"update policy.tenant set egress_pool = 'shared' where name = '{TENANT}'",), moved)
        )
        await node.advance(5)
        assert await pool_of(here) == "shared"
        await restore(here, random.Random(0))
        yield here


async def pool_of(here: World) -> str:
    pool: str = (await ask(here.node, "tenant", TENANT))["answer"]["egress_pool"]
    return pool


async def test_an_answer_that_a_restore_took_back_is_asked_for_again(restored):
    node = restored.node
    node.process.disk_full = False
    await restored.heal()
    await node.advance(10)
    assert await pool_of(restored) == "gold"


async def test_an_answer_that_a_restore_took_back_is_asked_for_again_after_a_restart(restored):
    node = restored.node
    node.process.disk_full = False
    await node.advance(1)
    await node.restart()
    await restored.heal()
    await node.advance(10)
    assert await pool_of(restored) == "gold"
