"""The scheduled campaigns of document 002: how to schedule one, how to monitor it, and its quick test."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.proxy import answering, forgetful, only
from tests.helpers.rows import one
from tests.web.people import HELD, add_people

ZONE = ZoneInfo("Asia/Kolkata")  # the browser's


def wall(minutes):
    return (datetime.now(ZONE) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


def make_due(db):
    """A minute is a long time for a test: now it is."""
    db.execute("update campaigns set next_run_at = now() where next_run_at is not null")


def the_campaign(db):
    [row] = db.execute("select * from campaigns").fetchall()
    return row


@pytest.fixture
def template(person):
    return person.insert(
        "message_templates", name="Offer", body="Dear {name}, your {loan} can grow until {date}.",
        defaults={"date": "Friday"}, owner_id=person.id,
    )  # fmt: skip


def begin(window, name="Gold loans", message=None):
    window.open("campaigns/new")
    window.fill("Campaign name", name)
    if message:
        window.fill("Message", message)
    else:
        window.choose("Template", window.page.locator("option", hasText="Offer").getAttribute("value"))
        window.fill("{loan}", "gold loan")


def test_how_to_schedule_a_campaign(desk, db, person, template):
    add_people(db, person, 3)
    db.execute("update contacts set contact_name = null where contact_name = 'Person 02'")
    window = desk(person).open("campaigns")
    window.sees("No campaigns yet.")
    window.follow("Make a campaign")
    # Step 1: name, template, template fields (use {name} for personalisation), recipients
    begin(window)
    window.sees("Dear {name}, your {loan} can grow until {date}.")
    window.sees("Each contact's own; this where there is none.")
    window.sees("Without one: Friday")
    window.page.getByLabel("gold 3").check()
    # Step 2: choose the time, and "Schedule Campaign"
    window.fill("Date and time", wall(2))
    window.button("Schedule Campaign").dblclick()

    # Step 3: it is saved as scheduled, and sends itself
    window.page.locator(".status.scheduled").waitFor()
    window.sees("Everybody with the label gold")
    row = the_campaign(db)
    assert (row["status"], row["timezone"], row["audience"]) == ("scheduled", "Asia/Kolkata", {"labels": ["gold"]})
    assert (str(row["template_id"]), row["variables"]) == (template["id"], {"loan": "gold loan"})
    make_due(db)
    window.page.locator(".status.completed").first().waitFor()
    texts = [m["message"] for m in db.execute("select message from scheduled_messages order by source_position")]
    assert texts == [f"Dear Person 0{n}, your gold loan can grow until Friday." for n in range(2)]
    window.follow("Recipients")
    window.follow("Skipped 1")
    window.sees("No value for {name}.")


def test_monitoring_scheduled_campaigns_and_the_quick_test(desk, db, person):
    add_people(db, person, 8)
    db.execute("insert into connection_settings (connection_id, messages, period_seconds) values (%s, 1, 3600)",
        (person.connection_id,))  # fmt: skip
    window = desk(person, troubled=True)
    begin(window, "Quick test", "Hello {name}")
    window.page.getByLabel("gold 8").check()
    window.fill("Date and time", wall(2))
    window.press("Schedule Campaign")
    window.page.locator(".status.scheduled").waitFor()
    # 2. Verify scheduled: the history shows the status and the time
    window.follow("All campaigns")
    line = window.page.locator("article.campaign")
    line.locator(".status.scheduled").waitFor()
    assert "Asia/Kolkata" in line.locator("time").innerText()
    window.page.getByRole("link", name="Quick test").click()
    # 3. The status changes to processing; sent, failed and pending counts in real time
    make_due(db)
    window.page.locator(".run .status.processing").waitFor()
    until(lambda: window.texts(".counts .sent") == ["Sent 1"])
    assert window.texts(".counts .pending") == ["Pending 7"]
    assert window.texts(".counts .failed") == ["Failed 0"]

    window.press("Pause")
    window.sees("The campaign is paused.")
    assert the_campaign(db)["status"] == "paused"
    window.press("Resume")
    window.page.locator(".run .status.processing").waitFor()
    db.execute("update connection_settings set messages = null, period_seconds = null")
    # … then to completed: messages were sent, sent and failed counts
    window.page.locator(".run .status.completed").waitFor()
    assert window.texts(".counts .sent") == ["Sent 8"]
    assert one(db, "select count(*) from scheduled_messages where status = 'sent'") == 8


def test_what_waits_is_cancelled_for_good(desk, db, person):
    add_people(db, person, 5)
    db.execute("insert into connection_settings (connection_id, messages, period_seconds) values (%s, 1, 3600)",
        (person.connection_id,))  # fmt: skip
    window = desk(person, troubled=True)
    begin(window, "To be stopped", "Hello {name}")
    window.page.getByLabel("gold 5").check()
    window.press("Schedule Campaign")
    window.page.locator(".status.scheduled").waitFor()
    make_due(db)
    until(lambda: window.texts(".counts .sent") == ["Sent 1"])
    window.press("Cancel")
    window.press("Yes, cancel")
    until(lambda: window.texts(".counts .cancelled") == ["Cancelled 4"])
    assert one(db, "select count(*) from scheduled_messages where status = 'sent'") == 1
    assert window.button("Resume").count() == 0


def test_a_campaign_is_made_once_and_what_was_written_outlives_a_reload(desk, db, api, person):
    add_people(db, person, 2)
    window = desk(person, troubled=True)
    begin(window, "Half a na", "Hello {name}, {offer}")
    window.page.getByLabel("gold 2").check()
    window.press("Schedule Campaign")
    window.sees("Nothing can fill {offer}. Give it a value.")
    window.page.reload()
    assert window.field("Campaign name").inputValue() == "Half a na"
    assert window.page.getByLabel("gold 2").isChecked()
    window.fill("{offer}", "ten percent")
    lost = []

    def lose_the_first(request, answer):
        if request.method == "POST" and "/campaigns" in request.path and answer and not lost:
            lost.append(answer.status)
            return forgetful(request, answer)
        return None

    api.fault = lose_the_first
    window.press("Schedule Campaign")
    window.page.locator(".status.scheduled").waitFor()
    assert lost == [201]
    assert one(db, "select count(*) from campaigns") == 1
    assert window.page.evaluate("sessionStorage.length") == 0

    # An edit begins with what is stored, and is refused once somebody else has made one.
    window.follow("Edit")
    assert window.field("{offer}").inputValue() == "ten percent"
    assert window.page.getByLabel("gold 2").isChecked()
    window.fill("Campaign name", "A whole name")
    window.press("Save")
    window.sees("A whole name")
    window.follow("Edit")
    window.fill("Message", "Mine {offer}")
    db.execute("update campaigns set message = 'Theirs'")
    window.press("Save")
    window.sees("Somebody has changed this meanwhile.")
    assert the_campaign(db)["message"] == "Theirs"


def test_the_other_button_after_a_lost_answer_is_what_counts(desk, db, api, person):
    add_people(db, person, 2)
    window = desk(person, troubled=True)
    begin(window, "To be sent", "Hello {name}")
    window.page.getByLabel("gold 2").check()
    api.fault = only("/campaigns", lambda request, got: forgetful(request, got) if request.method == "POST" else None)
    window.press("Save as draft")
    window.sees("The server does not answer.")
    assert the_campaign(db)["status"] == "draft"
    api.fault = None
    window.press("Schedule Campaign")
    window.page.locator(".card-head .status").waitFor()
    assert the_campaign(db)["status"] == "scheduled"


def test_whoever_is_selected_late_takes_back_nothing_that_was_typed_meanwhile(desk, db, person):
    add_people(db, person, 3)
    window = desk(person)
    begin(window, "Some", "Hello")
    window.page.getByLabel("Chosen contacts").check()
    window.sees("Person 02")
    window.page.carry(HELD, "hold", "limit=1000")
    window.press("Select all")
    until(lambda: window.page.carry(HELD, "number") == 1)
    window.page.getByLabel("Phone numbers").check()
    window.fill("Numbers", "+91 98765 00001")
    window.page.carry(HELD, "letGo")
    until(lambda: len(window.stored("campaign new")["values"]["audience"]["contacts"]) == 3)
    assert window.field("Numbers").inputValue() == "+91 98765 00001"


@pytest.mark.parametrize("by", ["contacts", "numbers"])
def test_recipients_are_chosen_one_by_one_or_given_as_numbers(desk, db, person, by):
    ids = add_people(db, person, 3)
    window = desk(person, troubled=True)
    begin(window, "Some", "Hello")
    if by == "contacts":
        window.page.getByLabel("Chosen contacts").check()
        window.page.getByRole("checkbox", name="Person 02").check()
        window.page.getByRole("checkbox", name="Person 00").check()
        expected = {"contacts": [ids[2], ids[0]]}
        words = "2 contacts"
    else:
        window.page.getByLabel("Phone numbers").check()
        window.fill("Numbers", "+91 98765 00001\n\n+91 98765 00002; +91 98765 00003")
        window.sees("3 numbers so far.")
        expected = {"numbers": ["+91 98765 00001", "+91 98765 00002", "+91 98765 00003"]}
        words = "3 numbers"
    window.press("Save as draft")
    window.page.locator(".status.draft").waitFor()
    window.sees(words)
    assert the_campaign(db)["audience"] == expected
    window.follow("Edit")
    if by == "contacts":
        window.page.getByText("Who is chosen").click()
        window.button("Remove Person 02").waitFor()
    else:
        assert window.field("Numbers").inputValue().count("\n") == 2
    window.press("Schedule Campaign")
    window.page.locator(".status.scheduled").waitFor()


def test_two_people_side_by_side_see_their_own_campaigns(desk, db, user):
    people = [user(), user()]
    for one_of_them, name in zip(people, ["One", "Two"], strict=True):
        add_people(db, one_of_them, 1)
        one_of_them.insert(
            "campaigns", name=name, connection_id=one_of_them.connection_id, message="Hello", owner_id=one_of_them.id,
            audience={"labels": ["gold"]}, scheduled_at="2031-05-05T09:00Z",
        )  # fmt: skip
    windows = [desk(one_of_them).open("campaigns") for one_of_them in people]
    for window, mine, others in zip(windows, ["One", "Two"], ["Two", "One"], strict=True):
        window.sees(mine)
        assert window.page.getByText(others, exact=True).count() == 0
    [row] = db.execute("select id from campaigns where name = 'Two'").fetchall()
    windows[0].open(f"campaigns/{row['id']}")
    windows[0].sees("There is no such campaign.")


def test_what_is_loaded_once_is_asked_for_again_after_a_fault_but_not_without_a_pause(desk, db, api, person):
    add_people(db, person, 2)
    api.fault = only("rpc/contact_labels", answering(Reply(503, {"message": "no"})))
    window = desk(person, troubled=True)
    window.open("campaigns/new")
    window.sees("The server does not answer.")
    before = api.calls["/rest/v1/rpc/contact_labels"]
    for _ in range(20):
        window.fill("Campaign name", "Meanwhile")
    assert api.calls["/rest/v1/rpc/contact_labels"] <= before + 2
    api.fault = None
    window.page.getByLabel("gold 2").check()
