"""Seats go round: neither a long queue nor a blocked one keeps others waiting. And a claim costs what it takes."""

from datetime import timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import NOON

READ = "select sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables"


def served(claimed):
    return {job["connection_id"] for job in claimed.jobs}


def test_a_long_queue_does_not_starve_those_with_one_message(queue, size):
    queue.add(size(100_000), "mall")
    for n in range(50):
        queue.add(1, f"stall-{n}", at=NOON + timedelta(seconds=1))
    later = NOON + timedelta(seconds=2)
    seen = set()
    for _ in range(4):
        claimed = queue.claim(later, seats=20)
        seen |= served(claimed)
    assert len(seen) == 51


def test_with_one_seat_connections_take_turns(queue):
    for name in "abc":
        queue.add(10, name)
    order = [served(queue.claim(NOON + timedelta(seconds=n), seats=1)).pop() for n in range(1, 7)]
    assert order[:3] == order[3:]
    assert len(set(order)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"enabled": False},
        {"daily_limit": 0},
        {"window_start": "01:00", "window_end": "01:01"},
        {"messages": 1, "period_seconds": 3600},
    ],
)
def test_connections_that_may_not_send_take_no_seats(queue, settings):
    for n in range(30):
        queue.settings(f"quiet-{n}", **settings)
        queue.add(40, f"quiet-{n}")
    queue.add(20, "shop", at=NOON + timedelta(seconds=1))
    later, sent = NOON + timedelta(seconds=2), 0
    for _ in range(4):
        sent += sum(job["connection_id"] == "shop" for job in queue.claim(later, seats=20).jobs)
    assert sent == 20


def test_a_connection_that_has_enough_of_the_caller_s_seats_is_passed_over(queue):
    queue.add(10, "slow")
    queue.add(10, "shop")
    claimed = queue.claim(NOON, busy=["slow"])
    assert served(claimed) == {"shop"}
    assert claimed.next_ready_at is None
    assert served(queue.claim(NOON)) == {"slow"}


def test_a_blocked_connection_is_looked_at_once_not_at_every_claim(queue):
    queue.settings(enabled=False)
    queue.add(500)
    queue.claim(NOON)
    before = queue.state()
    for n in range(5):
        queue.add(1, "till", at=NOON + timedelta(seconds=n))
        queue.claim(NOON + timedelta(seconds=n))
    assert queue.state() == before


@pytest.fixture(params=["of empty tables", "of a quiet day"])
def stale_statistics(request, queue):
    db = queue.db
    if request.param == "of a quiet day":
        queue.add(2)
        db.execute("update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'm'")
        db.execute("update broadcast_jobs set status = 'completed'")
    db.execute("analyze broadcast_jobs, scheduled_messages, broadcast_messages")
    db.execute("truncate broadcast_jobs, scheduled_messages, broadcast_messages, private.connection_state")


@pytest.mark.usefixtures("stale_statistics")
def test_a_claim_reads_no_table_from_end_to_end_whatever_the_statistics_say(queue, size):
    db = queue.db
    for n in range(10):
        queue.settings(f"shop-{n}", messages=80, period_seconds=1, recipient_interval_seconds=6, daily_limit=1000)
        queue.add(size(20_000), f"shop-{n}")
    for n in range(8):  # functions change to generic plans on their sixth call
        with db.transaction():
            before = one(db, READ)
            claimed = queue.claim(NOON + timedelta(minutes=n), seats=50)
            rows = one(db, READ) - before
    assert len(claimed.jobs) == 50
    assert rows < 12_000  # a thousand rows of the waiting ones are told when


@pytest.mark.usefixtures("stale_statistics")
def test_a_claim_that_tells_nothing_reads_little(queue, size):
    db = queue.db
    for n in range(10):
        queue.add(size(20_000), f"shop-{n}")
    for n in range(8):
        with db.transaction():
            before = one(db, READ)
            claimed = queue.claim(NOON + timedelta(minutes=n), seats=50)
            rows = one(db, READ) - before
    assert len(claimed.jobs) == 50
    assert rows < 50 * 12
