"""What a page is when the clocks are set back, and when midnight comes while it is open."""

import pytest

from tests.helpers.polling import until
from tests.helpers.rows import one
from tests.web.people import DOWNLOADS

# 01:35 for the second time: what the clock showed between one and two is over already.
SECOND = "2031-11-02T05:05:00Z"
WALL = "2031-11-02T01:45"
LATER = "2031-11-02T05:15:00+00:00"


@pytest.fixture
def contact(person):
    return person.insert("contacts", contact_name="Asha", phone_number="+919876500001", labels=["gold"])


@pytest.fixture
def window_at(desk, person):
    """window_at(instant, zone): of somebody for whom it is then and there."""

    def sit_down(instant, zone):
        window = desk(person, timezoneId=zone)
        window.context.clock().setFixedTime(instant)
        return window

    return sit_down


@pytest.mark.parametrize("what", ["a message", "a campaign", "to several"])
def test_in_an_hour_that_comes_twice_a_form_begins_with_a_time_that_is_to_come(db, person, contact, window_at, what):
    window = window_at(SECOND, "America/St_Johns")
    places = {
        "a message": (f"contacts/{contact['id']}/new", "Schedule Message", "scheduled_messages"),
        "a campaign": ("campaigns/new", "Schedule Campaign", "campaigns"),
        "to several": ("bulk/new", "Schedule", "campaigns"),
    }
    place, button, table = places[what]
    window.open(place)
    window.fill("Message", "Good night")
    assert window.field("Date and time").inputValue() == WALL
    window.sees("GMT-3:30")
    if what == "a campaign":
        window.fill("Campaign name", "News")
        window.page.getByLabel("gold 1").check()
    if what == "to several":
        window.page.getByRole("checkbox", name="Asha").check()
    window.press(button)
    until(lambda: one(db, f"select count(*) from {table}") == 1)
    assert one(db, f"select scheduled_at from {table}").isoformat() == LATER


def test_an_edit_of_what_is_to_go_out_in_the_second_of_two_hours_leaves_it_there(db, person, contact, window_at):
    person.insert(
        contact_id=str(contact["id"]), connection_id=person.connection_id, message="Hello",
        scheduled_at=LATER, timezone="America/St_Johns",
    )  # fmt: skip
    window = window_at(SECOND, "Asia/Kolkata").open(f"contacts/{contact['id']}/view")
    window.sees("Sun 2 Nov 2031, 01:45 America/St_Johns, GMT-3:30", exact=True)
    window.press("Edit")
    window.sees("GMT-3:30; here that is Sun 2 Nov 2031, 10:45 Asia/Kolkata")
    window.fill("Message", "Good night")
    window.press("Save")
    window.sees("Scheduled for Sun 2 Nov 2031, 01:45 America/St_Johns, GMT-3:30.", exact=True)
    row = db.execute("select message, scheduled_at from scheduled_messages").fetchone()
    assert (row["message"], row["scheduled_at"].isoformat()) == ("Good night", LATER)
    # Whoever writes a time anew means the first, as the daemon does, also where it is the same on the wall.
    window.press("Edit")
    window.fill("Date and time", "2031-11-02T01:50")
    window.sees("GMT-2:30")
    window.sees("This time has passed.")


def test_what_is_open_at_midnight_goes_on_with_the_day_that_comes(person, contact, window_at):
    before, after = "2031-12-31T23:59:30-03:30", "2032-01-01T00:00:30-03:30"
    person.insert("connection_settings", connection_id=person.connection_id, timezone="America/St_Johns")
    person.insert(
        contact_id=str(contact["id"]), connection_id=person.connection_id, message="Happy New Year",
        scheduled_at="2032-01-01T09:00-03:30",
    )  # fmt: skip
    window = window_at(before, "America/St_Johns")
    for place, eve, day in (
        ("messages", "Thursday 1 January 2032", "Today, Thursday 1 January 2032"),
        ("messages/calendar", "December 2031", "January 2032"),
        ("appointments", "Wednesday 31 December 2031", "Thursday 1 January 2032"),
    ):
        window.context.clock().setFixedTime(before)
        window.open(place).sees(eve, exact=True)
        window.context.clock().setFixedTime(after)
        window.sees(day, exact=True)


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("Asia/Kolkata", "2031-12-31T22:00Z", "2032-01-01"),
        ("America/St_Johns", "2032-01-01T02:00Z", "2031-12-31"),
    ],
)
def test_the_file_of_a_run_is_of_the_day_that_stands_above_it(db, desk, person, zone, at, day):
    campaign = person.insert(
        "campaigns", owner_id=person.id, connection_id=person.connection_id, name="News", message="Hello",
        audience={"labels": ["gold"]}, timezone=zone,
    )  # fmt: skip
    db.execute("set session_replication_role = replica")
    run = db.execute(
        "insert into campaign_runs (campaign_id, owner_id, connection_id, occurrence_at, status, total, finished_at) "
        "values (%s, %s, %s, %s, 'completed', 0, now()) returning id",
        (campaign["id"], person.id, person.connection_id, at),
    ).fetchone()
    db.execute("set session_replication_role = origin")
    window = desk(person, timezoneId="UTC").open(f"campaigns/{campaign['id']}/run/{run['id']}")
    window.page.locator(".run .status.completed").waitFor()
    assert window.page.carry(DOWNLOADS, "press", "Download as CSV")["name"] == f"News {day}.csv"
