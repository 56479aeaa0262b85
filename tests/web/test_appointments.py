"""The desk of a hospital: what it does with appointments, what it sees of them, and that nothing is booked twice."""

import json

import pytest

from tests.helpers.polling import until
from tests.helpers.proxy import forgetful
from tests.helpers.rows import one

DAY = "2030-02-10"


def hospital_of(db, person, name="City Hospital", zone="Asia/Kolkata", connection=None):
    connection = connection or person.connection_id
    db.execute("update connections set name = %s where id = %s", (name, connection))
    person.insert("connection_settings", connection_id=connection, timezone=zone, country_code="IN")
    person.http.post("/rpc/set_up_reminders", json={"connection_id": connection}).raise_for_status()
    return connection


def booked(person, **columns):
    row = {"connection_id": person.connection_id, "patient_name": "Rahul Sharma", "mobile": "9876543210",
           "doctor_name": "Mehta", "date": DAY, "time": "10:30", **columns}  # fmt: skip
    return person.insert("appointments", **row)


def fill_in(window, **fields):
    given = {"Patient": "Asha Rao", "Mobile number": "9876500001", "Doctor": "Mehta", "Date": DAY, "Time": "10:30"}
    for label, text in (given | fields).items():
        window.fill(label, text)


@pytest.fixture
def hospital(db, person):
    hospital_of(db, person)
    return person


@pytest.fixture
def window(desk, hospital):
    return desk(hospital, troubled=True).open(f"appointments/{hospital.connection_id}/{DAY}")


def waiting(db):
    sql = """
        select source_position as n, to_char(scheduled_at at time zone timezone, 'YYYY-MM-DD HH24:MI') as at
        from scheduled_messages where status = 'pending' order by 1
    """
    return [(row["n"], row["at"]) for row in db.execute(sql)]


def test_an_appointment_is_moved_to_another_day(db, hospital, window):
    booked(hospital)
    window.press("Move")
    window.fill("Date", "2030-02-12")
    window.fill("Time", "16:00")
    window.button("Move").last().click()
    window.sees("No appointments on this day.")
    assert waiting(db)[-1] == (2, "2030-02-11 10:00")
    window.follow("The day after")
    window.follow("The day after")
    window.sees("Tuesday 12 February 2030")
    window.sees("Mon 11 Feb 2030, 10:00")


def test_cancelled_not_come_booked_again_and_deleted(db, hospital, window):
    booked(hospital)
    window.press("Cancel")
    window.press("No")
    window.press("Cancel")
    window.press("Yes, cancel")
    window.sees("The appointment is cancelled.")
    assert waiting(db) == []

    window.press("Book again")
    window.page.locator("article .status.booked").waitFor()
    assert (2, "2030-02-09 10:00") in waiting(db)
    window.press("Did not come")
    window.page.locator("article .status.no_show").waitFor()
    assert one(db, "select status from appointments") == "no_show"
    window.press("Delete")
    window.press("Yes, delete")
    window.sees("No appointments on this day.")
    assert one(db, "select count(*) from appointments") == 0


def test_a_message_is_kept_back_and_sent_after_all(db, hospital, window):
    booked(hospital)
    window.page.locator(".reminders li", hasText="Reminder").getByRole("button", name="Do not send").click()
    window.button("Send after all").waitFor()
    assert (2, "2030-02-09 10:00") not in waiting(db)
    window.press("Send after all")
    until(lambda: (2, "2030-02-09 10:00") in waiting(db))


def test_a_booking_is_made_once_whatever_happens_to_its_answer(db, api, hospital, window):
    window.press("Book an appointment")
    fill_in(window)
    lost = []

    def lose(request, answer):
        if request.method == "POST" and "/appointments" in request.path and answer and not lost:
            lost.append(answer)
            return forgetful(request, answer)
        return None

    api.fault = lose
    window.page.evaluate("""() => {
        const form = document.querySelector('dialog form')
        form.requestSubmit()
        form.requestSubmit() // before the button could be disabled
    }""")
    window.page.getByRole("dialog").waitFor(state="detached")
    assert lost
    assert one(db, "select count(*) from appointments") == 1
    assert one(db, "select count(*) from scheduled_messages where source_position = 1") == 1


def test_a_booking_that_is_being_written_outlives_a_reload(db, hospital, window):
    window.press("Book an appointment")
    fill_in(window, Doctor="Rao")
    window.page.reload()
    window.press("Book an appointment")
    assert window.field("Doctor").inputValue() == "Rao"
    window.press("Book")
    window.sees("Dr Rao")
    assert window.page.evaluate("sessionStorage.length") == 0


def test_an_edit_of_what_somebody_has_changed_since_is_refused(db, hospital, window):
    row = booked(hospital)
    window.press("Edit")
    hospital.http.patch("/appointments", params={"id": f"eq.{row['id']}"}, json={"time": "09:00"})
    window.fill("Doctor", "Rao")
    window.press("Save")
    window.sees("has changed this meanwhile")
    assert one(db, "select doctor_name from appointments") == "Mehta"
    window.press("Close")
    window.sees("09:00")
    window.press("Edit")
    assert window.field("Doctor").inputValue() == "Mehta"
    window.fill("Doctor", "Rao")
    window.press("Save")
    window.sees("Dr Rao")


def test_refusals_are_told_in_the_servers_words(db, hospital, window):
    window.press("Book an appointment")
    fill_in(window)
    db.execute("delete from connections where id = %s", (hospital.connection_id,))
    window.press("Book")
    window.sees("There is no such connection of yours.")
    assert one(db, "select count(*) from appointments") == 0


def test_a_reminder_is_added_changed_switched_off_and_deleted(db, hospital, window):
    booked(hospital)
    window.follow("Hospital and reminders")
    window.press("Add a reminder")
    window.fill("Name", "Soon")
    window.fill("How many", "2")
    window.choose("Unit", "hours")
    window.sees("2 hours before the appointment")
    window.fill("Text", "{patient_name}, see you in two hours")
    window.press("Save")
    window.sees("Rahul Sharma, see you in two hours")
    until(lambda: (4, "2030-02-10 08:30") in waiting(db))

    soon = window.page.locator("article", hasText="see you in two hours")
    soon.getByRole("button", name="Edit").click()
    window.choose("Unit", "days")
    window.fill("Time of day", "18:00")
    window.press("Save")
    window.sees("2 days before the appointment, at 18:00")
    until(lambda: (4, "2030-02-08 18:00") in waiting(db))

    soon.getByText("2 days before the appointment, at 18:00").waitFor()
    soon.getByLabel("On", exact=True).uncheck()
    until(lambda: 4 not in dict(waiting(db)))
    soon.getByRole("button", name="Delete").click()
    window.press("Yes, delete")
    window.misses("see you in two hours")
    assert one(db, "select count(*) from reminder_rules") == 3


def test_a_text_that_is_written_again_after_its_rule_was_refused_is_no_one_elses(db, hospital, window):
    window.follow("Hospital and reminders")
    window.page.locator("article", hasText="the day before").getByRole("button", name="Edit").click()
    window.fill("Name", " ")
    window.fill("Text", "First")
    window.press("Save")
    window.sees("A rule needs a name")
    window.fill("Text", "Second")
    window.page.reload()
    window.page.locator("article", hasText="the day before").getByRole("button", name="Edit").click()
    assert window.field("Text").inputValue() == "Second"
    window.fill("Name", "The day before")
    window.press("Save")
    window.page.getByRole("dialog").waitFor(state="detached")
    texts = [row["body"] for row in db.execute("select body from message_templates")]
    assert "Second" in texts


def test_a_contact_is_named_and_its_number_shown(db, hospital, window):
    contact = hospital.insert("contacts", contact_name="Asha Rao", phone_number="+919876500001")
    booked(hospital, contact_id=str(contact["id"]), mobile=None, patient_name=None)
    window.page.locator("article", hasText="Asha Rao").waitFor()
    window.sees("+919876500001")


def test_an_appointment_of_another_zone_is_booked_and_shown_in_it(db, desk, hospital):
    """The desk sits in Rome, the hospital is in Kolkata, the patient will be in New York."""
    window = desk(hospital, timezoneId="Europe/Rome").open(f"appointments/{hospital.connection_id}/{DAY}")
    window.sees("Days and times as in Asia/Kolkata")
    window.press("Book an appointment")
    fill_in(window)
    window.sees("Here that is Sun 10 Feb 2030, 06:00 Europe/Rome")
    window.choose("Time zone", "America/New_York")
    window.sees("Here that is Sun 10 Feb 2030, 16:30 Europe/Rome")
    window.press("Book")
    window.sees("Sat 9 Feb 2030, 10:00 America/New_York")
    assert one(db, "select scheduled_at from scheduled_messages where source_position = 2").isoformat() == (
        "2030-02-09T15:00:00+00:00"
    )
    # A time that the clocks leap over.
    window.press("Edit")
    window.fill("Date", "2030-03-10")
    window.fill("Time", "02:30")
    window.sees("it begins at Sun 10 Mar 2030, 03:30 America/New_York")


def test_two_hospitals_of_one_owner_have_their_own_texts_zones_and_days(db, desk, hospital):
    second = hospital.insert("connections", name="Lake Clinic")["id"]
    hospital_of(db, hospital, "Lake Clinic", "Europe/Rome", second)
    booked(hospital)
    booked(hospital, connection_id=second, patient_name="Giulia Rossi")
    window = desk(hospital).open(f"appointments/{hospital.connection_id}/{DAY}")
    window.sees("Rahul Sharma")
    assert window.page.getByText("Giulia Rossi").count() == 0
    window.choose("Hospital", second)
    window.open(f"appointments/{second}/{DAY}")
    window.sees("Giulia Rossi")
    window.sees("Days and times as in Europe/Rome")
    window.sees("Sat 9 Feb 2030, 10:00 Europe/Rome")
    assert window.page.getByText("Rahul Sharma").count() == 0
    window.follow("Hospital and reminders")
    window.page.locator(".example", hasText="- Lake Clinic").first().waitFor()


def test_two_hospitals_side_by_side_see_their_own(db, desk, user):
    people = [user(), user()]
    windows = []
    for one_of_them, patient in zip(people, ["Rahul Sharma", "Giulia Rossi"], strict=True):
        hospital_of(db, one_of_them)
        booked(one_of_them, patient_name=patient)
        windows.append(desk(one_of_them).open(f"appointments/{one_of_them.connection_id}/{DAY}"))
    for window, mine, others in zip(
        windows, ["Rahul Sharma", "Giulia Rossi"], ["Giulia Rossi", "Rahul Sharma"], strict=True
    ):
        window.sees(mine)
        assert window.page.getByText(others).count() == 0
    # Somebody else's hospital is none: one's own is shown.
    windows[0].open(f"appointments/{people[1].connection_id}/{DAY}")
    windows[0].sees("Rahul Sharma")
    windows[0].press("Move")
    windows[0].fill("Time", "11:00")
    windows[0].button("Move").last().click()
    windows[0].sees("11:00")
    assert [str(row["time"])[:5] for row in db.execute("select time from appointments order by patient_name")] == [
        "10:30", "11:00",
    ]  # fmt: skip


def test_of_four_hundred_appointments_a_page_shows_fifty_and_a_patient_is_found(db, api, hospital, window):
    db.execute(
        """
        insert into appointments (connection_id, owner_id, patient_name, mobile, doctor_name, date, time)
        select %s, %s, 'Patient ' || n, '98765' || lpad(n::text, 5, '0'), 'Mehta', %s,
            time '08:00' + n * interval '1 minute'
        from generate_series(1, 400) as n
        """,
        (hospital.connection_id, hospital.id, DAY),
    )
    window.sees("Page 1 of 8")
    until(lambda: len(window.texts("main > .messages > li")) == 50)
    window.press("Next")
    window.sees("Page 2 of 8")
    window.sees("Patient 51")
    window.fill("Search all appointments", "ent 388")
    window.sees("Found")
    until(lambda: len(window.texts("main > .messages > li")) == 1)
    window.sees("Sun 10 Feb 2030, 14:28")
    window.fill("Search all appointments", 'nobody, "(%*\\')
    window.sees("Nobody of that name or number.")
    assert json.dumps(window.texts(".pager")) == "[]"
