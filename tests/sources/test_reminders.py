"""What waits follows whatever changes it, in the same transaction; an appointment is never hostage to a message."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.helpers.rows import one
from tests.sources.hospital import CONFIRMATION, FOLLOW_UP, REMINDER, at, day


def test_an_appointment_that_is_moved_takes_its_messages_along(hospital):
    appointment = hospital.book(date=day(10))

    hospital.change(appointment, date=day(20), time="16:00")

    assert hospital.open(appointment)[REMINDER] == at(day(19), "10:00")
    assert {m["source_position"]: m["source_try"] for m in hospital.messages(appointment)} == {1: 0, 2: 0}
    assert "4:00 PM" in hospital.message(appointment, CONFIRMATION)["message"]
    not_after = hospital.message(appointment, REMINDER)["not_after"]
    assert datetime.fromisoformat(not_after) == at(day(20), "16:00")


def test_what_is_moved_to_the_day_after_a_confirmation_went_out_is_not_confirmed_again(hospital):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION)

    hospital.change(appointment, date=day(20))

    assert set(hospital.open(appointment)) == {REMINDER}


def test_a_confirmation_whose_rule_comes_later_now_is_not_sent_again_by_a_move(hospital):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION)
    hospital.set_rule(CONFIRMATION, shift="3 days")

    hospital.change(appointment, date=day(20))

    assert set(hospital.open(appointment)) == {REMINDER}


@pytest.mark.parametrize("status", ["sent", "unconfirmed"])
def test_a_reminder_that_went_out_for_another_day_goes_out_for_the_new_one(hospital, status):
    appointment = hospital.book()
    hospital.past(appointment, REMINDER, status, None if status == "sent" else "Nobody knows.")

    hospital.change(appointment, date=day(20))
    hospital.change(appointment, doctor_name="Rao")

    tries = [(m["source_try"], m["status"]) for m in hospital.messages(appointment) if m["source_position"] == REMINDER]
    assert tries == [(0, status), (1, "pending")]
    assert hospital.open(appointment)[REMINDER] == at(day(19), "10:00")
    assert "Dr Rao" in hospital.message(appointment, REMINDER)["message"]


@pytest.mark.parametrize("status", ["cancelled", "visited", "no_show"])
def test_what_is_over_reminds_of_nothing_and_of_its_follow_up(hospital, status):
    appointment = hospital.book(followup_date=day(30))

    hospital.change(appointment, status=status)

    assert set(hospital.open(appointment)) == (set() if status == "cancelled" else {FOLLOW_UP})
    hospital.change(appointment, status="booked")
    assert set(hospital.open(appointment)) == {REMINDER, FOLLOW_UP}


def test_a_follow_up_date_that_is_taken_back_ends_its_message(hospital):
    appointment = hospital.book(status="visited", followup_date=day(30))

    hospital.change(appointment, followup_date=None)

    assert hospital.open(appointment) == {}


def test_an_appointment_that_is_deleted_takes_what_waits_with_it(hospital):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION)

    hospital.delete(appointment)

    assert [(m["status"], m["error"]) for m in hospital.messages(appointment)] == [
        ("sent", None), ("cancelled", "The appointment was deleted."),
    ]  # fmt: skip


def test_two_appointments_of_one_patient_remind_of_both(hospital):
    first, second = hospital.book(date=day(5)), hospital.book(date=day(5), time="15:00")

    hospital.change(first, status="cancelled")

    assert hospital.open(first) == {}
    assert hospital.open(second)[REMINDER] == at(day(4), "10:00")


def test_a_doctors_name_that_holds_braces_is_a_name(hospital):
    appointment = hospital.book(doctor_name="{date} Mehta {")

    assert "with Dr {date} Mehta { tomorrow" in hospital.message(appointment, REMINDER)["message"]


@pytest.mark.parametrize("when_past", ["skip", "now"])
def test_what_is_past_when_it_is_booked_follows_when_past(hospital, when_past):
    hospital.rule("Soon, {patient_name}", day_offset=-20, when_past=when_past)

    appointment = hospital.book(date=day(10))

    assert (4 in hospital.open(appointment)) is (when_past == "now")
    hospital.past(appointment, 4)
    hospital.change(appointment, doctor_name="Rao")
    assert 4 not in hospital.open(appointment)


def test_nothing_is_made_that_would_come_after_its_appointment(hospital):
    appointment = hospital.book(date=day(-1))

    assert hospital.messages(appointment) == []


def test_a_rule_after_the_appointment_has_until_the_end_of_its_day(hospital):
    hospital.rule("How was it?", shift="2 hours")

    message = hospital.message(hospital.book(date=day(10)), 4)

    assert datetime.fromisoformat(message["scheduled_at"]) == at(day(10), "12:30")
    assert datetime.fromisoformat(message["not_after"]) == at(day(11), "00:00")


def test_rules_that_change_move_what_is_open(hospital):
    appointment = hospital.book(date=day(10))

    hospital.set_rule(REMINDER, at="08:00")
    assert hospital.open(appointment)[REMINDER] == at(day(9), "08:00")
    hospital.set_rule(REMINDER, day_offset=-2)
    assert hospital.open(appointment)[REMINDER] == at(day(8), "08:00")
    hospital.set_rule(REMINDER, enabled=False)
    assert REMINDER not in hospital.open(appointment)
    hospital.set_rule(REMINDER, enabled=True)
    assert hospital.open(appointment)[REMINDER] == at(day(8), "08:00")


def test_a_rule_that_is_switched_on_sends_nothing_that_is_past(hospital):
    hospital.rule("Soon", day_offset=-20, when_past="now", enabled=False)
    appointment = hospital.book(date=day(10))

    hospital.set_rule(4, enabled=True)

    assert set(hospital.open(appointment)) == {CONFIRMATION, REMINDER}


def test_a_rule_that_is_made_later_reminds_of_what_is_booked_and_one_that_goes_of_nothing(hospital):
    appointment = hospital.book(date=day(10))
    rule = hospital.rule("An hour before", shift="-1 hour")
    assert hospital.open(appointment)[4] == at(day(10), "09:30")

    hospital.user.http.delete("/reminder_rules", params={"id": f"eq.{rule['id']}"}).raise_for_status()

    assert 4 not in hospital.open(appointment)
    assert hospital.message(appointment, 4)["error"] == "There is no such reminder any more."
    assert hospital.rule("Another")["number"] == 5


def test_a_confirmation_that_is_switched_on_later_confirms_nothing_old(hospital):
    hospital.set_rule(CONFIRMATION, enabled=False)
    appointment = hospital.book()

    hospital.set_rule(CONFIRMATION, enabled=True, when_past="now")
    hospital.change(appointment, doctor_name="Rao")

    assert set(hospital.open(appointment)) == {REMINDER}


def test_the_hospitals_name_and_zone_are_in_what_is_open(hospital):
    appointment = hospital.book(date=day(10))

    hospital.settings(display_name="City Hospital Pune")
    assert hospital.message(appointment, REMINDER)["message"].endswith(" - City Hospital Pune")
    hospital.settings(timezone="Europe/Rome")
    assert hospital.message(appointment, REMINDER)["timezone"] == "Europe/Rome"
    assert hospital.open(appointment)[REMINDER] != at(day(9), "10:00")


def test_a_connection_that_is_renamed_says_so_in_what_is_open(hospital):
    appointment = hospital.book()

    params = {"id": f"eq.{hospital.connection}"}
    hospital.user.http.patch("/connections", params=params, json={"name": "New name"}).raise_for_status()

    assert hospital.message(appointment, REMINDER)["message"].endswith(" - New name")


def test_an_appointment_in_a_zone_of_its_own_reminds_by_it(hospital):
    appointment = hospital.book(date="2030-04-01", timezone="europe/rome")

    assert hospital.open(appointment)[REMINDER] == at("2030-03-31", "10:00", "+02:00")


def test_of_a_connection_that_is_gone_nothing_goes_out_and_the_appointment_says_so(hospital):
    appointment = hospital.book()

    hospital.user.http.delete("/connections", params={"id": f"eq.{hospital.connection}"}).raise_for_status()

    assert hospital.open(appointment) == {}
    assert hospital.read(appointment)["reminder_fault"] == "There is no such connection any more."
    hospital.change(appointment, status="cancelled")
    assert hospital.read(appointment)["reminder_fault"] is None
    hospital.delete(appointment)


def test_a_connection_that_is_somebody_elses_now_sends_nothing_of_the_former_owner(hospital, other_hospital):
    appointment = hospital.book()

    hospital.db.execute(
        "update connections set user_id = %s where id = %s", (other_hospital.user.id, hospital.connection)
    )

    assert hospital.open(appointment) == {}
    assert hospital.read(appointment)["reminder_fault"] == "The connection is somebody else's now."
    assert other_hospital.user.http.get("/appointments", params={"id": f"eq.{appointment['id']}"}).json() == []


def test_what_is_moved_to_another_connection_goes_out_there(hospital, other_hospital):
    second = hospital.user.insert("connections", name="Second branch")["id"]
    hospital.user.http.post("/rpc/set_up_reminders", json={"connection_id": second}).raise_for_status()
    hospital.rule("Only here", shift="-1 hour")
    appointment = hospital.book()

    hospital.change(appointment, connection_id=second)

    assert set(hospital.open(appointment)) == {CONFIRMATION, REMINDER}
    assert {m["connection_id"] for m in hospital.messages(appointment) if m["status"] == "pending"} == {second}
    assert hospital.message(appointment, REMINDER)["message"].endswith(" - Second branch")
    params = {"id": f"eq.{appointment['id']}"}
    answer = hospital.user.http.patch("/appointments", params=params, json={"connection_id": other_hospital.connection})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("columns", "text", "fault"),
    [
        ({"mobile": None}, None, "There is no mobile number, and no contact."),
        ({"mobile": " "}, None, "There is no mobile number, and no contact."),
        ({"doctor_name": None}, None, "No value for {doctor_name}."),
        ({"doctor_name": " "}, "{ Doctor-Name } {room}", "No value for {doctor_name}, {room}."),
        ({"variables": {"notes": "x" * 5000}}, "{notes}", "The text has 5000 characters; 4096 are the most."),
    ],
)
def test_what_is_wrong_with_a_message_is_said_and_is_no_error_of_the_booking(hospital, columns, text, fault):
    if text:
        hospital.set_text(CONFIRMATION, body=text)
        hospital.set_rule(REMINDER, enabled=False)

    appointment = hospital.read(hospital.book(**columns))

    assert appointment["reminder_fault"] == fault
    assert hospital.messages(appointment) == []
    hospital.change(appointment, status="cancelled")
    assert hospital.read(appointment)["reminder_fault"] is None


@pytest.mark.parametrize("missing", ["mobile", "doctor_name"])
def test_what_could_not_be_confirmed_is_confirmed_once_that_is_mended(hospital, missing):
    given = {"mobile": "9876543210", "doctor_name": "Mehta"}
    appointment = hospital.book(**given | {missing: None})
    assert hospital.messages(appointment) == []

    hospital.change(appointment, **given)

    assert set(hospital.open(appointment)) == {CONFIRMATION, REMINDER}
    hospital.past(appointment, CONFIRMATION)
    hospital.change(appointment, **{missing: None})
    hospital.change(appointment, **given)
    assert set(hospital.open(appointment)) == {REMINDER}


def test_a_number_that_is_put_right_gets_what_failed_at_the_wrong_one(hospital):
    appointment = hospital.book(mobile="98765")
    hospital.past(appointment, CONFIRMATION, "failed", "This is no number.")

    hospital.change(appointment, mobile="9876543210")

    assert hospital.message(appointment, CONFIRMATION)["status"] == "pending"
    assert {m["contact_id"] for m in hospital.messages(appointment)} == {"9876543210"}
    assert hospital.read(appointment)["reminder_fault"] is None


@pytest.mark.parametrize("edit", [{"doctor_name": "Rao"}, {"date": day(20)}])
def test_what_failed_is_not_tried_again_by_another_edit(hospital, edit):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION, "failed", "The number is not on WhatsApp.")

    hospital.change(appointment, **edit)

    assert hospital.message(appointment, CONFIRMATION)["status"] == "failed"
    if "date" not in edit:
        assert hospital.read(appointment)["reminder_fault"] == "The number is not on WhatsApp."


def test_a_contact_counts_before_a_mobile_number(hospital):
    contact = hospital.user.insert("contacts", owner_id=hospital.user.id, contact_name="R", phone_number="12")
    appointment = hospital.book(contact_id=str(contact["id"]), mobile="9876543210")
    assert {m["contact_id"] for m in hospital.messages(appointment)} == {str(contact["id"])}
    hospital.past(appointment, CONFIRMATION, "failed", "This is no number.")

    params = {"id": f"eq.{contact['id']}"}
    hospital.user.http.patch("/contacts", params=params, json={"phone_number": "+919876543210"}).raise_for_status()

    assert hospital.message(appointment, CONFIRMATION)["status"] == "pending"


def test_a_reminder_that_somebody_cancelled_stays_cancelled(hospital):
    appointment = hospital.book()
    hospital.user.update(hospital.message(appointment, REMINDER)["id"], status="cancelled")

    hospital.change(appointment, date=day(20))

    assert REMINDER not in hospital.open(appointment)


async def test_moving_an_appointment_while_its_reminder_is_being_sent_succeeds(hospital, parts):
    """The row says what went out, and the rest follows the new time."""
    daemon = await parts()
    appointment = hospital.book()
    hospital.db.execute("update scheduled_messages set scheduled_at = now() where source_position = 2")
    await daemon.scheduler.poll()
    hospital.db.execute("update broadcast_jobs set status = 'sending', lease_until = now() + interval '1 minute'")

    moved = hospital.change(appointment, date=day(20))

    assert hospital.read(moved)["reminder_fault"] == "A reminder was being sent when this was changed."
    tries = [(m["source_try"], m["status"]) for m in hospital.messages(appointment) if m["source_position"] == REMINDER]
    assert tries == [(0, "processing"), (1, "pending")]
    assert hospital.open(appointment)[REMINDER] == at(day(19), "10:00")


async def test_what_waits_in_the_queue_is_taken_back_and_moved(hospital, parts):
    daemon = await parts()
    appointment = hospital.book()
    hospital.db.execute("update scheduled_messages set scheduled_at = now() where source_position = 2")
    await daemon.scheduler.poll()
    assert hospital.message(appointment, REMINDER)["status"] == "processing"

    hospital.change(appointment, date=day(20))
    await daemon.dispatcher.send_all()

    assert hospital.open(appointment) == {REMINDER: at(day(19), "10:00")} | {
        key: value for key, value in hospital.open(appointment).items() if key == CONFIRMATION
    }
    assert [m["source_try"] for m in hospital.messages(appointment)] == [0, 0]


@pytest.mark.parametrize("bookings", [40])
def test_many_bookings_in_one_insert_are_one_statement_of_messages(hospital, bookings):
    rows = [
        {"connection_id": hospital.connection, "owner_id": hospital.user.id, "patient_name": f"P {n}",
         "mobile": f"98765{n:05}" if n != 7 else None, "date": day(10), "time": "10:30", "doctor_name": "Mehta"}
        for n in range(bookings)
    ]  # fmt: skip

    hospital.user.http.post("/appointments", json=rows).raise_for_status()

    assert one(hospital.db, "select count(*) from scheduled_messages") == 2 * (bookings - 1)
    assert one(hospital.db, "select count(*) from appointments where reminder_fault is not null") == 1


def test_two_who_move_one_appointment_at_once_leave_one_reminder(hospital, size):
    appointment = hospital.book()
    with ThreadPoolExecutor(4) as pool:
        moves = [pool.submit(hospital.change, appointment, date=day(20 + n)) for n in range(max(8, size(200)))]
        for move in moves:
            move.result()

    date = hospital.read(appointment)["date"]
    [reminder] = [m for m in hospital.messages(appointment) if m["source_position"] == REMINDER]
    assert one(hospital.db, "select (scheduled_at at time zone %s)::date + 1 from scheduled_messages where id = %s",
               "Asia/Kolkata", reminder["id"]).isoformat() == date  # fmt: skip
