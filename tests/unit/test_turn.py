"""A session's turn: who has it next."""

import asyncio
from contextlib import suppress

from worker.sending.turn import Turn


async def test_it_goes_to_the_lowest_priority_and_there_to_whoever_came_first() -> None:
    turn, order = Turn(), list[str]()

    async def take(name: str, priority: int) -> None:
        async with turn.taken(priority):
            order.append(name)
            await asyncio.sleep(0)

    waiting = [("first", 1), ("second of the many", 1), ("third of the many", 1), ("single", 0), ("another single", 0)]
    await asyncio.gather(*(take(*one) for one in waiting))
    assert order == ["first", "single", "another single", "second of the many", "third of the many"]


async def test_one_that_is_called_off_in_the_moment_in_which_it_gets_the_turn_passes_it_on() -> None:
    turn, order = Turn(), list[str]()
    held = turn.taken(0)
    await held.__aenter__()

    async def take(name: str) -> None:
        async with turn.taken(0):
            order.append(name)

    called_off, next_one = asyncio.create_task(take("called off")), asyncio.create_task(take("next"))
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)  # the turn is the first's, who has not heard of it yet
    called_off.cancel()
    with suppress(asyncio.CancelledError):
        await called_off
    await asyncio.wait_for(next_one, 5)
    assert order == ["next"]


async def test_it_is_free_when_nobody_waits() -> None:
    turn = Turn()
    for _ in range(3):
        async with turn.taken(1):
            pass
