"""Each page's main deed, from what a person does to the row and back."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.polling import until
from tests.helpers.rows import one
from tests.helpers.zones import where_it_is_noon

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
def contact(person):
    return person.insert("contacts", contact_name="Asha", phone_number="+919876500001")


def fill_history(db, person, number, status="sent", **columns):
    """So many messages, an hour apart; `columns` are SQL."""
    given = {
        "message": "'Message ' || n",
        "scheduled_at": "now() - n * interval '1 hour'",
        "sent_at": "now()" if status == "sent" else "null",
        "message_id": "'m' || n" if status == "sent" else "null",
        "error": "'No such number.'" if status in ("failed", "unconfirmed") else "null",
        **columns,
    }
    db.execute(
        f"""
        insert into scheduled_messages (connection_id, contact_id, status, created_by, owner_id, {", ".join(given)})
        select %s, '+91987650' || lpad(n::text, 4, '0'), %s, %s, %s, {", ".join(given.values())}
        from generate_series(1, %s) as n
        """,
        (person.connection_id, status, person.id, person.id, number),
    )


def test_contacts_are_added_found_changed_blocked_and_deleted(desk, db, person):
    for n in range(60):
        person.insert("contacts", contact_name=f"Person {n:02}", phone_number=f"+9198765{n:05}")
    window = desk(person).open()
    window.sees("Person 49")
    assert window.page.getByText("Person 50").count() == 0
    window.press("Next")
    window.sees("Person 59")

    window.fill("Search contacts", 'nobody, "(%*\\')
    window.sees("Nobody of that name or number.")
    window.fill("Search contacts", "son 07")
    window.sees("Person 07")
    until(lambda: len(window.texts("tbody tr")) == 1)

    window.press("Person 07")
    window.fill("Name", "مريم (07)")
    window.fill("Labels", " gold_loan, staff ,,gold_loan")
    window.field("Blocked: nothing is sent to this contact").check()
    window.press("Save")
    window.page.getByRole("dialog").waitFor(state="detached")
    window.fill("Search contacts", "مريم (07)")
    window.page.locator(".status", hasText="blocked").waitFor()
    row = db.execute("select * from contacts where contact_name = 'مريم (07)'").fetchone()
    assert (row["is_blocked"], row["phone_number"]) == (True, "+919876500007")
    assert row["labels"] == ["gold_loan", "staff"]

    window.press("مريم (07)")
    window.press("Delete")
    window.press("Yes, delete")
    window.sees("Nobody of that name or number.")
    assert one(db, "select count(*) from contacts") == 59


def test_the_clock_counts_what_is_scheduled_for_a_contact(desk, person, contact):
    for n in range(3):
        person.insert(
            contact_id=str(contact["id"]), connection_id=person.connection_id, message=f"{n}", scheduled_at=TOMORROW
        )
    window = desk(person).open()
    window.press("Scheduled messages for Asha: 3")
    window.sees("Scheduled messages for Asha")
    window.page.keyboard().press("Escape")
    window.button("Scheduled messages for Asha: 3").waitFor()


def test_media_are_scheduled_with_a_link_and_a_caption(desk, db, person, contact):
    window = desk(person).open(f"contacts/{contact['id']}/new")
    window.choose("Kind", "image")
    window.fill("Link to the file", "https://example.com/map.png")
    window.fill("Caption", "How to find us")
    window.press("Schedule Message")
    window.sees("Scheduled for")
    [row] = db.execute("select * from scheduled_messages")
    assert (row["type"], row["media_url"], row["caption"], row["message"]) == (
        "image",
        "https://example.com/map.png",
        "How to find us",
        "",
    )
    assert window.page.getByRole("link", name="map.png").getAttribute("href") == "https://example.com/map.png"


def test_what_was_written_as_a_link_and_is_none_cannot_be_followed(desk, db, person, contact):
    person.insert(
        contact_id=str(contact["id"]),
        connection_id=person.connection_id,
        type="image",
        message="",
        media_url="javascript:alert(1)",
        scheduled_at=TOMORROW,
    )
    window = desk(person).open("messages")
    window.sees("alert(1)")
    assert window.page.locator(".messages a").first().getAttribute("href") is None


def test_refusals_are_told_in_the_words_of_the_database_and_of_the_daemon(desk, db, person, contact):
    window = desk(person, troubled=True).open(f"contacts/{contact['id']}/new")
    window.fill("Message", "Hello")
    window.fill("Date and time", "2250-01-01T09:00")
    window.press("Schedule Message")
    window.sees("The times must lie between the years 2000 and 2199.")

    window.fill("Date and time", "2031-01-01T09:00")
    window.field("Recurring message").check()
    window.choose("Pattern", "own")
    window.fill("Rule (RFC 5545)", "RRULE:FREQ=NEVER")
    window.sees("FREQ")
    window.page.locator(".waits").waitFor()
    assert "NEVER" in window.page.locator(".waits").innerText()
    window.fill("Rule (RFC 5545)", "now and then")
    window.press("Schedule Message")
    window.sees("The recurrence pattern must be daily, weekly, monthly")
    assert one(db, "select count(*) from scheduled_messages") == 0


def test_messages_by_status_and_day_page_by_page(desk, db, person):
    fill_history(db, person, 120)
    fill_history(db, person, 2, "failed")
    fill_history(db, person, 3, "pending", scheduled_at="now() + n * interval '1 day'")
    window = desk(person).open("messages")
    window.sees("Message 3")
    assert window.texts(".views a") == ["To come 3", "Sent", "Failed 2", "Unconfirmed", "Cancelled", "All", "Calendar"]
    assert [text.split()[-1] for text in window.texts(".text")] == ["1", "2", "3"]

    window.follow("Sent")
    seen = []
    for page in range(1, 4):
        window.sees(f"Page {page}")
        window.page.locator(".text").first().waitFor()
        until(lambda shown=len(seen): window.texts(".text")[:1] == [f"Message {shown + 1}"])
        seen += window.texts(".text")
        if page < 3:
            window.press("Next")
    assert seen == [f"Message {n}" for n in range(1, 121)]
    assert window.button("Next").isDisabled()
    window.press("Previous")
    window.sees("Page 2")

    window.page.getByRole("link", name="Failed").click()
    window.sees("No such number.")
    day = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    window.fill("Day", day)
    window.page.keyboard().press("Tab")
    window.sees("Nothing has failed.")


def test_the_calendar_leads_to_what_is_to_come_on_a_day(desk, db, person):
    fill_history(db, person, 250, "pending", scheduled_at="'2031-05-05 09:00+05:30'::timestamptz")
    fill_history(db, person, 1, "pending", scheduled_at="'2031-05-05 23:59+05:30'::timestamptz")
    fill_history(db, person, 1, "pending", scheduled_at="'2031-05-06 00:00+05:30'::timestamptz")
    window = desk(person).open("messages/calendar/2031-05")
    window.sees("May 2031")
    window.page.getByRole("link", name="1 message on Tuesday 6 May 2031").waitFor()
    window.follow("251 messages on Monday 5 May 2031")
    window.sees("Monday 5 May 2031")
    window.sees("Page 1")
    window.open("messages/calendar/2031-05")
    window.follow("The month after")
    window.sees("June 2031")


def test_a_series_is_one_line_that_opens(desk, db, person, contact):
    person.insert(
        contact_id=str(contact["id"]), connection_id=person.connection_id, message="Every day", timezone="Asia/Kolkata",
        scheduled_at="2026-01-01T09:00:00Z", is_recurring=True, recurrence_pattern="daily",
    )  # fmt: skip
    until(
        lambda: (
            one(db, "select count(*) from scheduled_messages where status = 'pending' and series_id is not null") == 1
        )
    )
    window = desk(person).open("messages/all")
    window.sees("Every day")
    assert window.page.locator("main > section article").count() == 1
    window.page.getByText("The whole series").click()
    window.page.locator(".series .status.sent").waitFor()
    window.page.locator(".series .status.pending").waitFor()
    until(lambda: len(window.texts(".series .next li")) == 5)
    window.page.locator(".series").getByRole("button", name="Cancel").click()
    window.sees("It has ended.")
    assert one(db, "select count(*) from scheduled_messages where status = 'cancelled'") == 1


def test_messages_are_edited_and_sent_again_from_the_list(desk, db, person):
    person.insert(
        contact_id="+1234", connection_id=person.connection_id, message="Hello", scheduled_at="2026-01-01T00:00Z"
    )
    window = desk(person).open("messages/failed")
    window.sees("too few or too many digits")
    window.press("Edit")
    window.fill("Message", "Hello again")
    window.fill("Date and time", "2031-05-05T09:00")
    window.press("Save")
    window.sees("Nothing has failed.")
    window.follow("To come 1")
    window.sees("Hello again")
    assert one(db, "select scheduled_at from scheduled_messages").isoformat() == "2031-05-05T03:30:00+00:00"


def test_a_connection_shows_its_settings_use_and_what_waits_and_why(desk, db, person):
    zone = where_it_is_noon()
    db.execute(
        """
        insert into connection_settings
            (connection_id, messages, period_seconds, daily_limit, timezone, window_start, window_end)
        values (%s, 1000, 1, 3, %s, '00:00', '23:59:59')
        """,
        (person.connection_id, zone),
    )
    for n in range(5):
        person.insert(
            contact_id=f"+91987650000{n}",
            connection_id=person.connection_id,
            message="Hello",
            scheduled_at="2026-01-01T00:00Z",
        )
    window = desk(person).open("connections")
    window.sees("3 of 3 sent")
    window.sees("held up")
    facts = " ".join(window.texts(".card"))
    assert "At most 1,000 a second" in facts
    assert f"00:00 to 23:59 {zone}" in facts
    until(lambda: "2 The daily limit of 3 messages is reached, until about" in " ".join(window.texts(".reasons li")))

    db.execute(
        "update connection_settings set daily_limit = null, messages = null, period_seconds = null,"
        " window_start = null, window_end = null"
    )
    window.sees("5 sent")
    window.sees("Nothing waits.")
    window.sees("ready")
    window.sees("Around the clock")


def test_a_connection_is_added_once(desk, db, person):
    window = desk(person).open("connections")
    window.press("Add a connection")
    window.fill("Name", "Réception مكتب")
    window.button("Add").dblclick()
    window.sees("Réception مكتب")
    assert one(db, "select count(*) from connections where name = 'Réception مكتب'") == 1
