"""An alarm rings when it was set to, and a loop's patience grows with the calls that fail."""

import asyncio
import math

import pytest

from tests.helpers.polling import auntil
from worker import waiting
from worker.errors import StoreError, StoreRefused
from worker.waiting import Alarm, Patience


class Loop:
    """Counts the rings of its alarm, and how often it said that it is alive."""

    def __init__(self, **alarm: float) -> None:
        self.rung = self.beats = 0
        self.alarm = Alarm(self.beat, **alarm)
        self.stop = asyncio.Event()

    def beat(self) -> None:
        self.beats += 1

    async def run(self) -> None:
        while await self.alarm.rings(self.stop):
            self.rung += 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_rings_once_for_all_who_woke_it() -> None:
    loop = Loop(first=math.inf)
    running = asyncio.create_task(loop.run())
    await settle()
    assert loop.rung == 0
    for _ in range(3):
        loop.alarm.wake()
    await settle()
    assert (loop.rung, loop.alarm.at) == (1, math.inf)
    running.cancel()


async def test_the_first_one_counts_whoever_asks_for_later() -> None:
    loop = Loop(first=math.inf)
    loop.alarm.within(0.01)
    loop.alarm.within(3600)
    running = asyncio.create_task(loop.run())
    await auntil(lambda: loop.rung == 1, 5, "the nearer instant")
    running.cancel()


async def test_what_is_set_anew_rings_no_more_when_it_was_to() -> None:
    loop = Loop()
    loop.alarm.reset(3600)
    running = asyncio.create_task(loop.run())
    await settle()
    assert loop.rung == 0
    loop.alarm.within(0)
    await settle()
    assert loop.rung == 1
    running.cancel()


async def test_it_rings_at_its_interval_when_nobody_sets_it() -> None:
    loop = Loop(every=0.001)
    running = asyncio.create_task(loop.run())
    await auntil(lambda: loop.rung >= 3, 5, "its third ring")
    running.cancel()


async def test_a_loop_with_nothing_to_do_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "IDLE_SECONDS", 0.001)
    loop = Loop(first=math.inf)
    running = asyncio.create_task(loop.run())
    await auntil(lambda: loop.beats >= 3, 5, "its third word")
    assert loop.rung == 0
    running.cancel()


async def test_a_stop_ends_it_whatever_it_was_set_to() -> None:
    loop = Loop()
    loop.stop.set()
    await asyncio.wait_for(loop.run(), 5)
    assert loop.rung == 0


async def fail(fault: Exception | None) -> None:
    if fault:
        raise fault


async def test_a_call_that_fails_is_tried_later_each_time_and_soon_again_once_it_worked() -> None:
    patience = Patience("it failed", 5)
    away = [await patience.attempt(fail(StoreError("away"))) for _ in range(5)]
    assert away == [1, 2, 4, 5, 5]
    assert await patience.attempt(fail(None)) == math.inf
    assert await patience.attempt(fail(StoreRefused("no"))) == 1


async def test_a_fault_of_ours_is_nobody_s_to_be_patient_with() -> None:
    with pytest.raises(ZeroDivisionError):
        await Patience("it failed", 5).attempt(fail(ZeroDivisionError()))


async def test_the_same_reason_is_said_once_until_it_worked(capsys: pytest.CaptureFixture[str]) -> None:
    patience = Patience("it failed", 5)
    for fault in (StoreError("away"), StoreError("away"), StoreError("slow"), None, StoreError("slow")):
        await patience.attempt(fail(fault))
    assert capsys.readouterr().out.count("it failed") == 3
