"""A loop that is stuck ends the process; one that is slow, suspended or finished does not."""

import subprocess
import sys
import threading
import time

import pytest
from structlog.testing import capture_logs

from worker.models import Health
from worker.watch.vitals import Vitals
from worker.watch.watchdog import Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals(poll_interval=60, clock=clock)


def look_many(dog: Watchdog, times: int) -> None:
    for _ in range(times):
        dog.look()


def test_a_stuck_loop_ends_the_process_with_a_line_that_names_it(vitals: Vitals) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=1, end=ended.append)
    vitals.beat("scheduler")
    vitals.beat("dispatcher")
    with capture_logs() as lines:
        for second in range(181):
            dog.look()
            if second % 30 == 0:
                vitals.beat("dispatcher")
    assert ended == [70]
    assert [line["event"] for line in lines] == ["scheduler has made no progress for 181 s; ending"]


def test_a_loop_that_beats_lives(vitals: Vitals) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=1, end=ended.append)
    for _ in range(10):
        vitals.beat("scheduler")
        look_many(dog, 179)
    assert ended == []


def test_a_loop_may_promise_its_own_time(vitals: Vitals) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=1, end=ended.append)
    vitals.beat("rescue", within=5)
    look_many(dog, 5)
    assert ended == []
    dog.look()
    assert ended == [70]


def test_a_short_interval_does_not_make_one_slow_call_a_fault(clock: Clock) -> None:
    ended: list[int] = []
    vitals = Vitals(poll_interval=1, clock=clock)
    vitals.beat("scheduler")
    look_many(Watchdog(vitals, tick=1, end=ended.append), 60)
    assert ended == []


def test_a_suspended_process_is_not_stuck(vitals: Vitals, clock: Clock) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=1, end=ended.append)
    vitals.beat("scheduler")
    dog.look()
    clock.now += 3600
    dog.look()
    assert ended == []


def test_a_log_that_blocks_does_not_keep_the_process_alive(vitals: Vitals, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    released = threading.Event()
    monkeypatch.setattr("worker.watch.watchdog.log.critical", lambda *_, **__: released.wait(10), raising=False)
    dog = Watchdog(vitals, tick=1, end=lambda _: ended.set())
    vitals.beat("scheduler", within=0.5)
    thread = threading.Thread(target=dog.look)
    thread.start()
    try:
        assert ended.wait(5)
        assert thread.is_alive()
    finally:
        released.set()
        thread.join()


def test_it_ends_a_process_whose_event_loop_is_blocked() -> None:
    program = """if True:
        import asyncio, time
        from worker.watch.vitals import Vitals
        from worker.watch.watchdog import Watchdog
        async def main():
            vitals = Vitals(poll_interval=60)
            Watchdog(vitals, tick=0.05).start()
            vitals.beat("dispatcher", within=0.2)
            time.sleep(30)
        asyncio.run(main())
    """
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.returncode == 70
    assert "dispatcher has made no progress" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert time.monotonic() - began < 10


def test_a_stopped_watchdog_looks_no_more(vitals: Vitals) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=0.01, end=ended.append)
    dog.start()
    dog.stop()
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_a_daemon_that_polls_is_well(vitals: Vitals) -> None:
    vitals.beat("scheduler")
    vitals.polled()
    assert vitals.problems() == []


def test_a_fresh_start_has_three_intervals_for_its_first_poll(vitals: Vitals, clock: Clock) -> None:
    clock.now += 180
    assert vitals.problems() == []
    clock.now += 1
    assert vitals.problems() == ["the last successful poll was 181 s ago"]


def test_every_problem_is_named(vitals: Vitals, clock: Clock) -> None:
    vitals.beat("scheduler")
    clock.now += 200
    vitals.polled(oldest_overdue=500)
    vitals.gateway = Health(ok=False, detail="token expired")
    assert vitals.problems() == [
        "scheduler has made no progress for 200 s",
        "the oldest due message has waited 500 s",
        "gateway: token expired",
    ]
