"""When each rule speaks, what it says and until when; what is wrong with one appointment is that one's alone."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from tests.sources.hospital import CONFIRMATION, FOLLOW_UP, REMINDER, at, day
from tests.sql.states import add_job


def test_what_the_operator_has_switched_off_reminds_of_nothing_until_it_is_on_again(hospital):
    before = hospital.book()
    hospital.db.execute("update connection_settings set enabled = false")

    assert hospital.open(before) == hospital.open(hospital.book()) == {}
    hospital.db.execute("update connection_settings set enabled = true")
    assert set(hospital.open(before)) == {REMINDER}


def test_an_appointments_own_words_come_before_a_texts_defaults_and_what_may_be_blank_is(hospital):
    hospital.set_text(
        CONFIRMATION, body="{doctor_name}|{room}|{floor}", defaults={"doctor_name": "Nobody", "room": "1"},
        on_missing="blank",
    )  # fmt: skip

    assert hospital.message(hospital.book(variables={"room": "12"}), CONFIRMATION)["message"] == "Mehta|12|"
    assert hospital.message(hospital.book(doctor_name=None), CONFIRMATION)["message"] == "Nobody|1|"
    blank = hospital.book(variables={"room": " ", "floor": "\t"})
    assert hospital.message(blank, CONFIRMATION)["message"] == "Mehta|1|"


def test_a_caption_is_shorter_than_a_text(hospital):
    hospital.set_rule(REMINDER, enabled=False)
    hospital.set_text(CONFIRMATION, body="{notes}", type="image", media_url="https://example.com/map.png")

    short, long = (hospital.book(variables={"notes": "x" * length}) for length in (1024, 1025))

    assert hospital.message(short, CONFIRMATION)["caption"] == "x" * 1024
    assert hospital.read(long)["reminder_fault"] == "The text has 1025 characters; 1024 are the most."


@pytest.mark.parametrize(
    ("columns", "days", "clock"),
    [
        ({"anchor": "booked", "day_offset": 2, "at": "08:15"}, 2, "08:15"),
        ({"anchor": "followup_date"}, 30, "09:00"),
        ({"anchor": "followup_date", "day_offset": -1, "at": "18:00"}, 29, "18:00"),
        ({"anchor": "date", "day_offset": -3}, 17, "10:30"),
    ],
    ids=str,
)
def test_a_rule_counts_from_its_anchor(hospital, columns, days, clock):
    hospital.rule("A text", **columns)

    appointment = hospital.book(date=day(20), followup_date=day(30))

    assert hospital.open(appointment)[4] == at(day(days), clock)


def test_days_after_the_booking_are_counted_from_its_instant(hospital):
    hospital.rule("A text", anchor="booked", day_offset=2)

    appointment = hospital.book(date=day(20))

    booked_at = datetime.fromisoformat(hospital.read(appointment)["created_at"])
    assert hospital.open(appointment)[4] - booked_at == timedelta(days=2)


def test_a_follow_up_has_until_the_end_of_its_day_and_a_confirmation_until_the_appointment(hospital):
    appointment = hospital.book(date=day(20), followup_date=day(30))

    assert datetime.fromisoformat(hospital.message(appointment, FOLLOW_UP)["not_after"]) == at(day(31), "00:00")
    assert datetime.fromisoformat(hospital.message(appointment, CONFIRMATION)["not_after"]) == at(day(20), "10:30")


@pytest.mark.parametrize("columns", [{"variables": {"room": "12"}}, {"timezone": "Europe/Rome"}], ids=str)
def test_whatever_changes_is_in_what_is_open(hospital, columns):
    hospital.set_text(REMINDER, body="{time} {room}", defaults={"room": "1"})
    appointment = hospital.book(date=day(10))
    before = hospital.message(appointment, REMINDER)

    hospital.change(appointment, **columns)

    after = hospital.message(appointment, REMINDER)
    assert (after["message"], after["timezone"]) != (before["message"], before["timezone"])


def test_what_may_have_gone_out_is_not_sent_again_and_says_so(hospital):
    appointment = hospital.book(date=day(10))
    hospital.past(appointment, REMINDER, "unconfirmed", "Nobody knows.")
    assert hospital.read(appointment)["reminder_fault"] == "Nobody knows."

    hospital.change(appointment, doctor_name="Rao")
    assert hospital.message(appointment, REMINDER)["status"] == "unconfirmed"
    assert hospital.read(appointment)["reminder_fault"] == "Nobody knows."

    hospital.db.execute("update scheduled_messages set status = 'sent' where status = 'unconfirmed'")
    assert hospital.read(appointment)["reminder_fault"] is None


def test_what_was_cancelled_while_it_may_have_gone_out_is_sent_again_for_another_day_alone(hospital):
    appointment = hospital.book(date=day(10))
    row, job = hospital.message(appointment, REMINDER)["id"], str(uuid4())
    add_job(hospital.db, job, row, "unconfirmed")
    for status in ("processing", "cancelled"):
        sql = "update scheduled_messages set broadcast_job_id = %s, status = %s, error = 'Too late.' where id = %s"
        hospital.db.execute(sql, (job, status, row))

    hospital.change(appointment, doctor_name="Rao")

    assert [m["status"] for m in hospital.messages(appointment) if m["source_position"] == REMINDER] == ["cancelled"]
    hospital.change(appointment, date=day(20))
    assert hospital.open(appointment)[REMINDER] == at(day(19), "10:00")


async def test_what_waits_in_the_queue_is_taken_back_when_its_appointment_is_deleted(hospital, parts):
    daemon = await parts()
    appointment = hospital.book()
    hospital.db.execute("update scheduled_messages set scheduled_at = now() where source_position = 2")
    await daemon.scheduler.poll()

    hospital.delete(appointment)
    await daemon.dispatcher.send_all()

    assert {m["status"] for m in hospital.messages(appointment)} == {"cancelled"}


def test_what_failed_at_a_contacts_old_number_goes_out_only_while_it_is_of_use(hospital):
    contact = hospital.user.insert("contacts", owner_id=hospital.user.id, contact_name="R", phone_number="12")
    old, new = (hospital.book(contact_id=str(contact["id"]), date=day(days)) for days in (10, 11))
    for appointment in (old, new):
        hospital.past(appointment, CONFIRMATION, "failed", "This is no number.")
    hospital.db.execute(
        "update scheduled_messages set not_after = now() - interval '1 minute' where source_id = %s", (old["id"],)
    )

    params = {"id": f"eq.{contact['id']}"}
    hospital.user.http.patch("/contacts", params=params, json={"phone_number": "+919876543210"}).raise_for_status()

    assert [hospital.message(a, CONFIRMATION)["status"] for a in (old, new)] == ["failed", "pending"]


def test_a_follow_up_long_after_its_date_follows_its_text(hospital):
    appointment = hospital.book(date="2020-01-01", status="visited", followup_date=day(5))
    hospital.db.execute("update appointments set created_at = '2020-01-01'")

    hospital.set_text(FOLLOW_UP, body="Come again, {patient_name}")

    assert hospital.message(appointment, FOLLOW_UP)["message"] == "Come again, Rahul Sharma"


def test_a_trouble_that_nobody_thought_of_is_that_appointments_alone(hospital):
    hospital.db.execute(
        """
        create function public.refuse_ravi() returns trigger language plpgsql as $$
        begin
            if new.message like '%Ravi%' then raise exception 'not this one'; end if;
            return new;
        end $$;
        create trigger refuse_ravi before insert on scheduled_messages
        for each row execute function public.refuse_ravi();
        """
    )
    try:
        common = {"connection_id": hospital.connection, "owner_id": hospital.user.id, "mobile": "9876543210"}
        rows = [
            {**common, "patient_name": name, "date": day(10), "time": "10:30", "doctor_name": "Mehta"}
            for name in ("Asha", "Ravi", "Meera")
        ]
        answer = hospital.user.http.post("/appointments", json=rows, headers={"prefer": "return=representation"})
        answer.raise_for_status()
    finally:
        hospital.db.execute("drop trigger refuse_ravi on scheduled_messages; drop function public.refuse_ravi()")

    booked = [hospital.read(row) for row in answer.json()]
    assert [row["reminder_fault"] for row in booked] == [
        None, "The reminders could not be made: not this one", None,
    ]  # fmt: skip
    assert [len(hospital.messages(row)) for row in booked] == [2, 0, 2]
