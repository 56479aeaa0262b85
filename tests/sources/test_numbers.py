"""A number that leads to nobody is said on its appointment before anything is due, and taken back once it is mended."""

import pytest

from tests.helpers.rows import one
from tests.sources.hospital import CONFIRMATION, REMINDER, Hospital
from worker.sources import appointments

SHORT = "full phone number"
BLOCKED = "This contact is blocked. Unblock the contact to write to it."


@pytest.fixture
def quiet(hospital) -> Hospital:
    """Nothing of it is due for days."""
    hospital.set_rule(CONFIRMATION, enabled=False)
    return hospital


@pytest.fixture
async def judge(parts):
    """await judge(): what the daemon does for numbers. How many passes had something to do."""
    daemon = await parts()

    async def until_nothing_is_asked() -> int:
        passes = 0
        while not await daemon.sources.appointments.advance():
            passes += 1
        return passes

    return until_nothing_is_asked


def contact(hospital: Hospital, **columns) -> str:
    row = {"owner_id": hospital.user.id, "contact_name": "R", "phone_number": "+919876543210", **columns}
    return str(hospital.user.insert("contacts", **row)["id"])


def set_contact(hospital: Hospital, contact_id: str, **columns) -> None:
    params = {"id": f"eq.{contact_id}"}
    hospital.user.http.patch("/contacts", params=params, json=columns).raise_for_status()


def fault(hospital: Hospital, appointment) -> str | None:
    return hospital.read(appointment)["reminder_fault"]


async def test_it_is_said_before_anything_is_due_and_taken_back_once_it_is_mended(quiet, judge):
    appointment = quiet.book(mobile="12345")
    assert fault(quiet, appointment) is None

    await judge()
    assert SHORT in fault(quiet, appointment)
    assert set(quiet.open(appointment)) == {REMINDER}  # whoever sends has the last word
    quiet.change(appointment, mobile="98765 43210")
    assert fault(quiet, appointment) is None
    await judge()
    assert fault(quiet, appointment) is None


async def test_what_is_known_already_is_said_when_it_is_booked_and_not_asked_again(quiet, judge):
    quiet.book(mobile="12345")
    assert await judge() == 1

    assert SHORT in fault(quiet, quiet.book(mobile=" 12345 "))
    assert fault(quiet, quiet.book(mobile="98765 43210")) is None
    assert await judge() == 1
    quiet.book(mobile="98765 43210")
    assert await judge() == 0


async def test_numbers_are_judged_in_portions(quiet, judge, monkeypatch):
    monkeypatch.setattr(appointments, "AT_ONCE", 10)
    rows = [
        {"connection_id": quiet.connection, "owner_id": quiet.user.id, "patient_name": "P", "doctor_name": "M",
         "mobile": f"98765{n:05}" if n % 5 else f"{n + 1}", "date": "2030-01-01", "time": "10:00"}
        for n in range(25)
    ]  # fmt: skip
    quiet.user.http.post("/appointments", json=rows).raise_for_status()

    assert await judge() == 3
    assert one(quiet.db, "select count(*) from appointments where reminder_fault is not null") == 5


async def test_what_nothing_will_be_sent_to_is_not_asked_for(quiet, judge):
    quiet.book(mobile="12345", status="cancelled")
    quiet.book(mobile="12345", date="2020-01-01")

    assert await judge() == 0


async def test_once_it_has_failed_it_is_not_said_twice(hospital, judge, parts):
    appointment = hospital.book(mobile="12345")
    await judge()
    before = fault(hospital, appointment)

    daemon = await parts()
    await daemon.scheduler.poll()

    assert hospital.message(appointment, CONFIRMATION)["status"] == "failed"
    assert fault(hospital, appointment) == before
    hospital.change(appointment, doctor_name="Rao")
    assert fault(hospital, appointment) == before


async def test_the_country_of_the_hospital_counts(quiet, judge):
    appointment = quiet.book(mobile="9876543210")
    await judge()
    assert fault(quiet, appointment) is None

    quiet.settings(country_code="IS")
    await judge()
    assert fault(quiet, appointment) is not None
    quiet.settings(country_code="IN")
    assert fault(quiet, appointment) is None


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"phone_number": "12345"}, SHORT),
        ({"phone_number": None}, "has no phone number: add one"),
        ({"phone_number": " "}, "has no phone number: add one"),
        ({"is_blocked": True}, BLOCKED),
    ],
    ids=["short", "none", "blank", "blocked"],
)
async def test_what_is_wrong_with_a_contact_is_said_until_it_is_mended(quiet, judge, columns, said):
    person = contact(quiet, **columns)
    appointment = quiet.book(contact_id=person, mobile="9876543210")
    await judge()
    assert said in fault(quiet, appointment)

    set_contact(quiet, person, phone_number="+919876543210", is_blocked=False)
    await judge()
    assert fault(quiet, appointment) is None

    set_contact(quiet, person, **columns)
    await judge()
    assert said in fault(quiet, appointment)


async def test_a_contact_that_is_deleted_or_another_owners_leads_to_nobody(quiet, other_hospital, judge):
    person = contact(quiet)
    theirs = contact(other_hospital)
    appointment, foreign = quiet.book(contact_id=person), quiet.book(contact_id=theirs)
    await judge()
    assert fault(quiet, appointment) is None
    assert "phone number" in fault(quiet, foreign)

    quiet.user.http.delete("/contacts", params={"id": f"eq.{person}"}).raise_for_status()
    await judge()
    assert "phone number" in fault(quiet, appointment)


@pytest.mark.parametrize("written", ["919876543210@c.us", "+919876543210"])
async def test_an_address_in_place_of_a_contact_is_an_address(quiet, judge, written):
    appointment = quiet.book(contact_id=written, mobile=None)
    await judge()
    assert fault(quiet, appointment) is None


async def test_what_is_said_of_a_number_in_one_country_is_not_said_of_it_in_another(quiet, judge, service):
    quiet.settings(country_code="IS")
    appointment = quiet.book(mobile="9876543210")
    given = {"p_country_code": "IN", "p_rules_version": "1", "p_raw": ["9876543210"], "p_faults": [None]}
    told = given | {"p_addresses": ["919876543210"]}
    service.post("/rpc/record_judged_numbers", json=told).raise_for_status()

    await judge()

    assert fault(quiet, appointment) is not None


def test_whom_nothing_will_be_sent_to_any_more_has_no_fault(quiet):
    appointment = quiet.book(contact_id=contact(quiet))
    quiet.user.update(quiet.message(appointment, REMINDER)["id"], status="cancelled")

    quiet.change(appointment, contact_id=contact(quiet, phone_number="+919876543211", is_blocked=True))

    assert fault(quiet, appointment) is None


async def test_what_a_campaign_had_judged_is_known_to_appointments(quiet, judge, service):
    appointment = quiet.book(mobile="777")
    given = {"p_country_code": "IN", "p_rules_version": "1", "p_raw": ["777"], "p_addresses": [None]}
    service.post("/rpc/record_judged_numbers", json=given | {"p_faults": ["It is too short."]}).raise_for_status()

    assert fault(quiet, appointment) == "It is too short."
    assert await judge() == 0
