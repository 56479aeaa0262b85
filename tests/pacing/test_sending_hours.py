"""Quiet hours, by the wall clock of the connection."""

from datetime import timedelta

import pytest

from tests.pacing.limiter import NOON
from tests.pacing.test_daily_limit import local


def test_outside_the_hours_messages_wait_until_they_begin_and_say_so(queue):
    queue.settings(window_start="08:00", window_end="20:00", timezone="Asia/Kolkata")
    queue.add(3)
    night, morning = local("Asia/Kolkata", 2026, 3, 2, 23), local("Asia/Kolkata", 2026, 3, 3, 8)
    claimed = queue.claim(night)
    assert (claimed.jobs, claimed.next_ready_at) == ([], morning)
    told = {(row["waiting_reason"], row["waiting_until"]) for row in queue.rows()}
    assert told == {("outside the sending hours 08:00 to 20:00", morning)}
    assert len(queue.claim(morning).jobs) == 3


@pytest.mark.parametrize(
    ("zone", "start", "end", "closed", "opens"),
    [
        ("UTC", "20:00", "08:00", (2026, 3, 2, 8), (2026, 3, 2, 20)),  # overnight
        ("UTC", "20:00", "08:00", (2026, 3, 2, 19, 59, 59), (2026, 3, 2, 20)),
        (
            "America/Santiago",
            "00:30",
            "12:00",
            (2026, 9, 5, 23),
            (2026, 9, 6, 1, 30),
        ),  # 00:30 does not exist that night
        ("Australia/Lord_Howe", "02:15", "12:00", (2026, 10, 4, 1, 50), (2026, 10, 4, 2, 45)),  # nor does 02:15 there
        ("Australia/Lord_Howe", "08:00", "12:00", (2026, 4, 4, 22), (2026, 4, 5, 8)),  # half an hour more of night
        ("Europe/Berlin", "08:00", "12:00", (2026, 3, 28, 22), (2026, 3, 29, 8)),  # an hour less
    ],
)
def test_hours_begin_by_the_wall_clock_also_where_it_is_changed(queue, zone, start, end, closed, opens):
    queue.settings(window_start=start, window_end=end, timezone=zone)
    queue.add(1, at=NOON.replace(month=1))
    claimed = queue.claim(local(zone, *closed))
    assert (claimed.jobs, claimed.next_ready_at) == ([], local(zone, *opens))
    assert len(queue.claim(local(zone, *opens)).jobs) == 1


@pytest.mark.parametrize(
    "open_at", [(2026, 3, 2, 20), (2026, 3, 2, 23, 59, 59), (2026, 3, 3, 0), (2026, 3, 3, 7, 59, 59)]
)
def test_hours_may_reach_over_midnight(queue, open_at):
    queue.settings(window_start="20:00", window_end="08:00", timezone="Asia/Kolkata")
    queue.add(1, at=NOON - timedelta(days=1))
    assert len(queue.claim(local("Asia/Kolkata", *open_at)).jobs) == 1


def test_no_slot_lies_beyond_the_hours_and_none_may_be_dialled_after_them(queue):
    queue.settings(messages=50, period_seconds=1, window_start="08:00", window_end="20:00")
    queue.add(200)
    evening = NOON.replace(hour=20)
    claimed = queue.claim(evening - timedelta(seconds=0.3), seats=100)
    assert claimed.jobs
    assert max(claimed.slots) < evening
    assert max(job["send_until"] for job in claimed.jobs) <= evening.isoformat()
    late = queue.claim(evening - timedelta(seconds=0.05), seats=100)
    assert (late.jobs, late.next_ready_at) == ([], evening)
    assert queue.claim(evening).next_ready_at == NOON.replace(day=3, hour=8)
