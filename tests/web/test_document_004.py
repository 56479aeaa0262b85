"""Document 004's "Create Test Campaign", with the mouse, in its development mode: nothing but the mock gateway."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.polling import until
from tests.helpers.proxy import forgetful, only
from tests.helpers.rows import one
from tests.web.people import DOWNLOADS, add_people

ZONE = ZoneInfo("Asia/Kolkata")  # the browser's


@pytest.fixture
def segment(db, person):
    """1. Contacts: 25 of the segment gold_loan, others beside them."""
    add_people(db, person, 25, "gold_loan")
    add_people(db, person, 5, "sip", first=500)
    return person


def test_create_test_campaign(desk, db, segment):
    window = desk(segment).open("templates/new")
    window.fill("Name", "Gold loan reminder")
    window.fill("Text", "Dear {name}, your gold loan of {amount} is due.")
    window.press("Save")
    window.sees("Saved.")

    # 2. Create: template, segment, once or daily with an end date, language
    window.open("campaigns/new")
    window.fill("Campaign name", "Test Campaign")
    window.choose("Template", window.page.locator("option", hasText="Gold loan reminder").getAttribute("value"))
    window.fill("{amount}", "₹ 4,500")
    window.page.getByLabel("gold_loan 25").check()
    start = datetime.now(ZONE) + timedelta(minutes=5)
    window.fill("Date and time", start.strftime("%Y-%m-%dT%H:%M"))
    window.field("Recurring campaign").check()
    window.choose("Pattern", "daily")
    window.fill("Last day (optional)", (start + timedelta(days=2)).strftime("%Y-%m-%d"))
    window.press("Save as draft")
    window.page.locator(".status.draft").waitFor()
    [row] = db.execute("select * from campaigns").fetchall()
    assert (row["is_recurring"], row["recurrence_pattern"]) == (True, "daily")
    assert row["recurrence_end_at"].astimezone(ZONE).date() == (start + timedelta(days=2)).date()

    # 3. Activate
    window.press("Activate")
    window.page.locator(".status.scheduled").waitFor()
    window.sees("↻ Daily")

    # 4. A run record; 25 messages queued, 0 failed; the campaign waits for its next day
    db.execute("update campaigns set next_run_at = now()")
    window.page.locator(".run .status.completed").waitFor()
    assert window.texts(".counts .sent") == ["Sent 25"]
    assert window.texts(".counts .failed") == ["Failed 0"]
    window.page.locator(".card-head .status.scheduled").waitFor()
    [row] = db.execute("select status, next_run_at > now() as is_to_come from campaigns").fetchall()
    assert row == {"status": "scheduled", "is_to_come": True}

    # Messages: contact, status, sent at; and the whole as a table
    window.follow("Recipients")
    window.sees("Dear Person 00, your gold loan of ₹ 4,500 is due.")
    assert window.texts(".views a")[:6] == ["All 25", "Skipped", "Failed", "Unconfirmed", "Pending", "Sent 25"]
    assert len(window.texts("article")) == 25
    table = window.page.carry(DOWNLOADS, "press", "Download as CSV")
    assert re.fullmatch(r"Test Campaign \d{4}-\d\d-\d\d\.csv", table["name"])
    lines = table["text"].removeprefix("\ufeff").split("\r\n")
    assert lines[0] == "position,name,number,status,reason,sent_at,delivery,text"
    assert lines[25].startswith("25,Person 24,")
    assert len(lines) == 27


def test_failures_alone_are_retried_and_once_also_when_the_answer_is_lost(desk, db, api, segment):
    """A recipient who has no WhatsApp, until there is one."""
    segment.insert(
        "campaigns", name="To some", connection_id=segment.connection_id, message="Hello {name}",
        audience={"labels": ["gold_loan"]}, scheduled_at=datetime.now(ZONE).isoformat(), status="scheduled",
        owner_id=segment.id,
    )  # fmt: skip
    [campaign] = db.execute("select id from campaigns").fetchall()
    window = desk(segment, troubled=True).open(f"campaigns/{campaign['id']}")
    window.page.locator(".run .status.completed").waitFor()
    db.execute(
        """
        update scheduled_messages set status = 'failed', sent_at = null, message_id = null, error =
            case source_position when 1 then 'The gateway was away.' else 'This person has opted out.' end
        where source_position <= 3
        """
    )
    window.page.locator(".run .status.partial").waitFor()
    api.fault = only("retr", forgetful, times=1)
    window.press("Retry 3 failures")
    window.sees("1 is tried again.")
    window.sees("2 left out: They have opted out.")
    assert one(db, "select count(*) from campaign_retries") == 1
    until(lambda: window.texts(".counts .failed") == ["Failed 2"])
    until(lambda: window.texts(".counts .sent") == ["Sent 23"])
    window.sees("2 left out: They have opted out.")  # also when the run, which was over, has been under way
    window.follow("Recipients")
    window.follow("Failed 2")
    window.sees("This person has opted out.")
    assert len(window.texts("article")) == 2
