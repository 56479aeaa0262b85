"""Document 003, sentence by sentence: what a hospital sees through the API as its signed-in user."""

from datetime import UTC, datetime

import pytest

from tests.helpers.rows import one
from tests.sources.hospital import CONFIRMATION, FOLLOW_UP, REMINDER, at, day
from worker.errors import WorkerError
from worker.operating import operate


def test_confirmation_sent_immediately_after_appointment_booking(hospital):
    message = hospital.message(hospital.book(date="2030-02-10"), CONFIRMATION)

    assert message["status"] == "pending"
    assert message["due_at"] <= datetime.now(UTC).isoformat()
    assert message["message"] == (
        "Hello Rahul Sharma, Your appointment with Dr Mehta is confirmed for February 10, 2030 at 10:30 AM."
        " - City Hospital"
    )


def test_reminders_go_one_day_before_the_appointment_at_10_00(hospital):
    appointment = hospital.book(date=day(10))

    assert hospital.open(appointment)[REMINDER] == at(day(9), "10:00")
    message = hospital.message(appointment, REMINDER)["message"]
    assert message == "Hello Rahul Sharma, Reminder: Appointment with Dr Mehta tomorrow at 10:30 AM. - City Hospital"


def test_doctors_can_mark_appointments_as_visited(hospital):
    appointment = hospital.book()

    assert hospital.change(appointment, status="visited")["status"] == "visited"

    assert hospital.open(appointment) == {}
    assert hospital.message(appointment, REMINDER)["error"] == "The appointment is visited."


def test_with_an_optional_follow_up_date_the_reminder_is_sent_on_that_date_at_9_00(hospital):
    appointment = hospital.book()

    hospital.change(appointment, status="visited", followup_date="2030-02-17")

    assert hospital.open(appointment) == {FOLLOW_UP: at("2030-02-17", "09:00")}
    message = hospital.message(appointment, FOLLOW_UP)["message"]
    assert message == "Hello Rahul Sharma, Reminder: Follow-up with Dr Mehta on February 17, 2030. - City Hospital"


def test_whatsapp_is_enabled_and_disabled_per_hospital(hospital, other_hospital):
    before = hospital.book()
    hospital.settings(active=False)

    assert hospital.open(before) == {}
    assert hospital.open(hospital.book()) == {}
    assert set(other_hospital.open(other_hospital.book())) == {CONFIRMATION, REMINDER}

    hospital.settings(active=True)
    assert set(hospital.open(before)) == {REMINDER}


def test_customizable_message_templates_per_hospital(hospital, other_hospital):
    appointment, other = hospital.book(), other_hospital.book()

    hospital.set_text(REMINDER, body="See you at {time}, {patient_name}!")

    assert hospital.message(appointment, REMINDER)["message"] == "See you at 10:30 AM, Rahul Sharma!"
    assert "Lake Clinic" in other_hospital.message(other, REMINDER)["message"]


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("patient_name", "Rahul Sharma"),
        ("doctor_name", "Mehta"),
        ("date", "February 10, 2030"),
        ("time", "10:30 AM"),
        ("followup_date", "February 17, 2030"),
        ("hospital_name", "City Hospital"),
        ("specialty", "Ortho"),
    ],
)
def test_available_placeholders(hospital, placeholder, value):
    hospital.set_text(CONFIRMATION, body=f"<{{{placeholder}}}>")

    appointment = hospital.book(date="2030-02-10", followup_date="2030-02-17", specialty="Ortho")

    assert hospital.message(appointment, CONFIRMATION)["message"] == f"<{value}>"


def test_the_specialty_is_blank_where_none_is_available(hospital):
    hospital.set_text(CONFIRMATION, body="<{specialty}>")

    appointment = hospital.book()

    assert hospital.message(appointment, CONFIRMATION)["message"] == "<>"
    assert hospital.read(appointment)["reminder_fault"] is None


def test_failed_messages_are_logged(hospital):
    appointment = hospital.book()

    hospital.past(appointment, CONFIRMATION, "failed", "The number is not on WhatsApp.")

    assert hospital.read(appointment)["reminder_fault"] == "The number is not on WhatsApp."
    [entry] = hospital.user.http.get("/audit_log", params={"kind": "eq.failed"}).json()
    assert entry["record"]["error"] == "The number is not on WhatsApp."


def test_all_messages_are_logged_for_audit_purposes(hospital):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION)
    hospital.change(appointment, date=day(11))
    hospital.change(appointment, status="visited", followup_date=day(30))
    hospital.change(appointment, status="cancelled")

    log = hospital.user.http.get("/audit_log", params={"order": "id"}).json()
    assert [entry["kind"] for entry in log] == ["booked", "sent", "moved", "followup_set", "cancelled"]


def test_setting_a_hospital_up_again_makes_nothing_twice(hospital):
    for _ in range(2):
        answer = hospital.user.http.post("/rpc/set_up_reminders", json={"connection_id": hospital.connection})
        assert [rule["number"] for rule in answer.json()] == [CONFIRMATION, REMINDER, FOLLOW_UP]


async def test_an_operator_sets_a_hospital_up_by_one_command(hospital, settings, capsys):
    second = hospital.user.insert("connections", name="Second branch")["id"]

    await operate.connection(settings(), second, ["reminders=hospital", "messages=15", "period_seconds=60"], False)

    assert "Confirmation, Reminder, Follow-up" in capsys.readouterr().err
    paced = "select format('%%s in %%s s', messages, period_seconds) from connection_settings where connection_id = %s"
    assert one(hospital.db, paced, second) == "15 in 60 s"
    rules = hospital.user.http.get("/reminder_rules", params={"connection_id": f"eq.{second}"}).json()
    assert [(rule["owner_id"], rule["number"]) for rule in rules] == [(hospital.user.id, n) for n in (1, 2, 3)]
    with pytest.raises(WorkerError, match=r"reminders=clinic: .*The only one is hospital"):
        await operate.connection(settings(), second, ["reminders=clinic"], False)


async def test_mobile_numbers_are_sent_to_with_their_prefix(hospital, parts):
    daemon = await parts()
    appointment = hospital.book(mobile="98765 43210")

    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()

    assert hospital.message(appointment, CONFIRMATION)["status"] == "sent"
    [job] = hospital.db.execute("select recipient from broadcast_jobs").fetchall()
    assert job["recipient"] == "+919876543210"


async def test_a_mobile_number_that_is_none_is_said_on_the_appointment(hospital, parts):
    daemon = await parts()
    appointment = hospital.book(mobile="12345")

    await daemon.scheduler.poll()

    assert "phone number" in hospital.read(appointment)["reminder_fault"]
    hospital.change(appointment, mobile="9876543210")
    assert hospital.message(appointment, CONFIRMATION)["status"] == "pending"
