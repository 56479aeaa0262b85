"""A recipient is left alone for a while on a connection: WhatsApp's pair limit, or whatever the settings say."""

from datetime import timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import NOON, gaps

SIX = timedelta(seconds=6)


def test_the_cloud_api_s_pair_limit_holds_without_settings(queue):
    queue.add(5, recipient="+919800000001")
    slots = queue.run(NOON, 60, gateway="cloud")
    assert len(slots) == 5
    assert all(6 <= gap < 6.3 for gap in gaps(slots))


def test_other_gateways_have_no_pair_limit(queue):
    queue.add(5, recipient="+919800000001")
    assert queue.run(NOON, 1, gateway="waha") == [0] * 5


@pytest.mark.parametrize(("interval", "at_once"), [(0, 5), (60, 1)])
def test_the_settings_may_say_otherwise(queue, interval, at_once):
    queue.settings(recipient_interval_seconds=interval)
    queue.add(5, recipient="+919800000001")
    assert len(queue.claim(NOON, gateway="cloud").jobs) == at_once


def test_what_waits_for_its_recipient_says_so_and_holds_nobody_up(queue):
    queue.add(3, recipient="+447700900123")
    queue.add(5, at=NOON + timedelta(seconds=0.001))
    sent = queue.claim(NOON + timedelta(seconds=1), gateway="cloud").jobs
    assert len({job["recipient"] for job in sent}) == len(sent) == 6
    waiting = [row for row in queue.rows() if row["waiting_reason"]]
    assert {row["waiting_reason"] for row in waiting} == {"its recipient got a message a moment ago"}
    assert sorted(round((row["waiting_until"] - NOON).total_seconds()) for row in waiting) == [7, 13]


def test_a_recipient_is_free_on_another_connection(queue):
    queue.add(1, "shop", recipient="+919800000001")
    queue.add(1, "till", recipient="+919800000001")
    assert len(queue.claim(NOON, gateway="cloud").jobs) == 2


def test_a_slot_is_not_lost_on_whom_has_to_wait(queue):
    queue.settings(messages=1, period_seconds=1, recipient_interval_seconds=30)
    queue.add(4, recipient="+447700900123")
    queue.add(10, at=NOON + timedelta(seconds=0.001))
    slots = queue.run(NOON + timedelta(seconds=1), 10)
    assert len(slots) == 10
    assert max(gaps(slots)) < 1.1


def test_whom_the_gateway_says_is_written_to_too_fast_is_left_alone_that_long(queue):
    now = one(queue.db, "select now()")
    queue.add(1, at=now, recipient="+919800000001")
    claimed = queue.claim(now, gateway="cloud")
    queue.record(claimed, "throttled_recipient", error="pair limit", wait=40)
    queue.add(1, at=now, recipient="+919800000001")
    assert queue.claim(now + timedelta(seconds=38), gateway="cloud").jobs == []
    assert len(queue.run(now + timedelta(seconds=38), 15, gateway="cloud")) == 2


def test_only_recipients_of_the_last_minutes_are_remembered(queue):
    for minute in range(20):
        queue.add(50, at=NOON + timedelta(minutes=minute))
        queue.claim(NOON + timedelta(minutes=minute), seats=50, gateway="cloud")
    assert one(queue.db, "select count(*) from private.recipient_state") <= 150


def test_two_to_somebody_who_was_left_alone_for_long_keep_their_distance(queue):
    queue.add(1, recipient="+919800000001")
    queue.claim(NOON, gateway="cloud")
    later = NOON + timedelta(seconds=40)
    queue.add(2, at=later, recipient="+919800000001")
    assert len(queue.claim(later, gateway="cloud").jobs) == 1
    assert len(queue.claim(later + SIX, gateway="cloud").jobs) == 0
    assert len(queue.claim(later + timedelta(seconds=6.5), gateway="cloud").jobs) == 1


def test_a_reason_that_is_over_is_told_no_more(queue):
    now = one(queue.db, "select now()")
    queue.add(1, at=now, recipient="+919800000001")
    queue.record(queue.claim(now, gateway="cloud"), "throttled_recipient", error="pair limit", wait=20)
    later = now + timedelta(seconds=22)
    assert len(queue.claim(later, gateway="cloud").jobs) == 1
    queue.add(1, at=later, recipient="+919800000001")
    assert queue.claim(later + timedelta(seconds=1), gateway="cloud").jobs == []
    [row] = [row for row in queue.rows() if row["job_status"] == "queued"]
    assert row["waiting_reason"] == "its recipient got a message a moment ago"
