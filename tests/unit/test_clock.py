"""The database's time as this machine knows it: within bounds that every answer narrows, whatever its clocks do."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from worker.store.clock import Clock

HOURS = 5 * 3600


class Fake:
    """A machine's two clocks and the database's, in seconds."""

    def __init__(self) -> None:
        self.wall = self.database = 1_000_000.0
        self.monotonic = 400.0
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


def test_until_the_database_has_spoken_it_goes_by_this_machine(fake):
    fake.wall += 5
    clock = Clock(lambda: fake.monotonic, lambda: fake.wall)
    assert (clock.now(), clock.uncertainty) == (datetime.fromtimestamp(fake.wall, UTC), 0)
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.skew == timedelta(0)


@pytest.mark.parametrize(("there", "back", "error"), [(0.5, 0.5, 0), (0, 1, 0.5), (1, 0, -0.5), (0.25, 0.75, 0.25)])
def test_an_answer_is_as_old_as_half_its_journey_and_may_be_wrong_by_as_much(fake, there, back, error):
    """It was read at some time between the question and the answer."""
    fake.database += 7200
    fake.ask(there, back)
    assert fake.clock.uncertainty == pytest.approx(0.5)
    assert fake.error == pytest.approx(-error)


def test_what_two_answers_allow_is_what_both_allow(fake):
    """The first says that the difference is at most 0 and at least -1, the second at most 1 and at least 0."""
    fake.ask(there=0, back=1)
    fake.ask(there=1, back=0)
    assert fake.clock.uncertainty == pytest.approx(5e-5, abs=1e-5)
    assert fake.error == pytest.approx(0, abs=1e-4)


def test_the_bounds_widen_by_what_clocks_may_part(fake):
    fake.ask(there=0.001, back=0.001)
    fake.pass_by(1000)
    fake.ask(there=10, back=10)
    assert fake.clock.uncertainty == pytest.approx(0.001 + 0.102, abs=1e-3)
    assert abs(fake.error) < 0.001


@pytest.mark.parametrize("jump", [30, -30, HOURS, -HOURS])
def test_a_clock_that_jumped_is_believed_anew_and_not_in_part(fake, jump):
    fake.ask(there=0.001, back=0.001)
    fake.database += jump
    fake.ask(there=0.25, back=0.25)
    assert fake.clock.uncertainty == pytest.approx(0.25)
    assert fake.error == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("part", [0.05, -0.05, 0.15, -0.15])
def test_what_clocks_may_part_within_a_while_is_no_jump_and_more_is(fake, part):
    """1,000 s are good for a tenth of a second."""
    fake.ask(there=0, back=0)
    fake.pass_by(1000)
    fake.database += part
    fake.ask(there=0, back=0)
    assert fake.clock.uncertainty == pytest.approx(0, abs=1e-5)
    assert fake.error == pytest.approx(0, abs=1e-5)
    fake.ask(there=0.5, back=0.5)
    assert fake.clock.uncertainty < 0.001


@pytest.mark.parametrize("seconds", [0, -1])
def test_an_answer_that_allows_just_the_edge_of_what_was_known_is_no_jump(fake, seconds):
    told = datetime.fromtimestamp(fake.database, UTC)
    fake.clock.observe(told, fake.monotonic + seconds)
    fake.clock.observe(told + timedelta(seconds=seconds), fake.monotonic - 1)
    assert fake.clock.uncertainty == 0
