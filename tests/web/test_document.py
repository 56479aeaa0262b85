"""The sections "Creating", "Managing" and "Recurring" of the feature document, step by step, with the mouse."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.helpers.polling import until
from tests.helpers.rows import message

ZONE = ZoneInfo("Asia/Kolkata")  # the browser's


def the_message(db):
    [row] = db.execute("select * from scheduled_messages").fetchall()
    return row


def test_creating_a_scheduled_message(desk, db, user):
    person = user()
    window = desk()
    window.open()
    window.sign_in(person)
    window.press("Add a contact")
    window.fill("Name", "Asha Rao")
    window.fill("WhatsApp number", "+91 98765 43210")
    window.press("Save")

    # 1 and 2: the page of contacts, and the contact; 3: the clock in the column "Scheduled"; 4: the tab
    window.button("Asha Rao").waitFor()
    window.page.getByRole("columnheader", name="Scheduled").waitFor()
    window.press("Scheduled messages for Asha Rao: 0")
    window.page.getByRole("tab", name="Create New").click()
    # 5: connection, message, date and time
    window.choose("WhatsApp connection", person.connection_id)
    window.fill("Message", "Your appointment is tomorrow at 9.")
    soon = datetime.now(ZONE) + timedelta(minutes=1)
    window.fill("Date and time", soon.strftime("%Y-%m-%dT%H:%M"))
    # 6
    window.press("Schedule Message")
    window.sees("Scheduled for")

    row = the_message(db)
    assert (row["message"], row["type"]) == ("Your appointment is tomorrow at 9.", "text")
    assert row["connection_id"] == person.connection_id
    assert str(row["created_by"]) == str(row["owner_id"]) == person.id
    assert row["scheduled_at"] == soon.replace(second=0, microsecond=0)
    assert row["timezone"] == "Asia/Kolkata"
    # A minute is a long time for a test: now it is.
    db.execute("update scheduled_messages set scheduled_at = now()")
    window.page.locator(".status.sent").waitFor()
    assert message(db, row["id"])["message_id"].startswith("mock")
    window.press("Close")
    window.press("Scheduled messages for Asha Rao: 0")


def test_managing_scheduled_messages(desk, db, person):
    contact = person.insert("contacts", contact_name="Ravi", phone_number="+919876500001")
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    common = {"connection_id": person.connection_id, "contact_id": str(contact["id"])}
    person.insert(**common, message="To be edited", scheduled_at=later)
    person.insert(**common, message="To be sent", scheduled_at=datetime.now(UTC).isoformat())
    person.insert(**common | {"contact_id": "+1234"}, message="Another's", scheduled_at=later)
    window = desk(person).open(f"contacts/{contact['id']}/view")

    # See all scheduled messages for this contact, and the status of each
    window.sees("To be edited")
    window.page.locator(".status.sent").waitFor()
    assert window.texts(".messages .text") == ["To be edited", "To be sent"]
    assert window.page.getByText("Another's").count() == 0

    # Edit messages that haven't been sent yet
    [waiting, over] = window.page.locator("article").all()
    assert over.getByRole("button", name="Edit").count() == 0
    waiting.getByRole("button", name="Edit").click()
    window.fill("Message", "Edited: नमस्ते, see you at ten")
    window.press("Save")
    window.sees("Edited: नमस्ते")
    assert [
        row["message"]
        for row in db.execute("select message from scheduled_messages where status = 'pending' order by 1")
    ] == [
        "Another's",
        "Edited: नमस्ते, see you at ten",
    ]

    # A failed one says why, and is tried again
    person.insert(**common, message="To nobody", scheduled_at=later)
    db.execute(
        "update scheduled_messages set status = 'failed', error = 'The number is too short.'"
        " where message = 'To nobody'"
    )
    window.sees("The number is too short.")
    window.press("Retry")
    window.misses("The number is too short.")

    # Cancel, and delete after a second thought
    first = window.page.locator("article").filter(hasText="Edited").first()
    first.getByRole("button", name="Cancel").click()
    cancelled = window.page.locator("article").filter(hasText="Edited")
    cancelled.locator(".status.cancelled").waitFor()
    cancelled.getByRole("button", name="Delete").click()
    window.press("No")
    cancelled.getByRole("button", name="Delete").click()
    window.press("Yes, delete")
    window.misses("Edited")
    assert db.execute("select from scheduled_messages where message like 'Edited%%'").rowcount == 0


def test_recurring_messages(desk, db, person):
    contact = person.insert("contacts", contact_name="Ravi", phone_number="+919876500001")
    window = desk(person).open(f"contacts/{contact['id']}/new")
    window.fill("Message", "Every morning")
    window.fill("Date and time", "2031-01-31T09:00")

    window.field("Recurring message").check()
    for pattern, words, dates in (
        ("daily", "Daily", ["Fri 31 Jan", "Sat 1 Feb", "Sun 2 Feb", "Mon 3 Feb", "Tue 4 Feb"]),
        ("weekly", "Weekly, on Friday", ["Fri 31 Jan", "Fri 7 Feb", "Fri 14 Feb", "Fri 21 Feb", "Fri 28 Feb"]),
        ("monthly", "Monthly, on the 31st", ["Fri 31 Jan", "Fri 28 Feb", "Mon 31 Mar", "Wed 30 Apr", "Sat 31 May"]),
    ):
        window.choose("Pattern", pattern)
        assert words in window.field("Pattern").innerText()
        window.sees(dates[1])
        until(
            lambda dates=dates: (
                [text[: len(d)] for text, d in zip(window.texts(".next li"), dates, strict=False)] == dates
            )
        )
        assert all(re.search(r" 2031, 09:00 Asia/Kolkata$", text) for text in window.texts(".next li"))
    window.choose("Pattern", "daily")
    window.fill("Date and time", (datetime.now(ZONE) + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M"))
    window.press("Schedule Message")
    window.sees("Scheduled for")

    # The system creates the next occurrence after the current message is sent
    db.execute("update scheduled_messages set scheduled_at = now()")
    window.page.locator(".status.sent").waitFor()
    window.page.locator(".status.pending").waitFor()
    rows = db.execute(
        "select status, timezone, recurrence_pattern, scheduled_at from scheduled_messages order by scheduled_at"
    ).fetchall()
    assert [(row["status"], row["timezone"], row["recurrence_pattern"]) for row in rows] == [
        ("sent", "Asia/Kolkata", "daily"),
        ("pending", "Asia/Kolkata", "daily"),
    ]
    assert rows[1]["scheduled_at"] - rows[0]["scheduled_at"] == timedelta(days=1)
