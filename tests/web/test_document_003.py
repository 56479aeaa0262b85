"""What document 003 tells a hospital to do, section by section, with the mouse."""

from datetime import date, timedelta

import pytest

from tests.helpers.polling import until
from tests.helpers.rows import one

DAY = "2030-02-10"


@pytest.fixture
def hospital(db, person):
    """The person's connection, named and with its reminders set up by hand in the first test alone."""
    db.execute("update connections set name = 'City Hospital' where id = %s", (person.connection_id,))
    settings = {"connection_id": person.connection_id, "timezone": "Asia/Kolkata", "country_code": "IN"}
    person.insert("connection_settings", **settings)
    return person


@pytest.fixture
def reminding(hospital):
    hospital.http.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection_id}).raise_for_status()
    return hospital


def book(window, patient="Rahul Sharma", mobile="98765 43210", on=DAY, **fields):
    window.press("Book an appointment")
    given = {"Patient": patient, "Mobile number": mobile, "Doctor": "Mehta", "Date": on, "Time": "10:30", **fields}
    for label, text in given.items():
        window.fill(label, text)
    window.press("Book")
    window.page.getByRole("dialog").waitFor(state="detached")


def reminders(window, patient="Rahul Sharma"):
    """What stands beneath an appointment: one line for each message, as far as its time."""
    article = window.page.locator("article", hasText=patient).first()
    return [" ".join(text.split()).split(" in ")[0] for text in article.locator(".reminder-head").allInnerTexts()]


def test_enable_whatsapp_for_hospital(desk, db, hospital):
    window = desk(hospital).open("appointments")
    window.sees("No reminders are set up here")
    window.press("Set up confirmation, reminder and follow-up")
    window.misses("No reminders are set up here")
    window.follow("Hospital and reminders")
    assert window.texts(".rules h3") == ["Confirmation", "Reminder", "Follow-up"]
    assert window.texts(".rules .message-head .muted") == [
        "At once, when it is booked", "The day before the appointment, at 10:00", "On the follow-up date, at 09:00",
    ]  # fmt: skip

    window.field("Send this hospital's messages").uncheck()
    window.sees("Nothing is sent")
    assert one(db, "select active from connection_settings") is False
    window.follow("Day")
    book(window)
    window.open(f"appointments/{hospital.connection_id}/{DAY}")
    window.sees("This hospital's messages are switched off.")
    window.sees("It causes no messages.")

    window.follow("Hospital and reminders")
    window.field("Send this hospital's messages").check()
    window.sees("Messages are sent.")
    window.open(f"appointments/{hospital.connection_id}/{DAY}")
    until(lambda: reminders(window) == ["pending Reminder Sat 9 Feb 2030, 10:00 Asia/Kolkata"])


def test_customize_message_templates(desk, db, reminding):
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/hospital")
    window.sees("Hello Rahul Sharma, Reminder: Appointment with Dr Mehta tomorrow at 10:30 AM. - City Hospital")
    window.page.locator("article", hasText="the day before").getByRole("button", name="Edit").click()
    window.fill("Text", "नमस्ते {patient_name}, {date} {time}: Dr {doctor_name}, {room}")
    window.choose("Language", "hi")
    window.press("Save")
    window.sees("नमस्ते Rahul Sharma, 10 फ़रवरी 2030 10:30 am: Dr Mehta")
    window.sees("From the appointment itself: {room}")

    window.fill("Name in messages", "City Hospital, Pune")
    window.press("Save the settings")
    window.sees("What is open follows.")
    window.sees("is confirmed for February 10, 2030 at 10:30 AM. - City Hospital, Pune")

    # What a text asks for beside the document's seven is asked for when somebody books.
    window.open(f"appointments/{reminding.connection_id}/{DAY}")
    book(window, room="12")
    window.sees("Sat 9 Feb 2030")
    assert one(db, "select message from scheduled_messages where source_position = 2") == (
        "नमस्ते Rahul Sharma, 10 फ़रवरी 2030 10:30 am: Dr Mehta, 12"
    )


def test_appointment_booking(desk, db, reminding):
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/{DAY}")
    window.sees("No appointments on this day.")
    book(window)

    until(
        lambda: [line.split()[:2] for line in reminders(window)] == [["sent", "Confirmation"], ["pending", "Reminder"]]
    )
    window.page.locator("article").getByText("Text").first().click()
    window.sees("is confirmed for February 10, 2030 at 10:30 AM. - City Hospital")
    row = db.execute("select * from appointments").fetchone()
    assert (row["mobile"], str(row["owner_id"]), str(row["date"])) == ("98765 43210", reminding.id, DAY)
    assert one(db, "select recipient from broadcast_jobs") == "+919876543210"


def test_doctor_visit(desk, db, reminding):
    reminding.insert("appointments", connection_id=reminding.connection_id, patient_name="Rahul Sharma",
                     mobile="9876543210", doctor_name="Mehta", date=DAY, time="10:30")  # fmt: skip
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/{DAY}")
    window.press("Visited")
    window.fill("Follow-up date (optional)", "2030-02-17")
    window.press("Mark as visited")

    until(lambda: "pending Follow-up Sun 17 Feb 2030, 09:00 Asia/Kolkata" in reminders(window))
    window.sees("The appointment is visited.")
    window.sees("Follow-up on Sun 17 Feb 2030")
    assert db.execute("select status, followup_date::text as f from appointments").fetchone() == {
        "status": "visited", "f": "2030-02-17",
    }  # fmt: skip
    # It stands on its own day, too.
    window.open(f"appointments/{reminding.connection_id}/2030-02-17")
    window.sees("Follow-ups on this day")
    window.sees("Sun 10 Feb 2030, 10:30")


def test_visited_without_a_follow_up(desk, db, reminding):
    reminding.insert("appointments", connection_id=reminding.connection_id, patient_name="Rahul Sharma",
                     mobile="9876543210", doctor_name="Mehta", date=DAY, time="10:30")  # fmt: skip
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/{DAY}")
    window.press("Visited")
    window.press("Mark as visited")
    window.page.locator(".status.visited").waitFor()
    assert one(db, "select count(*) from scheduled_messages where status = 'pending'") == 0


def test_automated_reminders(desk, db, reminding):
    tomorrow = str(date.today() + timedelta(days=1))
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/{tomorrow}")
    reminding.insert("appointments", connection_id=reminding.connection_id, patient_name="Rahul Sharma",
                     mobile="9876543210", doctor_name="Mehta", date=DAY, time="10:30",
                     followup_date="2030-02-17")  # fmt: skip
    window.open(f"appointments/{reminding.connection_id}/{DAY}")
    until(
        lambda: (
            reminders(window)[1:]
            == [
                "pending Reminder Sat 9 Feb 2030, 10:00 Asia/Kolkata",
                "pending Follow-up Sun 17 Feb 2030, 09:00 Asia/Kolkata",
            ]
        )
    )
    # It is ten o'clock on the day before.
    db.execute("update scheduled_messages set scheduled_at = now() where source_position = 2")
    until(lambda: reminders(window)[1].startswith("sent Reminder"))


def test_messages_not_sending(desk, db, reminding):
    """Verify that WhatsApp is enabled; check the session; review errors; see that numbers are in the right format."""
    for patient, mobile in (("Rahul Sharma", "12345"), ("Asha Rao", None)):
        reminding.insert("appointments", connection_id=reminding.connection_id, patient_name=patient, mobile=mobile,
                         doctor_name="Mehta", date=DAY, time="10:30")  # fmt: skip
    window = desk(reminding).open(f"appointments/{reminding.connection_id}/{DAY}")
    window.follow("With a fault 2")
    window.sees("There is no mobile number, and no contact.")
    window.sees("full phone number")

    window.page.locator("article", hasText="Rahul").getByRole("button", name="Edit").click()
    window.fill("Mobile number", "9876543210")
    window.press("Save")
    window.misses("full phone number")
    window.page.locator("article", hasText="Asha").getByRole("button", name="Edit").click()
    window.fill("Mobile number", "9876543211")
    window.press("Save")
    window.sees("No appointment has a fault.")
    until(lambda: one(db, "select count(*) from scheduled_messages where status = 'sent'") == 2)
