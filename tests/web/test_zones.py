"""Times are shown with their zone, written in the zone of choice, and mean what the daemon makes of them."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.rows import one
from tests.web.node import in_node
from worker.recurrence.times import instant

ZONES = [
    "Europe/Rome",
    "America/St_Johns",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Cairo",
    "UTC",
]


def test_a_message_of_another_zone_is_written_and_shown_in_it(desk, db, person):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    rome = desk(person, timezoneId="Europe/Rome", locale="it-IT")
    rome.open(f"contacts/{contact['id']}/new")
    assert rome.field("Time zone").inputValue() == "Europe/Rome"
    rome.choose("Time zone", "Asia/Kolkata")
    rome.fill("Date and time", "2031-05-05T09:00")
    rome.sees("GMT+5:30; here that is Mon 5 May 2031, 05:30 Europe/Rome")
    rome.fill("Message", "Good morning")
    rome.press("Schedule Message")
    rome.sees("Scheduled for Mon 5 May 2031, 09:00 Asia/Kolkata")
    row = db.execute("select * from scheduled_messages").fetchone()
    assert (row["scheduled_at"].isoformat(), row["timezone"]) == ("2031-05-05T03:30:00+00:00", "Asia/Kolkata")

    # Somebody far away sees the same, and days of their own.
    apia = desk(person, timezoneId="Pacific/Apia").open("messages")
    apia.sees("Mon 5 May 2031, 09:00 Asia/Kolkata")
    apia.sees("Days as in Pacific/Apia")
    assert apia.texts("h2.day") == ["Monday 5 May 2031"]
    apia.press("Edit")
    assert apia.field("Date and time").inputValue() == "2031-05-05T09:00"
    apia.press("Save")
    apia.page.getByRole("dialog").waitFor(state="detached")
    assert one(db, "select scheduled_at from scheduled_messages").isoformat() == "2031-05-05T03:30:00+00:00"


def test_a_time_that_the_clocks_leap_over_says_when_it_will_be(desk, person):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    window = desk(person, timezoneId="Europe/Rome").open(f"contacts/{contact['id']}/new")
    window.fill("Date and time", "2031-03-30T02:30")
    window.sees("it goes out at Sun 30 Mar 2031, 03:30 Europe/Rome")


def test_a_time_that_has_passed_is_not_scheduled(desk, db, person):
    contact = person.insert("contacts", contact_name="Asha", phone_number="+919876500001")
    window = desk(person).open(f"contacts/{contact['id']}/new")
    window.fill("Message", "Too late")
    window.fill("Date and time", "2026-01-01T09:00")
    window.press("Schedule Message")
    window.sees("This time has passed.")
    assert one(db, "select count(*) from scheduled_messages") == 0


@pytest.mark.parametrize("zone", ZONES)
def test_a_time_on_the_wall_is_the_instant_that_the_daemon_takes(folder, zone):
    """Around every change of the clocks in ten years; and around the day that Apia never had."""
    near = hours(datetime(2011, 12, 25, tzinfo=UTC), 10 * 24) if zone == "Pacific/Apia" else []
    for at in changes(zone):
        near += hours(at - timedelta(hours=30), 60)
    walls = [at.strftime("%Y-%m-%dT%H:%M") for at in near]
    walls += [
        f"{random.randint(1990, 2190)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}T12:17" for _ in range(50)
    ]
    told = in_node(folder, "zones.js", f"module.instantOf(one, {zone!r}).toISOString()", walls)
    assert told == [expected(zone, wall) for wall in walls]


@pytest.mark.parametrize("zone", ZONES)
def test_of_a_time_that_the_wall_shows_twice_the_second_is_told_apart(folder, zone):
    near = [instant for at in changes(zone) for instant in hours(at - timedelta(hours=5), 10)]
    told = in_node(folder, "zones.js", f"module.isSecond(one, {zone!r})", [at.isoformat() for at in near])
    assert told == [bool(at.astimezone(ZoneInfo(zone)).fold) for at in near]


def changes(zone):
    """When its clocks change, in ten years."""
    at = hours(datetime(2024, 1, 1, tzinfo=UTC), 10 * 366 * 24)
    offsets = [one.astimezone(ZoneInfo(zone)).utcoffset() for one in at]
    return [one for one, before, now in zip(at[1:], offsets, offsets[1:], strict=False) if before != now]


def hours(start, number):
    return [start + timedelta(minutes=30 * n) for n in range(2 * number)]


def expected(zone, wall):
    return instant(datetime.fromisoformat(wall), ZoneInfo(zone)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
