"""What is written to one goes before what is written to many, on its own connection, however many those are."""

from datetime import datetime, timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import NOON, Claimed, Queue

ASHA = "+919999999999"
SECOND = timedelta(seconds=1)


def whom(claimed: Claimed) -> list[str]:
    """To whom a claim's jobs go, in the order in which they are given."""
    return [job["recipient"] for job in claimed.jobs]


def turns(queue: Queue, now: datetime, number: int, connection: str = "shop", **options: object) -> list[str]:
    """Whom a connection writes to in its next turns, each when it is ready."""
    seen: list[str] = []
    for _ in range(50):
        claimed = queue.claim(now, **options)  # type: ignore[arg-type]
        seen += [job["recipient"] for job in claimed.jobs if job["connection_id"] == connection]
        if len(seen) >= number:
            return seen[:number]
        assert claimed.next_ready_at
        now = max(now, claimed.next_ready_at)
    raise AssertionError(f"only {seen} in fifty turns")


@pytest.mark.parametrize(
    "settings",
    [
        {"messages": 15, "period_seconds": 60},
        {"messages": 15, "period_seconds": 60, "jitter_seconds": 1},
        {"messages": 15, "period_seconds": 60, "recipient_interval_seconds": 6},
        {"daily_limit": 3},
        {},
    ],
    ids=lambda settings: " ".join(settings) or "unpaced",
)
def test_at_the_connections_next_slot_the_single_message_goes_first(queue, size, settings):
    if settings:
        queue.settings(**settings)
    queue.add(size(5_000), priority=1)
    [first] = whom(queue.claim(NOON, seats=1))
    assert first != ASHA

    queue.add(1, recipient=ASHA, at=NOON + SECOND)  # it is the newest of all that wait

    then = turns(queue, NOON + 2 * SECOND, 2, seats=1)
    assert then[0] == ASHA
    assert then[1] != ASHA  # and the many go on


@pytest.mark.parametrize(
    "settings", [{}, {"messages": 6_000, "period_seconds": 60}], ids=lambda settings: " ".join(settings) or "unpaced"
)
def test_a_claim_of_many_seats_gives_the_single_ones_first_and_the_many_the_rest(queue, settings):
    if settings:
        queue.settings(**settings)
    queue.add(40, priority=1)
    queue.add(3, recipient=ASHA, at=NOON + SECOND)
    claimed = queue.claim(NOON + 2 * SECOND, seats=10)
    assert [r == ASHA for r in whom(claimed)] == [True] * 3 + [False] * 7
    assert claimed.slots == sorted(claimed.slots)


def test_a_slot_that_was_given_back_is_the_single_messages(queue):
    """A daemon had claimed some of the many, and was told to stop before it dialled them."""
    queue.settings(messages=15, period_seconds=60)
    now = one(queue.db, "select now()")
    queue.add(10, priority=1, at=now)
    queue.record(queue.claim(now), "released", wait=0)
    queue.add(1, recipient=ASHA, at=now + SECOND)
    assert turns(queue, now + 2 * SECOND, 1) == [ASHA]


@pytest.mark.parametrize("many", ["of the many waits", "of the single ones waits"])
def test_what_is_not_due_yet_keeps_nothing_else_waiting(queue, many):
    """A retry that waits for an hour, say."""
    of_the_many = many == "of the many waits"
    queue.add(500, at=NOON + timedelta(hours=1), priority=int(of_the_many))
    queue.add(1, recipient=ASHA, priority=int(not of_the_many))
    claimed = queue.claim(NOON)
    assert whom(claimed) == [ASHA]
    assert claimed.next_ready_at == NOON + timedelta(hours=1)


def test_other_connections_notice_nothing(queue):
    """Neither of the many nor of the single message: each has its own turn."""
    for name in ("a", "b"):
        queue.settings(name, messages=15, period_seconds=60)
    queue.add(500, "a", priority=1)
    queue.add(5, "b")
    slots = [slot for n in range(3) for slot in queue.claim(NOON + n * timedelta(seconds=4.12)).slots]
    assert len(slots) == 6
    queue.add(1, "a", recipient=ASHA, at=NOON + 9 * SECOND)
    later = queue.claim(NOON + timedelta(seconds=12.5))
    assert {job["connection_id"]: job["recipient"] == ASHA for job in later.jobs} == {"a": True, "b": False}


@pytest.mark.parametrize("priority", [2, 9, 32767, -1, -32768])
async def test_any_other_priority_counts_as_one_of_the_two(queue, parts, priority):
    """Only the service key writes one. Nothing may get stuck by it."""
    now = one(queue.db, "select now()")
    queue.add(1, at=now, priority=1)
    queue.db.execute(
        "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, priority)"
        " values ('shop', %s, 'x', now(), %s)",
        (ASHA, priority),
    )
    await (await parts()).scheduler.poll()
    seen = turns(queue, one(queue.db, "select clock_timestamp()") + SECOND, 2, seats=1)
    assert seen.index(ASHA) == (priority > 0)


def test_who_waits_is_told_a_time_before_that_of_the_many(queue):
    queue.settings(messages=15, period_seconds=60)
    queue.add(100, priority=1)
    queue.claim(NOON)
    queue.add(2, recipient=ASHA, at=NOON + SECOND)
    queue.claim(NOON + 2 * SECOND)
    rows = [row for row in queue.rows() if row["job_status"] == "queued"]
    asha = sorted(row["waiting_until"] for row in rows if row["contact_id"] == ASHA)
    step = timedelta(seconds=4.12)
    assert len(asha) == 2
    assert asha[-1] <= NOON + 2 * step + SECOND
    many = [row["waiting_until"] for row in rows if row["contact_id"] != ASHA]
    assert None not in many
    assert len(set(many)) == len(many) == 99  # one after the other
    assert {row["waiting_reason"] for row in rows} == {"its turn: at most 15 in 60 s"}


def test_many_that_come_while_others_wait_are_told_to_come_after_them(queue):
    queue.settings(messages=15, period_seconds=60)
    queue.add(10, recipient=ASHA)
    queue.add(10, priority=1)
    queue.claim(NOON)
    rows = [row for row in queue.rows() if row["job_status"] == "queued"]
    last = max(row["waiting_until"] for row in rows if row["contact_id"] == ASHA)
    assert all(row["waiting_until"] > last for row in rows if row["contact_id"] != ASHA)


def test_beyond_a_daily_limit_that_fails_what_is_written_to_many_waits(queue):
    queue.settings(daily_limit=1, at_daily_limit="fail")
    queue.add(3, priority=1)
    queue.add(2, recipient=ASHA, at=NOON)
    assert whom(queue.claim(NOON)) == [ASHA]
    queue.claim(NOON + SECOND)
    rest = [row for row in queue.rows() if row["job_status"] != "sending"]
    assert [row["status"] for row in rest if row["priority"] == 0] == ["failed"]
    assert [row["waiting_reason"] for row in rest if row["priority"] == 1] == [
        "the daily limit of 1 messages is reached"
    ] * 3
