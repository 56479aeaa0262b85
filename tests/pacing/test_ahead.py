"""A job that is due within the claim's `ahead` is given with its instant for a slot, if nothing speaks against it."""

from datetime import timedelta

import pytest

from tests.pacing.limiter import NOON

BEFORE = NOON - timedelta(seconds=0.5)
MIDNIGHT = NOON + timedelta(hours=12)


def test_a_connection_that_nothing_spaces_gives_it_at_once(queue):
    queue.add(2)
    claimed = queue.claim(BEFORE, ahead=0.9)
    assert claimed.slots == [NOON, NOON]
    assert queue.claim(NOON).jobs == []


@pytest.mark.parametrize(("seconds", "ahead"), [(0.5, 0.0), (0.5, 0.4), (30, 60.0), (1.1, 2.0)])
def test_not_what_is_due_later_than_that_nor_by_more_than_a_second(queue, seconds, ahead):
    """A daemon that asks for minutes ahead would keep others and an author's edit from what it holds."""
    queue.add(1)
    assert queue.claim(NOON - timedelta(seconds=seconds), ahead=ahead).jobs == []
    assert queue.claim(NOON).slots == [NOON]


def test_a_paced_connection_keeps_it_until_its_instant(queue):
    queue.settings(messages=1, period_seconds=12)
    queue.add(1)
    claimed = queue.claim(BEFORE, ahead=0.9)
    assert claimed.jobs == []
    assert claimed.next_ready_at == NOON
    assert len(queue.claim(NOON).jobs) == 1


def test_what_is_due_at_midnight_is_not_counted_for_the_day_before(queue):
    queue.settings(daily_limit=5)
    queue.add(1, at=MIDNIGHT)
    assert queue.claim(MIDNIGHT - timedelta(seconds=0.5), ahead=0.9).jobs == []
    assert len(queue.claim(MIDNIGHT).jobs) == 1
    assert queue.state()["day"] == str(MIDNIGHT.date())


def test_two_to_the_same_person_keep_their_distance(queue):
    queue.settings(recipient_interval_seconds=6)
    queue.add(2, recipient="+919876500000")
    [slot] = queue.claim(BEFORE, ahead=0.9).slots
    assert slot == NOON
    assert queue.claim(NOON + timedelta(seconds=6)).jobs == []
    assert len(queue.claim(NOON + timedelta(seconds=6.2)).jobs) == 1
