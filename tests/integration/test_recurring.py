"""A series in the database: one successor, in the wall time of its zone, whatever happens to an occurrence."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.rows import add_connections, message, one, schedule
from worker.jobs import Known
from worker.planning import plan
from worker.recurrence.times import parse_time


async def send_now(daemon):
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()


async def enqueue_at(daemon, row_id, now):
    """Plans and enqueues a row as a daemon would have done at `now`."""
    [row] = [row for row in await daemon.store.get_pending() if row.id == row_id]
    step = plan.decide(row, Known(), daemon.scheduler.settings, now)
    assert (await daemon.store.enqueue([step])).ids == [row_id]


def successor(db, row_id):
    return one(db, "select next_id::text from scheduled_messages where id = %s", row_id)


@pytest.mark.parametrize(("pattern", "days"), [("daily", 1), ("weekly", 7)])
async def test_the_next_occurrence_has_the_same_wall_time_and_the_finished_row_keeps_its_outcome(
    db, parts, pattern, days
):
    add_connections(db, "shop")
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.now(UTC).replace(microsecond=0)
    row = schedule(db, scheduled_at=start, is_recurring=True, recurrence_pattern=pattern, timezone=zone.key)

    await send_now(await parts())

    finished, following = message(db, row), message(db, successor(db, row))
    local = start.astimezone(zone).replace(tzinfo=None) + timedelta(days=days)
    assert (finished["status"], finished["error"]) == ("sent", None)
    assert finished["next_scheduled_at"] == following["scheduled_at"] == local.replace(tzinfo=zone)
    assert (following["status"], following["sent_at"], following["message_id"]) == ("pending", None, None)
    assert following["series_id"] == finished["series_id"] not in (None, finished["id"], following["id"])
    same = ("connection_id", "contact_id", "message", "type", "recurrence_pattern", "timezone", "is_recurring")
    assert [following[name] for name in same] == [finished[name] for name in same]


async def test_month_ends_are_clamped_from_the_series_anchor(db, parts):
    add_connections(db, "shop")
    daemon = await parts()
    at = datetime(2025, 1, 31, 9, tzinfo=UTC)
    row = schedule(db, scheduled_at=at, is_recurring=True, recurrence_pattern="monthly", timezone="UTC")
    found = []
    for _ in range(4):
        await enqueue_at(daemon, row, at)
        row = successor(db, row)
        at = message(db, row)["scheduled_at"]
        found.append(f"{at.astimezone(UTC):%m-%d %H:%M}")

    assert found == ["02-28 09:00", "03-31 09:00", "04-30 09:00", "05-31 09:00"]


async def test_after_downtime_one_message_goes_out_and_one_occurrence_waits_in_the_future(db, parts):
    add_connections(db, "shop")
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=30, hours=1)
    row = schedule(db, scheduled_at=start, is_recurring=True, recurrence_pattern="daily", timezone="UTC")

    daemon = await parts()
    await send_now(daemon)
    await send_now(daemon)

    assert one(db, "select count(*) from broadcast_jobs") == 1
    assert one(db, "select count(*) from scheduled_messages") == 2
    assert message(db, row)["status"] == "sent"
    assert message(db, row)["missed"] == 30
    assert message(db, successor(db, row))["scheduled_at"] == start + timedelta(days=31)


@pytest.mark.parametrize(
    ("minutes", "daily", "status"), [(5, True, "sent"), (5, False, "sent"), (11, True, "failed"), (11, False, "failed")]
)
async def test_what_is_later_than_the_limit_fails_and_says_so_but_a_series_goes_by_its_latest(
    db, parts, minutes, daily, status
):
    add_connections(db, "shop")
    now = datetime.now(UTC)
    recurring = {"is_recurring": True, "recurrence_pattern": "daily", "timezone": "UTC"} if daily else {}
    row = schedule(db, scheduled_at=now - timedelta(days=3 * daily, minutes=minutes), **recurring)

    await send_now(await parts(max_lateness_seconds=600))

    found = message(db, row)
    assert found["status"] == status
    assert ("messages later than 10 min are not sent" in str(found["error"])) == (status == "failed")
    expiries = db.execute("select expires_at from broadcast_jobs").fetchall()
    wanted = now - timedelta(minutes=minutes - 10)
    assert [job["expires_at"] for job in expiries] == ([wanted] if status == "sent" else [])
    assert (found["next_id"] is not None) == daily


async def test_a_series_goes_by_its_connections_zone_where_the_row_names_none(db, parts):
    add_connections(db, "shop")
    db.execute("insert into connection_settings (connection_id, timezone) values ('shop', 'Asia/Kolkata')")
    row = schedule(db, is_recurring=True, recurrence_pattern="daily")

    await send_now(await parts(default_timezone="America/New_York"))

    assert message(db, row)["timezone"] == message(db, successor(db, row))["timezone"] == "Asia/Kolkata"


async def test_an_occurrence_that_fails_does_not_end_its_series(db, parts):
    add_connections(db, "shop")
    row = schedule(db, contact_id="+1234", is_recurring=True, recurrence_pattern="daily", timezone="UTC")

    await send_now(await parts())

    assert message(db, row)["status"] == "failed"
    assert message(db, successor(db, row))["status"] == "pending"


async def test_a_retry_of_a_failed_occurrence_does_not_fork_the_series(db, parts, user):
    owner = user()
    now = datetime.now(UTC).isoformat()
    form = {
        "connection_id": owner.connection_id, "message": "Daily", "scheduled_at": now, "is_recurring": True,
        "recurrence_pattern": "daily", "next_scheduled_at": now,
    }  # fmt: skip
    row = owner.insert(contact_id="+1234", **form)["id"]
    daemon = await parts()
    await send_now(daemon)

    owner.update(row, contact_id="+919876500002", status="pending", **form)
    await send_now(daemon)

    assert message(db, row)["status"] == "sent"
    assert one(db, "select count(*) from scheduled_messages") == 2
    assert message(db, successor(db, row))["status"] == "pending"


async def test_the_last_occurrence_has_no_successor(db, parts):
    add_connections(db, "shop")
    now = datetime.now(UTC)
    row = schedule(
        db, scheduled_at=now, is_recurring=True, recurrence_pattern="daily", timezone="UTC",
        recurrence_end_at=now + timedelta(hours=23),
    )  # fmt: skip

    await send_now(await parts())

    assert message(db, row)["status"] == "sent"
    assert message(db, row)["next_id"] is None
    assert message(db, row)["next_scheduled_at"] is None


async def test_the_browsers_own_guess_of_the_next_time_is_not_believed(db, parts, user):
    """The dialog computes it with setMonth, which makes 3 March of 31 January."""
    owner = user()
    guess = datetime.now(UTC) + timedelta(days=3)
    row = owner.insert(
        connection_id=owner.connection_id, contact_id="+919876500002", message="Daily",
        scheduled_at=datetime.now(UTC).isoformat(), is_recurring=True, recurrence_pattern="daily",
        next_scheduled_at=guess.isoformat(), timezone="Asia/Kolkata",
    )  # fmt: skip

    await send_now(await parts())

    following = owner.row(successor(db, row["id"]))
    assert parse_time(following["scheduled_at"]) - parse_time(row["scheduled_at"]) == timedelta(days=1)
    assert following["owner_id"] == owner.id
