"""The database's clock decides: a machine whose own is wrong, jumps or was asleep sends on time all the same."""

import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.polling import until
from tests.helpers.process import ROOT, Worker, environment
from tests.helpers.rows import due_in, message, one
from worker.store.clock import Clock

HOURS = 5 * 3600
WRONG, RIGHT = "this machine's clock is wrong; messages go by the database's", "this machine's clock is right again"

# Python imports a module of this name before anything else. Everything that asks the wall clock is told another time.
SITECUSTOMIZE = """
import datetime, time

def shift():
    with open({file!r}) as file:
        return float(file.read() or 0)

class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, real)

class Shifted(datetime.datetime, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return real.fromtimestamp(right() + shift(), tz)

real, right = datetime.datetime, time.time
datetime.datetime = Shifted
time.time = lambda: right() + shift()
"""


class Machine:
    """Where workers see a wall clock that is `ahead` seconds ahead."""

    def __init__(self, directory: Path, stack: dict[str, str]) -> None:
        self.directory, self.stack, self.workers = directory, stack, list[Worker]()
        self.file = directory / "ahead"
        (directory / "sitecustomize.py").write_text(SITECUSTOMIZE.format(file=str(self.file)))

    def set(self, ahead: float) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(str(ahead))
        new.rename(self.file)  # whole or not at all

    def environment(self, poll: int) -> dict[str, str]:
        settings = {"GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": str(poll)}
        return environment(self.stack, settings) | {"PYTHONPATH": f"{self.directory}:{ROOT}"}

    def start(self, poll: int = 60) -> Worker:
        self.workers.append(Worker("run", self.environment(poll), self.directory))
        return self.workers[-1]

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "worker", "status", "--json"]
        done = subprocess.run(command, env=self.environment(60), cwd=self.directory, capture_output=True, check=True)
        return dict(json.loads(done.stdout))


@pytest.fixture
def machine(stack, db, tmp_path):
    machine = Machine(tmp_path, stack)
    yield machine
    for worker in machine.workers:
        if worker.process.poll() is None:
            worker.kill()


def lateness(db, row: str) -> float:
    return float(
        one(db, "select extract(epoch from sent_at - scheduled_at) from scheduled_messages where id = %s", row)
    )


@pytest.mark.parametrize("ahead", [HOURS, -HOURS], ids=["ahead", "behind"])
def test_a_daemon_whose_clock_is_wrong_by_hours_sends_on_time_and_says_so_once(db, machine, ahead):
    machine.set(ahead)
    worker = machine.start(poll=2)
    line = worker.until_said(WRONG, 30)
    row = due_in(db, 5)

    until(lambda: message(db, row)["status"] == "sent", 20, worker.text)
    assert 0 <= lateness(db, row) < 1
    assert abs(line["ahead_seconds"] - ahead) < 5
    assert len(worker.said(WRONG)) == 1


def test_status_shows_how_wrong_it_is(machine):
    machine.set(HOURS)
    assert abs(machine.status()["clock_skew_seconds"] - HOURS) < 5


def test_jumps_of_the_clock_neither_stop_the_polls_nor_hurry_a_message(db, machine):
    """`schedule` waits for a wall time that is hours away after a jump back; the scheduler has a time of its own."""
    machine.set(0)
    worker = machine.start(poll=1)
    far = due_in(db, 3600)
    for jumps, ahead in enumerate((-HOURS, HOURS), start=1):
        machine.set(ahead)
        until(lambda count=jumps: len(worker.said(WRONG)) == count, 20, "the jump being noticed")
        row = due_in(db, 0)
        until(lambda found=row: message(db, found)["status"] == "sent", 10, worker.text)
        machine.set(0)
        until(lambda count=jumps: len(worker.said(RIGHT)) == count, 20, "the clock being right again")

    assert message(db, far)["status"] == "pending"


class Fake:
    """A machine's two clocks and the database's, in seconds."""

    def __init__(self) -> None:
        self.monotonic = self.wall = self.database = 1_000_000.0
        self.clock = Clock(lambda: self.monotonic, lambda: self.wall)

    def pass_by(self, seconds: float, asleep: bool = False) -> None:
        """asleep: the machine is suspended, which stops its monotonic clock (Linux: CLOCK_MONOTONIC)."""
        self.monotonic += 0 if asleep else seconds
        self.wall += seconds
        self.database += seconds

    def ask(self, there: float = 0.002, back: float = 0.002) -> None:
        """Asks the database for its time; the question and the answer take so long."""
        asked_at = self.monotonic
        self.pass_by(there)
        told = datetime.fromtimestamp(self.database, UTC)
        self.pass_by(back)
        self.clock.observe(told, asked_at)

    @property
    def error(self) -> float:
        return self.clock.now().timestamp() - self.database


@pytest.fixture
def fake():
    return Fake()


def test_it_goes_by_the_database_however_wrong_the_wall_clock_is(fake):
    fake.wall -= HOURS
    fake.ask()
    assert abs(fake.error) < 0.005
    assert abs(fake.clock.skew + timedelta(seconds=HOURS)) < timedelta(seconds=0.005)
    fake.wall += 2 * HOURS
    assert abs(fake.error) < 0.005
    assert abs(fake.clock.until(datetime.fromtimestamp(fake.database + 10, UTC)) - 10) < 0.005


def test_a_slow_answer_does_not_spoil_what_a_quick_one_told(fake):
    fake.ask()
    fake.ask(there=0.001, back=30)
    assert abs(fake.error) < 0.005


def test_slow_answers_tell_more_together_than_any_of_them(fake):
    answers = random.Random(7)
    for _ in range(60):
        fake.ask(there=answers.uniform(0.01, 0.5), back=answers.uniform(0.01, 0.5))
        assert abs(fake.error) <= fake.clock.uncertainty + 1e-9
        fake.pass_by(1)
    assert fake.clock.uncertainty < 0.05


def test_it_finds_the_time_again_after_a_suspend(fake):
    fake.ask()
    fake.pass_by(3600, asleep=True)
    assert fake.error < -3599
    fake.ask(there=0.05, back=0.05)
    assert abs(fake.error) < 0.1


def test_a_drift_is_followed_even_where_answers_have_become_slow(fake):
    fake.ask()
    fake.pass_by(400)
    fake.database += 0.2
    fake.ask(there=0.1, back=0.1)
    assert abs(fake.error) < 0.11
