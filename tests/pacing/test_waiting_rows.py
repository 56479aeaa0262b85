"""Who waits is told why, and until about when; who waits no longer is told nothing."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.helpers.rows import add_connections, one
from tests.pacing.limiter import NOON

FAR = timedelta(days=400)


def reasons(queue, connection="shop"):
    return {row["waiting_reason"] for row in queue.rows(connection) if row["job_status"] == "queued"}


def pause(queue, reason="WAHA is away"):
    """As the outcomes of a claim do it."""
    now = one(queue.db, "select now()")
    queue.add(1, at=now)
    queue.record(queue.claim(now), "stopped", error=reason, wait=0)


def test_a_connection_that_is_switched_off_sends_nothing_and_says_so(queue):
    queue.settings(enabled=False)
    queue.add(3)
    claimed = queue.claim(NOON)
    assert (claimed.jobs, claimed.next_ready_at) == ([], None)
    assert reasons(queue) == {"this connection is switched off"}
    assert {row["waiting_until"] for row in queue.rows()} == {None}


def test_a_phone_that_is_not_connected_sends_nothing_and_says_so(queue):
    add_connections(queue.db, "shop")
    queue.db.execute("update connections set connected = false")
    queue.add(3)
    assert queue.claim(NOON).jobs == []
    assert reasons(queue) == {"the WhatsApp connection is not connected"}


def test_a_paused_connection_sends_nothing_and_says_why_and_when_it_is_tried_again(queue):
    pause(queue, "WAHA is away")
    now = one(queue.db, "select now()")
    queue.add(3, at=now)
    assert queue.claim(now + FAR).jobs == []
    assert reasons(queue) == {"the connection is paused: WAHA is away"}
    assert {row["waiting_until"] for row in queue.rows()} == {datetime.fromisoformat(queue.state()["probe_at"])}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"enabled": False}, {"enabled": True}),
        ({"window_start": "01:00", "window_end": "01:01"}, {"window_start": None, "window_end": None}),
    ],
)
def test_a_change_of_the_settings_takes_effect_at_once_and_clears_the_reason(queue, before, after):
    queue.settings(**before)
    queue.add(30, at=datetime.now(UTC))
    assert queue.claim(datetime.now(UTC) + timedelta(seconds=1)).jobs == []
    queue.settings(**after)
    claimed = queue.claim(datetime.now(UTC) + timedelta(seconds=1), seats=10)
    assert len(claimed.jobs) == 10
    assert reasons(queue) == {None}


def test_settings_that_are_deleted_no_longer_hold(queue):
    queue.settings(enabled=False)
    queue.add(1)
    queue.claim(NOON)
    queue.db.execute("delete from connection_settings")
    assert len(queue.claim(datetime.now(UTC) + FAR).jobs) == 1


def test_a_phone_that_is_connected_again_is_looked_at_at_once(queue):
    add_connections(queue.db, "shop")
    queue.db.execute("update connections set connected = false")
    queue.add(1)
    assert queue.claim(NOON).next_ready_at is None
    queue.db.execute("update connections set connected = true")
    assert len(queue.claim(datetime.now(UTC) + FAR).jobs) == 1


def test_a_connections_table_without_the_column_pauses_nobody(queue):
    with queue.db.transaction(force_rollback=True):
        queue.db.execute("alter table connections drop column connected")
        queue.add(1)
        queue.db.execute("update connections set name = 'changed'")
        assert len(queue.claim(NOON).jobs) == 1


def test_who_waits_for_a_slot_is_told_the_limit_and_about_when(queue):
    queue.settings(messages=15, period_seconds=60)
    queue.add(100)
    queue.claim(NOON)
    rows = queue.rows()[1:]
    assert {row["waiting_reason"] for row in rows} == {"its turn: at most 15 in 60 s"}
    for place, row in enumerate(rows, 1):
        assert row["waiting_until"] - NOON == pytest.approx(timedelta(seconds=4.12 * place), abs=timedelta(seconds=0.1))


def test_who_comes_later_is_told_to_wait_behind_the_others(queue):
    queue.settings(messages=15, period_seconds=60)
    queue.add(100)
    queue.claim(NOON)
    later = NOON + timedelta(seconds=0.01)
    queue.add(2, at=later)
    queue.claim(later)
    last, newer, newest = queue.rows()[-3:]
    assert newer["waiting_until"] - last["waiting_until"] == timedelta(seconds=4.12)
    assert newest["waiting_until"] - newer["waiting_until"] == timedelta(seconds=4.12)


def test_who_waits_less_than_a_second_is_told_nothing(queue):
    queue.settings(messages=29, period_seconds=1)
    queue.add(60)
    queue.claim(NOON, seats=5)
    told = [row for row in queue.rows() if row["waiting_reason"]]
    assert min(row["waiting_until"] for row in told) > NOON + timedelta(seconds=1)
    assert 25 < len(told) < 40


def test_thousands_are_told_in_portions(queue, size):
    count = size(30_000)
    queue.settings(enabled=False)
    queue.add(count)
    claims = 0
    while queue.claim(NOON).next_ready_at is not None:
        claims += 1
    assert claims <= count / 1000 + 1
    assert reasons(queue) == {"this connection is switched off"}


def test_a_new_message_of_a_blocked_connection_is_told_alone(queue):
    queue.settings(enabled=False)
    queue.add(50)
    queue.claim(NOON)
    before = {row["id"]: row["updated_at"] for row in queue.rows()}
    queue.add(1, at=NOON + timedelta(seconds=1))
    queue.claim(NOON + timedelta(seconds=1))
    assert reasons(queue) == {"this connection is switched off"}
    assert sum(row["updated_at"] != before.get(row["id"]) for row in queue.rows()) == 1


def test_a_row_that_somebody_is_editing_is_not_waited_for(queue, stack):
    queue.settings(enabled=False)
    queue.add(3)
    with psycopg.connect(stack["DATABASE_URL"]) as editor:
        editor.execute("select from scheduled_messages limit 1 for update")
        queue.db.execute("set lock_timeout = '1s'")
        queue.claim(NOON)
    assert sum(row["waiting_reason"] is not None for row in queue.rows()) == 2


def test_who_is_sent_is_no_longer_told_to_wait(queue):
    queue.settings(messages=1, period_seconds=60)
    now = one(queue.db, "select now()")
    queue.add(2, at=now)
    queue.claim(now)
    queue.record(queue.claim(now + timedelta(seconds=62)), "sent")
    assert [(row["status"], row["waiting_reason"]) for row in queue.rows()] == [("processing", None), ("sent", None)]
    assert queue.rows()[-1]["waiting_until"] is None


def test_what_waits_too_long_fails_with_what_it_waited_for(queue):
    queue.settings(enabled=False)
    queue.add(2)
    queue.claim(NOON)
    queue.db.execute("update broadcast_jobs set expires_at = now() - interval '1 second'")
    queue.db.execute("select rescue_broadcast_jobs()")
    assert {row["status"] for row in queue.rows()} == {"failed"}
    assert {row["error"] for row in queue.rows()} == {
        "Not sent in time. It waited for: this connection is switched off."
    }


def test_what_is_too_late_is_not_sent_before_the_rescue_comes(queue):
    queue.add(2)
    queue.db.execute("update broadcast_jobs set expires_at = %s", (NOON,))
    claimed = queue.claim(NOON + timedelta(seconds=1))
    assert (claimed.jobs, claimed.next_ready_at) == ([], None)


def expired(queue):
    """What the rows say that waited too long."""
    queue.db.execute("update broadcast_jobs set expires_at = now() - interval '1 second'")
    queue.db.execute("select rescue_broadcast_jobs()")
    return {row["error"] for row in queue.rows()}


def test_what_waits_too_long_says_the_last_that_it_waited_for(queue):
    """A gateway that was busy for a moment is not why, where the connection was switched off since."""
    now = one(queue.db, "select now()")
    queue.add(1, at=now)
    queue.record(queue.claim(now), "retry", error="Busy", wait=1)
    assert [row["error"] for row in queue.rows()] == ["Busy"]
    queue.settings(enabled=False)
    queue.claim(now + FAR)
    assert expired(queue) == {"Not sent in time. It waited for: this connection is switched off."}


def test_what_waits_too_long_says_what_it_was_told_or_that_it_was_not_its_turn(queue):
    now = one(queue.db, "select now()")
    queue.add(1, at=now)
    queue.record(queue.claim(now), "retry", error="Busy", wait=60)
    queue.add(1, "till", at=now)
    expired(queue)
    assert [row["error"] for row in queue.rows()] == ["Not sent in time. It waited for: Busy."]
    assert [row["error"] for row in queue.rows("till")] == [
        "Not sent in time. It waited for: its turn on this connection."
    ]


def test_who_waits_for_a_paused_connection_is_told_of_each_new_try(queue):
    pause(queue, "WAHA is away")
    queue.add(3, at=one(queue.db, "select now()"))
    seen = set()
    for _ in range(4):
        queue.claim(one(queue.db, "select now()") + FAR)
        [until] = {row["waiting_until"] for row in queue.rows()}
        assert until == datetime.fromisoformat(queue.state()["probe_at"])
        seen.add(until)
        queue.db.execute("update private.connection_state set probe_at = now()")
        queue.db.execute("select finish_probes('{}', array['shop']) from take_probes()")
    assert len(seen) == 4


@pytest.mark.parametrize("error", [None, "The gateway is away"])
def test_what_is_handed_back_without_a_word_still_says_what_its_last_try_met(queue, error):
    now = one(queue.db, "select now()")
    queue.add(1, at=now)
    queue.record(queue.claim(now), "retry", error="try 2 of 3 at 12:00 UTC: Busy", wait=1)
    queue.record(queue.claim(now + timedelta(seconds=2)), "released", error=error, wait=0)
    [row] = queue.rows()
    told = (row["error"], row["waiting_reason"])
    assert told == ((None, error) if error else ("try 2 of 3 at 12:00 UTC: Busy", None))
