"""At most so many in so many seconds. What is dialled on its slot may arrive up to 3 % of a period later, so slots are
held to windows that are 3 % longer."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from local.bench.figures import most_within
from tests.helpers.rows import one
from tests.pacing.limiter import NOON, Queue, gaps

RATES = [(15, 60.0, 1, 0.0), (1, 12.0, 1, 0.0), (1, 12.0, 1, 4.0), (29, 1.0, 1, 0.0), (80, 1.0, 1, 0.0)]
RATES += [(15, 60.0, 5, 0.0), (15, 60.0, 15, 0.0), (40, 2.0, 20, 0.05), (3, 0.5, 2, 0.0)]


@pytest.mark.parametrize(("messages", "period", "burst", "jitter"), RATES)
def test_no_window_of_a_period_holds_more_than_is_allowed(queue, messages, period, burst, jitter):
    queue.settings(messages=messages, period_seconds=period, burst=burst, jitter_seconds=jitter)
    queue.add(4 * messages + 20)
    slots = queue.run(NOON, 4 * period)
    assert len(slots) > messages
    assert most_within(slots, period * 1.0299) <= messages


@pytest.mark.parametrize(("messages", "period"), [(15, 60.0), (1, 12.0), (29, 1.0), (80, 1.0)])
def test_what_is_allowed_is_reached_by_claiming_only_when_told_to(queue, messages, period):
    queue.settings(messages=messages, period_seconds=period)
    queue.add(10 * messages + 10)
    slots = queue.run(NOON, 10 * period, seats=200)
    assert sum(slot < 10 * period for slot in slots) >= 0.95 * 10 * messages


def test_two_hours_of_a_phone_s_pace_keep_its_limit(queue, size):
    queue.settings(messages=15, period_seconds=60, jitter_seconds=1)
    queue.add(size(2000))
    slots = queue.run(NOON, size(7200))
    assert most_within(slots, 60) <= 15


def test_jitter_makes_every_gap_longer_by_a_different_part_of_it(queue):
    queue.settings(messages=1, period_seconds=12, jitter_seconds=4)
    queue.add(40)
    found = gaps(queue.run(NOON, 400))
    assert all(12 < gap < 12 * 1.03 + 4.001 for gap in found)
    assert len({round(gap, 2) for gap in found}) > len(found) / 2
    assert max(found) - min(found) > 2


def test_a_burst_goes_at_once_after_a_pause_and_is_missing_from_what_follows(queue):
    queue.settings(messages=15, period_seconds=60, burst=5)
    queue.add(30)
    slots = queue.run(NOON, 70)
    assert slots[:5] == [0, 0, 0, 0, 0]
    assert min(gaps(slots[4:])) > 60 / 11
    assert sum(slot < 60 for slot in slots) == 15


def test_a_connection_without_settings_is_not_paced(queue):
    queue.add(50)
    claimed = queue.claim(NOON, seats=50)
    assert claimed.slots == [NOON] * 50
    assert {job["send_until"] for job in claimed.jobs} == {None}


def test_a_slot_is_at_most_half_a_second_ahead_and_is_over_after_two_percent_of_a_period(queue):
    queue.settings(messages=29, period_seconds=1)
    queue.add(100)
    claimed = queue.claim(NOON, seats=100)
    assert 5 < len(claimed.jobs) < 15
    for job, slot in zip(claimed.jobs, claimed.slots, strict=True):
        assert slot < NOON + timedelta(seconds=0.5)
        assert 0 < (slot.fromisoformat(job["send_until"]) - slot).total_seconds() <= 0.0201


def test_what_must_be_dialled_within_milliseconds_has_a_slot_that_a_slow_answer_still_meets(queue):
    """Else a far database's answer would always come too late for it."""
    queue.settings(messages=29, period_seconds=1)
    queue.add(1)
    [slot] = queue.claim(NOON).slots
    assert slot >= NOON + timedelta(seconds=0.1)


def test_a_message_that_comes_after_a_pause_does_not_wait(queue):
    queue.settings(messages=1, period_seconds=12)
    queue.add(1)
    queue.claim(NOON)
    later = NOON + timedelta(minutes=1)
    queue.add(1, at=later)
    [slot] = queue.claim(later).slots
    assert slot - later < timedelta(seconds=0.05)


def test_jitter_that_reaches_beyond_the_look_ahead_leaves_the_jobs_in_the_queue(queue):
    """A claimed job's lease would end while it waits."""
    queue.settings(messages=100, period_seconds=1, jitter_seconds=30)
    queue.add(50)
    claimed = queue.claim(NOON, seats=50)
    assert len(claimed.jobs) < 5
    assert all(slot < NOON + timedelta(seconds=0.5) for slot in claimed.slots)
    assert queue.waiting() == 50 - len(claimed.jobs)


def test_a_slot_that_was_missed_is_not_lost_to_a_connection_that_has_no_other(queue):
    queue.settings(messages=1, period_seconds=12)
    queue.add(3)
    first = queue.claim(NOON)
    queue.record(first, "sent")
    missed = queue.claim(NOON + timedelta(seconds=12.3))
    [slot] = missed.slots
    queue.record(missed, "released", wait=0)
    queue.add(1, at=NOON)  # says that there is something to look at, as the record does where NOON is now
    [again] = queue.claim(NOON + timedelta(seconds=13)).slots
    assert slot < again <= NOON + timedelta(seconds=13.2)
    assert queue.claim(NOON + timedelta(seconds=24)).jobs == []


def test_a_missed_slot_before_others_is_lost_and_breaks_no_limit(queue):
    queue.settings(messages=29, period_seconds=1)
    queue.add(100)
    claimed = queue.claim(NOON, seats=10)
    queue.record(replace(claimed, jobs=claimed.jobs[3:4]), "released", wait=0)
    later = queue.claim(NOON + timedelta(seconds=0.3)).slots
    assert later
    assert min(later) > max(claimed.slots)


def test_a_slot_that_was_missed_does_not_end_a_slowdown(queue):
    queue.settings(messages=10, period_seconds=1)
    queue.add(2)
    queue.record(queue.claim(NOON), "throttled_connection", "released", wait=5)
    state = queue.state()
    assert state["arrival_at"] >= state["throttled_until"]


def test_the_same_token_asked_twice_gives_the_same_jobs_and_counts_them_once(queue):
    queue.settings(messages=5, period_seconds=1, burst=5, daily_limit=100)
    queue.add(20)
    first = queue.claim(NOON)
    again = queue.claim(NOON, token=first.token)
    assert [job["id"] for job in again.jobs] == [job["id"] for job in first.jobs]
    assert queue.state()["sent_today"] == len(first.jobs)


def test_a_repeated_claim_that_overtakes_the_first_gets_no_jobs_beside_it(queue, stack):
    """The first is still being made: its seats must not be filled twice."""
    queue.add(1, "shop")
    queue.add(1, "till")
    token = str(uuid4())
    with psycopg.connect(stack["DATABASE_URL"], row_factory=dict_row) as first:
        asked = Queue(first).claim(NOON, seats=1, token=token)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            queue.claim(NOON, seats=1, token=token)
    again = queue.claim(NOON, seats=1, token=token)
    assert [job["id"] for job in again.jobs] == [job["id"] for job in asked.jobs]
    assert queue.waiting("shop") + queue.waiting("till") == 1


@pytest.mark.parametrize(("outcome", "wait"), [("released", 0), ("released", None), ("retry", 0), ("stopped", 0)])
def test_what_goes_back_without_a_wait_keeps_its_place_in_the_line(queue, outcome, wait):
    now = one(queue.db, "select now()")
    for n in range(3):
        queue.add(1, at=now - timedelta(seconds=30 - n), recipient=f"+9198000000{n:02d}")
    first = queue.claim(now, seats=1)
    queue.record(first, outcome, error="why", wait=wait)
    assert [row["contact_id"][-1] for row in queue.rows()] == ["0", "1", "2"]
    queue.db.execute("update private.connection_state set paused_reason = null, ready_at = now()")
    again = queue.claim(one(queue.db, "select clock_timestamp()"), seats=1)
    assert [job["recipient"][-1] for job in again.jobs] == ["0"]


@pytest.mark.parametrize(("outcome", "wait"), [("released", 40), ("retry", 40), ("throttled_connection", 40)])
def test_what_goes_back_with_a_wait_is_not_claimed_before(queue, outcome, wait):
    now = one(queue.db, "select now()")
    queue.add(1, at=now)
    queue.record(queue.claim(now), outcome, error="why", wait=wait)
    queue.db.execute("update private.connection_state set ready_at = now()")
    assert queue.claim(now + timedelta(seconds=39)).jobs == []
    assert len(queue.run(now + timedelta(seconds=39), 60)) == 1
