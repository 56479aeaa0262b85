"""What the audit log says happened, and that it says it once."""

import fcntl

import pytest

from tests.sources.hospital import CONFIRMATION, REMINDER, Hospital
from worker.store.audit import Place


def kinds(hospital: Hospital) -> list[str]:
    return [entry["kind"] for entry in hospital.user.http.get("/audit_log", params={"order": "id"}).json()]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"date": "2030-03-01"}, ["moved"]),
        ({"time": "11:00"}, ["moved"]),
        ({"timezone": "Europe/Rome"}, ["moved"]),
        ({"followup_date": "2030-03-01"}, ["followup_set"]),
        (
            {"date": "2030-03-01", "followup_date": "2030-03-09", "status": "no_show"},
            ["moved", "followup_set", "cancelled"],
        ),
        ({"status": "cancelled"}, ["cancelled"]),
        ({"status": "visited"}, []),
        ({"doctor_name": "Rao"}, []),
    ],
    ids=str,
)  # fmt: skip
def test_each_thing_that_happens_is_an_entry(hospital, columns, said):
    appointment = hospital.book(date="2030-02-10")

    hospital.change(appointment, **columns)
    hospital.change(appointment, **columns)

    assert kinds(hospital) == ["booked", *said]


def test_what_is_moved_to_another_connection_is_that_ones(hospital):
    second = hospital.user.insert("connections", name="Second branch")["id"]
    appointment = hospital.book()

    hospital.change(appointment, connection_id=second)

    params = {"connection_id": f"eq.{second}"}
    [entry] = hospital.user.http.get("/audit_log", params=params).json()
    assert (entry["kind"], entry["record"]["appointment_id"]) == ("moved", appointment["id"])


@pytest.mark.parametrize(("status", "said"), [("booked", ["cancelled"]), ("visited", []), ("cancelled", [])])
def test_a_deletion_cancels_what_was_booked(hospital, status, said):
    appointment = hospital.book(status=status)

    hospital.delete(appointment)

    assert kinds(hospital) == ["booked", *said]


def test_outcomes_are_entries_also_those_that_nobody_knows_and_each_once(hospital):
    appointment = hospital.book()
    hospital.past(appointment, CONFIRMATION, "unconfirmed", "Nobody knows.")
    hospital.past(appointment, REMINDER)
    hospital.db.execute("update scheduled_messages set delivery_status = 'read' where status = 'sent'")

    entries = hospital.user.http.get("/audit_log", params={"order": "id"}).json()
    assert [(entry["kind"], entry["record"].get("status")) for entry in entries[1:]] == [
        ("failed", "unconfirmed"), ("sent", "sent"),
    ]  # fmt: skip
    assert entries[2]["record"]["message"] == hospital.message(appointment, REMINDER)["message"]
    hospital.db.execute("update scheduled_messages set status = 'sent' where status = 'unconfirmed'")
    assert kinds(hospital) == ["booked", "failed", "sent", "sent"]


async def test_a_database_that_was_restored_begins_its_transactions_anew_and_nothing_is_lost(hospital, parts, tmp_path):
    """Transactions count anew there; ids do not."""
    daemon = await parts(export_dir=tmp_path)
    hospital.book(patient_name="Before")
    [before] = await daemon.exports._audit.read(Place(), 10)
    hospital.book(patient_name="After")

    of_the_old = Place(str(2**60), before.place.id)
    assert [entry.record["patient_name"] for entry in await daemon.exports._audit.read(of_the_old, 10)] == ["After"]


async def test_of_two_daemons_one_writes(hospital, parts, tmp_path):
    daemon = await parts(export_dir=tmp_path)
    hospital.book()
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)  # however little the other one asks for
        assert not await daemon.exports.advance()
        assert list(tmp_path.glob("hospital_*")) == []

    assert await daemon.exports.advance()
    assert len(list(tmp_path.glob("hospital_*"))) == 1


def test_another_owners_contact_does_not_give_its_number_away(hospital, other_hospital):
    row = {"owner_id": other_hospital.user.id, "contact_name": "Theirs", "phone_number": "+919876599999"}
    theirs = other_hospital.user.insert("contacts", **row)

    hospital.change(hospital.book(contact_id=str(theirs["id"]), mobile=None), date="2030-03-01")

    log = hospital.user.http.get("/audit_log").json()
    assert [entry["record"]["mobile"] for entry in log] == [None, None]
