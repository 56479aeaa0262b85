"""The clinic's panel (document 000), step by step, with the mouse: select, compose and schedule, list with counts."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.polling import until
from tests.helpers.proxy import forgetful, only
from tests.helpers.rows import one
from tests.web.people import HELD, add_people

ZONE = ZoneInfo("Asia/Kolkata")  # the browser's


def wall(minutes):
    return (datetime.now(ZONE) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


def make_due(db):
    """A minute is a long time for a test: now it is."""
    db.execute("update campaigns set next_run_at = now() where next_run_at is not null")


@pytest.fixture
def clinic(db, person):
    """Sixty patients, and one each whom nothing can be sent to."""
    add_people(db, person, 60)
    person.insert("contacts", contact_name="Nobody's number", phone_number=None)
    person.insert("contacts", contact_name="Blocked", phone_number="+919876599999", is_blocked=True)
    return person


def test_step_1_select_patients(desk, db, clinic):
    window = desk(clinic).open("bulk")
    # Search and select multiple patients (with phone numbers)
    window.fill("Search contacts", "son 07")
    window.page.getByRole("checkbox", name="Person 07").check()
    window.sees("1 of at most 50 chosen")
    window.fill("Search contacts", "o")
    window.page.getByText("Nobody's number").waitFor()
    assert window.page.getByRole("checkbox", name="Nobody's number").isDisabled()
    assert window.page.getByRole("checkbox", name="Blocked").isDisabled()

    # Can select all or individual patients with checkboxes; at most 50
    window.press("Select all found")
    window.sees("50 of at most 50 chosen")
    window.sees("No more fit in.")
    window.fill("Search contacts", "Person 5")
    until(lambda: window.page.getByRole("checkbox", name="Person 58").count() == 1)
    assert window.page.getByRole("checkbox", name="Person 58").isDisabled()
    window.page.getByText("Who is chosen").click()
    window.press("Remove Person 07")
    window.sees("49 of at most 50 chosen")
    window.page.getByRole("checkbox", name="Person 58").check()
    window.page.reload()
    window.sees("50 of at most 50 chosen")
    window.page.getByText("Who is chosen").click()
    window.press("Remove all")
    window.sees("0 of at most 50 chosen")


def test_step_2_compose_and_schedule_and_viewing_scheduled_messages(desk, db, clinic):
    window = desk(clinic, troubled=True).open("bulk")
    window.sees("Person 47")
    window.fill("Message", "Dear {name}, the clinic is closed on Friday.")
    window.fill("Date and time", wall(5))
    window.press("Schedule")
    window.sees("Choose somebody to write to.")
    window.press("Select all")
    window.sees("50 of at most 50 chosen")
    window.button("Schedule").dblclick()
    window.sees("to 50 recipients; the last goes out about")

    [campaign] = db.execute("select * from campaigns").fetchall()
    assert (campaign["status"], campaign["max_recipients"], str(campaign["owner_id"])) == ("scheduled", 50, clinic.id)
    assert len(campaign["audience"]["contacts"]) == 50
    # Message text, scheduled date and time, status
    line = window.page.locator("article.campaign")
    assert "Dear {name}, the clinic is closed on Friday." in line.innerText()  # and so it is called
    assert line.locator(".status").innerText() == "scheduled"
    # Number of recipients, success and failure counts; one was taken by somebody else's hand meanwhile
    db.execute("update contacts set phone_number = '12' where contact_name = 'Person 03'")
    make_due(db)
    line.locator(".status.completed").waitFor()
    until(lambda: "50 recipients · 49 sent · 1 skipped" in " ".join(line.innerText().split()))
    texts = {row["message"] for row in db.execute("select message from scheduled_messages where status = 'sent'")}
    assert len(texts) == 49
    assert "Dear Person 00, the clinic is closed on Friday." in texts


def test_a_lost_answer_is_one_scheduled_message(desk, db, api, clinic):
    window = desk(clinic, troubled=True).open("bulk")
    window.page.getByRole("checkbox", name="Person 00").check()
    window.fill("Message", "Once")
    window.fill("Date and time", wall(60))
    lost = []

    def lose_the_first(request, answer):
        if "schedule_to_contacts" in request.path and answer and not lost:
            lost.append(answer.status)
            return forgetful(request, answer)
        return None

    api.fault = lose_the_first
    window.press("Schedule")
    window.sees("to 1 recipient;")
    assert lost == [200]
    assert one(db, "select count(*) from campaigns") == 1


def test_what_is_changed_after_a_lost_answer_is_what_is_scheduled(desk, db, api, clinic):
    window = desk(clinic, troubled=True).open("bulk")
    window.page.getByRole("checkbox", name="Person 00").check()
    window.fill("Message", "Once")
    window.fill("Date and time", wall(60))
    # It is carried out, and nobody hears of it.
    api.fault = only("schedule_to_contacts", forgetful)
    window.press("Schedule")
    window.sees("The server does not answer.")
    assert one(db, "select message from campaigns") == "Once"
    api.fault = None
    window.fill("Message", "Better")
    window.press("Schedule")
    window.sees("to 1 recipient;")
    assert one(db, "select string_agg(message, ', ') from campaigns") == "Better"


def test_what_is_typed_while_all_are_being_selected_stays(desk, db, clinic):
    window = desk(clinic).open("bulk")
    window.sees("Person 47")
    window.page.carry(HELD, "hold", "limit=1000")
    window.press("Select all")
    until(lambda: window.page.carry(HELD, "number") == 1)
    window.fill("Message", "Typed meanwhile")
    window.page.carry(HELD, "letGo")
    window.sees("50 of at most 50 chosen")
    assert window.field("Message").inputValue() == "Typed meanwhile"


def test_refusals_name_those_who_cannot_be_written_to(desk, db, clinic):
    window = desk(clinic, troubled=True).open("bulk")
    window.page.getByRole("checkbox", name="Person 01").check()
    window.fill("Message", "Hello")
    window.fill("Date and time", wall(60))
    db.execute("update contacts set phone_number = null where contact_name = 'Person 01'")
    window.press("Schedule")
    window.sees("No phone number: Person 01. Add it, or leave them out.")
    assert one(db, "select count(*) from campaigns") == 0
    assert window.field("Message").inputValue() == "Hello"


def test_two_clinics_side_by_side(desk, db, user, clinic):
    other = user()
    add_people(db, other, 1, first=90)
    windows = [desk(clinic).open("bulk"), desk(other).open("bulk")]
    windows[1].sees("Person 90")
    assert windows[1].page.getByText("Person 01").count() == 0
    windows[1].press("Select all")
    windows[1].fill("Message", "Mine")
    windows[1].fill("Date and time", wall(60))
    windows[1].press("Schedule")
    windows[1].sees("to 1 recipient;")
    windows[0].open("bulk/list")
    windows[0].sees("Nothing is scheduled to several contacts yet.")
