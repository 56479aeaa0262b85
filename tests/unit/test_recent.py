"""What was sent within the last quarter of an hour, as the operator's page shows it."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.watch.metrics import Metrics
from worker.watch.recent import STEP_SECONDS, STEPS, Lateness, Recent

BOUNDS = (0.1, 1.0, 10.0)


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def recent(now: list[float]) -> Recent:
    return Recent(BOUNDS, lambda: now[0])


def test_what_was_sent_stands_in_its_step_and_leaves_after_a_quarter_of_an_hour(
    recent: Recent, now: list[float]
) -> None:
    recent.add([0.05] * 30)
    now[0] += STEP_SECONDS
    recent.add([0.05] * 10)
    assert recent.per_second()[-3:] == [0.0, 3.0, 1.0]
    assert len(recent.per_second()) == STEPS
    now[0] += (STEPS - 1) * STEP_SECONDS
    assert recent.per_second() == [1.0] + [0.0] * (STEPS - 1)
    assert sum(recent.lateness().counts) == 10
    now[0] += STEP_SECONDS
    assert sum(recent.per_second()) == sum(recent.lateness().counts) == 0


def test_what_is_old_takes_no_room(recent: Recent, now: list[float]) -> None:
    for _ in range(3 * STEPS):
        recent.add([0.5])
        now[0] += STEP_SECONDS
    assert len(recent._steps) <= STEPS


def test_each_message_falls_into_the_bucket_that_ends_at_or_after_it(recent: Recent) -> None:
    recent.add([0, 0.1, 0.11, 1.0, 9.9, 10.1, 1e6])
    assert recent.lateness() == Lateness(BOUNDS, [2, 2, 1, 2])


def test_quantiles_lie_within_their_buckets(recent: Recent) -> None:
    recent.add([0.05] * 98 + [5.0, 5.0])
    late = recent.lateness()
    assert late.quantile(0.5) == pytest.approx(0.1 * 50 / 98)
    assert late.quantile(0.99) == pytest.approx(1 + 9 / 2)


def test_of_nothing_there_is_no_quantile(recent: Recent) -> None:
    assert recent.lateness().quantile(0.5) is None
    recent.add([])
    assert recent.lateness().quantile(0.99) is None


def test_what_is_later_than_the_last_bound_is_said_to_be_that_late(recent: Recent) -> None:
    recent.add([100.0])
    assert recent.lateness().quantile(0.5) == 10.0


@given(st.lists(st.floats(0, 9.99), min_size=1, max_size=50))
def test_a_median_is_no_further_off_than_its_bucket_is_wide(lags: list[float]) -> None:
    recent = Recent(BOUNDS, lambda: 0.0)
    recent.add(lags)
    told = recent.lateness().quantile(0.5)
    assert told is not None
    median = statistics.median_low(lags)
    above = min(bound for bound in BOUNDS if bound >= median)
    below = max((bound for bound in BOUNDS if bound < median), default=0.0)
    assert below - 1e-9 <= told <= above + 1e-9


def test_prometheus_and_the_page_are_told_of_the_same_messages() -> None:
    metrics = Metrics()
    metrics.settled(["sent", "sent", "failed", "unconfirmed", "retry"])
    metrics.lags(iter([0.004, 7200]))
    assert sum(metrics.recent.lateness().counts) == 2
    assert metrics.registry.get_sample_value("scheduled_messages_due_lag_seconds_count") == 2
    assert metrics.so_far == {"sent": 2, "failed": 1, "unconfirmed": 1}
