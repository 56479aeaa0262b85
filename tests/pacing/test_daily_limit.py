"""So many a day, by the connection's own calendar."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.pacing.limiter import NOON


def local(zone: str, *when: int) -> datetime:
    return datetime(*when, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_what_is_beyond_the_limit_waits_for_the_next_day_and_says_so(queue):
    queue.settings(daily_limit=30)
    queue.add(50)
    assert len(queue.run(NOON, 3600)) == 30
    midnight = NOON.replace(day=3, hour=0)
    assert queue.claim(NOON).next_ready_at == midnight
    told = {(row["waiting_reason"], row["waiting_until"]) for row in queue.rows()[30:]}
    assert told == {("the daily limit of 30 messages is reached", midnight)}
    assert len(queue.run(midnight, 3600)) == 20


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Asia/Kolkata", (2026, 3, 2, 23, 59, 59), (2026, 3, 3, 0, 0)),
        ("Pacific/Kiritimati", (2026, 3, 2, 23, 59, 59), (2026, 3, 3, 0, 0)),
        ("America/Santiago", (2026, 9, 5, 23, 59, 59), (2026, 9, 6, 1, 0)),  # there is no midnight
        ("Australia/Lord_Howe", (2026, 10, 4, 23, 59, 59), (2026, 10, 5, 0, 0)),  # a day of 23 h 30 min
    ],
)
def test_a_day_begins_when_the_date_changes_in_the_zone_of_the_connection(queue, zone, before, after):
    queue.settings(daily_limit=5, timezone=zone)
    queue.add(20, at=NOON.replace(year=2026, month=1))
    assert len(queue.claim(local(zone, *before)).jobs) == 5
    assert queue.claim(local(zone, *before)).next_ready_at == local(zone, *after)
    assert len(queue.claim(local(zone, *after)).jobs) == 5


def test_a_midnight_that_comes_twice_starts_one_day(queue):
    queue.settings(daily_limit=5, timezone="Atlantic/Azores")
    queue.add(20, at=NOON)
    first = datetime(2026, 10, 25, 0, tzinfo=UTC)
    assert len(queue.claim(first - timedelta(seconds=1)).jobs) == 5
    assert len(queue.claim(first).jobs) == 5
    assert queue.claim(first + timedelta(hours=1)).jobs == []


def test_no_slot_lies_beyond_the_day_that_it_counts_for(queue):
    queue.settings(messages=50, period_seconds=1, daily_limit=1000)
    queue.add(200)
    midnight = NOON.replace(day=3, hour=0)
    slots = queue.claim(midnight - timedelta(seconds=0.3), seats=100).slots
    assert slots
    assert max(slots) < midnight
    late = queue.claim(midnight - timedelta(seconds=0.05), seats=100)
    assert late.jobs == []
    assert late.next_ready_at == midnight


def test_what_is_still_in_hand_at_midnight_must_not_be_dialled(queue):
    queue.settings(daily_limit=1000)
    queue.add(1)
    [job] = queue.claim(NOON).jobs
    assert datetime.fromisoformat(job["send_until"]) == NOON.replace(day=3, hour=0)


@pytest.mark.parametrize(
    "outcome", ["retry", "failed", "stopped", "released", "throttled_recipient", "throttled_connection"]
)
def test_what_did_not_go_out_does_not_count(queue, outcome):
    queue.settings(daily_limit=5)
    now = datetime.now(UTC)
    queue.add(20, at=now)
    claimed = queue.claim(now)
    queue.record(claimed, outcome, error="so it goes", wait=0)
    assert queue.state()["sent_today"] == 0
    assert datetime.fromisoformat(queue.state()["ready_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize("outcome", ["sent", "unconfirmed", "handed_over"])
def test_what_went_out_or_may_have_counts(queue, outcome):
    queue.settings(daily_limit=5)
    now = datetime.now(UTC)
    queue.add(20, at=now)
    queue.record(queue.claim(now), outcome, error="so it goes", wait=60)
    assert queue.state()["sent_today"] == 5


def test_what_is_handed_back_after_midnight_gives_the_new_day_nothing(queue):
    queue.settings(daily_limit=5)
    now = datetime.now(UTC)
    queue.add(20, at=now - timedelta(days=2))
    yesterday = queue.claim(now - timedelta(days=1))
    queue.claim(now)
    queue.record(yesterday, "released", wait=0)
    assert queue.state()["sent_today"] == 5


def test_usage_begins_anew_on_the_first_claim_of_a_day(queue):
    queue.settings(daily_limit=5)
    queue.add(20)
    queue.claim(NOON, seats=2)
    assert len(queue.claim(NOON + timedelta(days=3)).jobs) == 5


def test_where_the_limit_says_so_the_rest_fails_with_the_reason(queue):
    queue.settings(daily_limit=30, at_daily_limit="fail")
    queue.add(50)
    queue.run(NOON, 60)
    failed = [row for row in queue.rows() if row["status"] == "failed"]
    assert len(failed) == 20
    assert {row["error"] for row in failed} == {"Not sent: the daily limit of 30 messages is reached."}
    assert queue.waiting() == 0


def test_a_limit_of_nothing_sends_nothing(queue):
    queue.settings(daily_limit=0)
    queue.add(1)
    assert queue.claim(NOON).jobs == []


@pytest.mark.parametrize(
    "also",
    [
        "update connection_settings set window_start = '13:00', window_end = '14:00'",
        "update connection_settings set enabled = false",
        "update connections set connected = false",
        "update private.connection_state set paused_reason = 'away', probe_at = 'infinity'",
        "insert into private.connection_owners (connection_id, is_held) values ('shop', true)",
    ],
)
def test_where_something_else_stops_it_too_a_limit_that_fails_does_not_fail_anything_yet(queue, also):
    queue.settings(daily_limit=0, at_daily_limit="fail")
    queue.add(1)
    queue.db.execute(also)
    queue.db.execute("update private.connection_state set ready_at = %s", (NOON,))
    queue.claim(NOON)
    assert (queue.waiting(), queue.rows()[0]["waiting_reason"] is not None) == (1, True)


def test_what_is_due_on_another_day_does_not_fail_by_today_s_limit(queue):
    queue.settings(daily_limit=1, at_daily_limit="fail")
    queue.add(2)
    queue.add(1, at=NOON + timedelta(days=1))
    queue.run(NOON, 60)
    assert (queue.state()["sent_today"], queue.waiting()) == (1, 1)
    assert len(queue.claim(NOON + timedelta(days=1)).jobs) == 1


def test_with_hours_the_next_day_begins_when_they_do(queue):
    queue.settings(daily_limit=5, window_start="09:00", window_end="18:00", timezone="Asia/Kolkata")
    queue.add(20)
    ten = local("Asia/Kolkata", 2026, 3, 3, 10)
    assert len(queue.claim(ten).jobs) == 5
    assert queue.claim(ten).next_ready_at == local("Asia/Kolkata", 2026, 3, 4, 9)


def test_a_number_that_warms_up_sends_more_every_day(queue):
    queue.settings(daily_limit=50, warm_up_from="2026-03-02", warm_up_days=4, warm_up_limit=10)
    queue.add(300)
    assert [len(queue.run(NOON + timedelta(days=day), 60)) for day in range(6)] == [10, 20, 30, 40, 50, 50]
