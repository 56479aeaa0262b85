"""What cannot have a next occurrence has none, and says so when it is written; what can have one is not refused."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.accounts import User
from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.roles import Roles
from worker.daemon import Parts
from worker.recurrence.series import LAST_MOMENT, next_occurrence, parse
from worker.recurrence.times import local_anchor, parse_time, timezone

START = "2031-05-05T09:00:00+00:00"
NO_NEXT = "The series ends with this message: its next occurrence would lie beyond the year 2199."
# pattern, recurrence_end_at: refused
SENSELESS = [
    ("daily", "2031-05-05T08:59:59Z"),
    ("FREQ=MONTHLY;BYDAY=1MO", "2026-01-01T00:00:00Z"),
    ("FREQ=DAILY;UNTIL=20310504T090000Z", None),
    ("RRULE:FREQ=WEEKLY;UNTIL=20310505T085959Z;", None),
    ("freq=weekly;until=20310503", None),
    ("FREQ=YEARLY;UNTIL=20310504T200000", None),
    ("FREQ=DAILY;UNTIL=20310504T090000Z", "2040-01-01T00:00:00Z"),
]
SENSIBLE = [
    ("daily", "2031-05-05T09:00:00Z"),
    ("daily", None),
    ("FREQ=DAILY;UNTIL=20310505T090000Z", None),
    ("FREQ=DAILY;UNTIL=20310505", None),
    ("FREQ=DAILY;UNTIL=20310504", None),  # in a zone behind UTC it is that day still
    ("FREQ=DAILY;COUNT=1", None),
    ("FREQ=DAILY;UNTIL=20311399", None),  # the daemon says what is wrong with it
    ("FREQ=YEARLY;INTERVAL=100", None),
    ("FREQ=YEARLY;INTERVAL=168", None),
    ("FREQ=YEARLY;INTERVAL=200;BYMONTH=5,6", None),  # its next is in June
    ("FREQ=DAILY;INTERVAL=100;BYMONTHDAY=5", None),
]
ALONE = [
    ("FREQ=YEARLY;INTERVAL=200", None),
    ("RRULE:FREQ=YEARLY;INTERVAL=169", None),
    ("FREQ=MONTHLY;SKIP=BACKWARD;INTERVAL=2400;", None),
    ("FREQ=WEEKLY;INTERVAL=999999999", None),
    ("freq=daily;interval=70001", None),
]


def write(user: User, pattern: str, end: str | None, **columns: Any) -> Any:
    row = {
        "connection_id": user.connection_id, "contact_id": "+919876500000", "message": "Hello", "scheduled_at": START,
        "is_recurring": True, "recurrence_pattern": pattern, "recurrence_end_at": end, "timezone": "UTC", **columns,
    }  # fmt: skip
    return user.http.post("/scheduled_messages", json=row, headers={"prefer": "return=representation"})


@pytest.mark.parametrize(("pattern", "end"), SENSELESS)
def test_a_series_that_ends_before_its_first_message_is_refused(db: Database, tenants, pattern, end):
    answer = write(tenants[0], pattern, end)

    assert answer.status_code == 400
    assert "end before its first message" in answer.json()["message"]
    assert write(tenants[0], pattern, end, is_recurring=False).status_code == 201, "a one-off needs none of it"


@pytest.mark.parametrize(("pattern", "end"), SENSIBLE)
def test_whatever_may_have_a_next_occurrence_is_taken_without_a_word(db: Database, tenants, pattern, end):
    answer = write(tenants[0], pattern, end)

    assert answer.status_code == 201
    assert answer.json()[0]["error"] is None


@pytest.mark.parametrize(("pattern", "end"), ALONE)
async def test_one_that_has_none_in_the_tables_years_is_sent_once_and_says_so_from_the_start(
    db: Database, tenants, parts: Callable[..., Awaitable[Parts]], pattern, end
):
    answer = write(tenants[0], pattern, end)
    assert answer.status_code == 201
    [row] = answer.json()
    assert row["error"] == NO_NEXT

    if pattern is ALONE[0][0]:
        db.execute("update scheduled_messages set scheduled_at = now()")
        daemon = await parts()
        await daemon.scheduler.poll()
        await daemon.dispatcher.send_all()
        sent = message(db, row["id"])
        assert (sent["status"], sent["error"], sent["next_id"]) == ("sent", NO_NEXT, None)
        assert one(db, "select count(*) from scheduled_messages") == 1


def test_an_edit_hears_the_same_and_makes_it_good(db: Database, tenants):
    [row] = write(tenants[0], "daily", None).json()

    def edit(**columns: Any) -> Any:
        return tenants[0].http.patch("/scheduled_messages", params={"id": f"eq.{row['id']}"}, json=columns)

    assert edit(recurrence_end_at="2030-01-01").status_code == 400
    assert edit(recurrence_pattern="FREQ=YEARLY;INTERVAL=900").is_success
    assert message(db, row["id"])["error"] == NO_NEXT
    assert edit(recurrence_pattern="daily").is_success
    assert message(db, row["id"])["error"] is None


async def test_the_last_one_of_a_series_may_be_moved_beyond_its_end(
    db: Database, tenants, parts: Callable[..., Awaitable[Parts]]
):
    soon = one(db, "select now() + interval '2 days'")
    [first] = write(tenants[0], "daily", soon.isoformat(), scheduled_at=one(db, "select now()").isoformat()).json()
    await (await parts()).scheduler.poll()
    following = str(message(db, first["id"])["next_id"])

    moved = tenants[0].update(following, scheduled_at=(soon + timedelta(days=1)).isoformat())

    assert moved["status"] == "pending"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("FREQ=YEARLY;INTERVAL=300", NO_NEXT),
        ("FREQ=YEARLY;INTERVAL=300;BYMONTHDAY=1;BYMONTH=1", NO_NEXT),
        ("FREQ=DAILY;COUNT=1", None),
        ("FREQ=DAILY;UNTIL=20000101", None),
    ],
)
async def test_what_the_service_key_wrote_says_so_when_it_falls_due(
    db: Database, parts: Callable[..., Awaitable[Parts]], pattern, words
):
    add_connections(db, "shop")
    row = schedule(db, is_recurring=True, recurrence_pattern=pattern)
    daemon = await parts()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    sent = message(db, row)
    assert (sent["status"], sent["error"], sent["next_id"]) == ("sent", words, None)


@pytest.mark.parametrize(("pattern", "end"), [*SENSIBLE, *ALONE])
def test_what_the_table_says_is_what_the_daemon_finds(db: Database, tenants, pattern, end):
    if pattern == "FREQ=DAILY;UNTIL=20311399":
        return  # no rule
    start, zone = parse_time(START), timezone("UTC")
    last = min(LAST_MOMENT, parse_time(end)) if end else LAST_MOMENT
    found = next_occurrence(parse(pattern), local_anchor(start, zone), zone, start, last)
    said = one(db, "select private.earliest_next(%s, %s) >= '2200-01-02'", pattern, START)
    assert not said or found is None
    if (pattern, end) in ALONE:
        assert said


OWN = """
    insert into scheduled_messages
        (connection_id, contact_id, message, caption, scheduled_at, is_recurring, recurrence_pattern, own)
    values (%s, '1', repeat('€', 8192), repeat('€', 8192), '2031-01-01', %s, 'daily', repeat('x', %s))
"""


@pytest.mark.parametrize(
    ("is_recurring", "size", "refused"), [(True, 30_000, False), (True, 34_000, True), (False, 1_000_000, False)]
)
def test_what_each_occurrence_carries_is_bounded_for_it_is_copied_among_others(
    db: Database, roles: Roles, is_recurring, size, refused
):
    """200 rows with a megabyte each took a call of seven seconds, in which rows of others waited."""
    db.execute("alter table scheduled_messages add column own text")
    try:
        user = roles.person()
        answer = roles.tried("authenticated", user, OWN, str(user), is_recurring, size)
        assert answer == ("PT400" if refused else [])
    finally:
        db.execute("alter table scheduled_messages drop column own")
