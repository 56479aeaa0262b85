"""The database's clock decides: a machine whose own is wrong, jumps or was asleep sends on time all the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.calls import record
from tests.helpers.polling import until
from tests.helpers.process import ROOT, Worker, environment
from tests.helpers.rows import due_in, message, one

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

    until(lambda: message(db, row)["status"] == "sent", 20, lambda: worker.text)
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
        until(lambda found=row: message(db, found)["status"] == "sent", 10, lambda: worker.text)
        machine.set(0)
        until(lambda count=jumps: len(worker.said(RIGHT)) == count, 20, "the clock being right again")

    assert message(db, far)["status"] == "pending"


def test_what_is_recorded_tells_when_it_began_and_a_claim_when_it_ended(db):
    """Both bounds of the database's clock: neither is as wide as a call takes."""
    with db.transaction():
        db.execute("select pg_sleep(0.02)")
        began = one(db, "select now()")
        assert record(db)["db_now"] == began
        claim = (
            "select db_now from claim_broadcast_jobs(p_token => gen_random_uuid(), p_seats => 1, p_lease_seconds => 60)"
        )
        assert (one(db, claim) - began).total_seconds() > 0.02
