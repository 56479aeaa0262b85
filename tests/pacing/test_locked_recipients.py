"""Recipients to whom WhatsApp does not let a connection write for now, and those whom nothing reached."""

from datetime import timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import Queue

DAY = timedelta(days=1)
STRANGER, OTHER = "+919800000001", "+919800000002"
WORDS = "try 2 of 3 at 2026-11-27 08:00 UTC: WhatsApp does not let this number write to strangers"
REASON = "WhatsApp does not let this number write to strangers"


def now(queue):
    return one(queue.db, "select clock_timestamp()")


def lock(queue: Queue, gateway: str = "waha") -> None:
    queue.record(queue.claim(now(queue), 1, gateway), "locked_recipient", error=WORDS, wait=DAY.total_seconds())


def claimed(queue: Queue, gateway: str = "waha", after: timedelta = timedelta(0)) -> list[str]:
    """Whom the next claim would write to, after whatever slows the connection down."""
    queue.db.execute("update private.connection_state set ready_at = now(), arrival_at = now(), throttled_until = null")
    return [job["recipient"] for job in queue.claim(now(queue) + after, 20, gateway).jobs]


@pytest.mark.parametrize("gateway", ["waha", "cloud"])
def test_a_locked_recipient_waits_the_day_with_all_that_is_for_them_and_others_go_on(queue, gateway):
    for who in (STRANGER, STRANGER, OTHER):
        queue.add(1, at=now(queue), recipient=who)
    queue.add(1, "till", at=now(queue), recipient=STRANGER)
    lock(queue, gateway)
    queue.add(1, at=now(queue), recipient=STRANGER)
    assert sorted(claimed(queue, gateway)) == [STRANGER, OTHER]  # the first by the other connection
    rows = [row for row in queue.rows() if row["job_status"] == "queued"]
    assert len(rows) == 3
    for row in rows:
        assert row["waiting_reason"].endswith(REASON)
        assert timedelta(hours=23, minutes=59) < row["waiting_until"] - now(queue) < timedelta(days=1, seconds=30)
    attempts = "select array_agg(attempts order by attempts) from broadcast_jobs where status = 'queued'"
    assert one(queue.db, attempts) == [0, 0, 1]
    assert STRANGER in claimed(queue, gateway, after=DAY)


def test_what_may_not_go_out_as_late_as_that_fails_at_once(queue):
    queue.add(1, at=now(queue), recipient=STRANGER)
    queue.db.execute("update broadcast_jobs set expires_at = now() + interval '1 hour'")
    lock(queue)
    [row] = queue.rows()
    assert (row["status"], row["job_status"]) == ("failed", "failed")
    assert row["error"] == f"{REASON}. By the time it might, it would be too late"
    queue.add(1, at=now(queue), recipient=STRANGER)
    assert claimed(queue) == []
    assert {row["waiting_reason"] for row in queue.rows() if row["status"] == "processing"} == {REASON}


def test_it_slows_its_connection_down(queue):
    queue.add(2, at=now(queue))
    lock(queue)
    first = queue.state()["throttle_seconds"]
    assert first > 0
    queue.db.execute(
        "update private.connection_state set ready_at = now(), arrival_at = now(), throttled_until = now()"
    )
    lock(queue)
    assert queue.state()["throttle_seconds"] > first


def test_a_waiting_row_keeps_its_own_reason_when_the_connection_has_one_too(queue):
    queue.settings(messages=1, period_seconds=60)
    queue.add(1, at=now(queue), recipient=STRANGER)
    lock(queue)
    queue.add(3, at=now(queue))
    queue.db.execute("update private.connection_state set ready_at = now()")
    queue.claim(now(queue))
    reasons = {row["contact_id"]: row["waiting_reason"] for row in queue.rows()}
    assert reasons.pop(STRANGER) == WORDS
    assert {reason.split(":")[0] for reason in reasons.values() if reason} == {"its turn"}
    queue.settings(enabled=False)
    queue.claim(now(queue))
    assert {row["waiting_reason"] for row in queue.rows()} == {"this connection is switched off"}


@pytest.mark.parametrize(("outcome", "at_once"), [("failed", True), ("released", True), ("sent", False)])
def test_only_what_may_have_reached_its_recipient_takes_their_seconds(queue, outcome, at_once):
    queue.add(1, at=now(queue), recipient=STRANGER)
    queue.record(queue.claim(now(queue), 20, "cloud"), outcome, error="why")
    queue.add(1, at=now(queue), recipient=STRANGER)
    assert (claimed(queue, "cloud") != []) == at_once


def test_what_was_put_off_for_one_that_then_failed_goes_at_once(queue):
    queue.add(3, at=now(queue), recipient=STRANGER)
    first = queue.claim(now(queue), 20, "cloud")
    assert len(first.jobs) == 1
    queue.record(first, "failed", error="WhatsApp takes JPEG and PNG pictures")
    second = queue.claim(now(queue), 20, "cloud")
    assert len(second.jobs) == 1
    queue.record(second, "sent")
    assert queue.claim(now(queue), 20, "cloud").jobs == []


def only(queue: Queue) -> dict:
    """The single waiting job."""
    [job] = queue.db.execute("select * from broadcast_jobs where status = 'queued'").fetchall()
    return dict(job)


def test_a_retry_waits_its_own_time_though_its_recipient_is_free(queue):
    queue.add(1, at=now(queue), recipient=STRANGER)
    queue.record(queue.claim(now(queue), 20, "cloud"), "retry", error="Busy", wait=4)
    tried = only(queue)
    queue.add(1, at=now(queue), recipient=STRANGER)
    second = queue.claim(now(queue), 20, "cloud")
    assert len(second.jobs) == 1
    queue.record(second, "failed", error="WhatsApp takes JPEG and PNG pictures")
    assert only(queue)["available_at"] == tried["available_at"]
    assert claimed(queue, "cloud") == []


def test_a_late_answer_frees_its_recipient_of_its_own_seconds_alone(queue):
    """By then another message has gone out to them."""
    queue.add(2, at=now(queue), recipient=STRANGER)
    first = queue.claim(now(queue), 20, "cloud")
    later = now(queue) + timedelta(seconds=6.5)
    second = queue.claim(later, 20, "cloud")
    assert (len(first.jobs), len(second.jobs)) == (1, 1)
    queue.record(first, "failed", error="why")
    queue.add(1, at=now(queue), recipient=STRANGER)
    assert claimed(queue, "cloud", timedelta(seconds=7.5)) == []
    assert claimed(queue, "cloud", timedelta(seconds=13)) == [STRANGER]


@pytest.mark.parametrize("waits", [(90.0, 20.0), (20.0, 90.0)])
def test_of_two_refusals_of_a_recipient_the_longer_wait_holds(queue, waits):
    queue.add(2, at=now(queue), recipient=STRANGER)
    taken = [queue.claim(now(queue), 1, "waha") for _ in range(2)]
    for claim, wait in zip(taken, waits, strict=True):
        queue.record(claim, "throttled_recipient", error="too fast", wait=wait)
    queue.db.execute("update broadcast_jobs set available_at = now()")
    assert claimed(queue, after=timedelta(seconds=60)) == []
    assert claimed(queue, after=timedelta(seconds=95)) != []
