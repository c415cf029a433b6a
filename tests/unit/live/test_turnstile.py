"""All who wait are let through at a turn, a few at a time, and nobody is kept in mind who has left."""

import asyncio

from policyd.live.turnstile import Turnstile


async def test_all_who_wait_are_let_through_in_their_order_and_the_loop_turns_meanwhile():
    turnstile = Turnstile()
    through: list[int] = []

    async def pass_through(number: int) -> None:
        await turnstile.wait()
        through.append(number)

    tasks = [asyncio.create_task(pass_through(number)) for number in range(250)]
    await asyncio.sleep(0)
    turnstile.turn()
    steps = []
    while len(through) < 250:
        await asyncio.sleep(0)
        steps.append(len(through))
    assert through == list(range(250))
    assert len(set(steps)) >= 3
    assert all(task.done() for task in tasks)


async def test_who_comes_after_a_turn_waits_for_the_next_one():
    turnstile = Turnstile()
    turnstile.turn()
    late = asyncio.create_task(turnstile.wait())
    await asyncio.sleep(0)
    assert not late.done()
    turnstile.turn()
    await asyncio.wait_for(late, 5)


async def test_who_gives_up_is_forgotten():
    turnstile = Turnstile()
    tasks = [asyncio.create_task(turnstile.wait()) for _ in range(10)]
    await asyncio.sleep(0)
    assert len(turnstile) == 10
    for task in tasks[:9]:
        task.cancel()
    await asyncio.gather(*tasks[:9], return_exceptions=True)
    assert len(turnstile) == 1
    turnstile.turn()
    await tasks[9]
