"""EXPORT_DIR and `export`: what the files hold is, line by line, what the audit log says."""

import csv
import errno
import io
import os
import stat

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.helpers.polling import until
from tests.sources.hospital import day
from worker.operating import operate
from worker.sources import exports, lines
from worker.store.audit import KINDS_OF_LINES

HEAD = "name,mobile,date,time_slot,doctor,specialty,followup_date"


def expected(db, connection: str) -> list[str]:
    """The file of a connection, from the audit log."""
    sql = """
        select record from audit_log
        where connection_id = %s and kind = any(%s)
        order by transaction, id
    """
    entries = db.execute(sql, (connection, list(KINDS_OF_LINES)))
    return [HEAD] + [lines.appointment(entry["record"], "IN").rstrip("\n") for entry in entries]


def written(directory, connection: str) -> list[str]:
    file = directory / lines.file_name(connection)
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
async def export_once(parts, tmp_path):
    """await export_once(): all that there is, as the daemon writes it."""

    async def everything() -> None:
        daemon = await parts(export_dir=tmp_path, default_country_code="IN")
        while await daemon.exports.advance():
            pass

    return everything


async def test_one_file_per_hospital_and_a_line_for_each_booking(hospital, other_hospital, export_once, tmp_path):
    hospital.settings(country_code="IN")
    appointment = hospital.book(date="2030-02-10", specialty="Ortho", doctor_name="Dr Mehta")
    hospital.change(appointment, date="2030-02-11")
    hospital.change(appointment, status="visited", followup_date="2030-02-17")
    hospital.change(appointment, status="cancelled")  # no line of the document's file
    other_hospital.book(patient_name="=cmd", date="2030-02-10")

    await export_once()

    assert written(tmp_path, hospital.connection) == [
        HEAD,
        "Rahul Sharma,+919876543210,2030-02-10,10:30,Dr Mehta,Ortho,",
        "Rahul Sharma,+919876543210,2030-02-11,10:30,Dr Mehta,Ortho,",
        "Rahul Sharma,+919876543210,2030-02-11,10:30,Dr Mehta,Ortho,2030-02-17",
    ]
    assert written(tmp_path, other_hospital.connection)[1].startswith("'=cmd,")
    file = tmp_path / lines.file_name(hospital.connection)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_csv_files_are_append_only(hospital, export_once, tmp_path):
    hospital.book()
    await export_once()
    before = (tmp_path / lines.file_name(hospital.connection)).read_bytes()

    await export_once()
    hospital.book(patient_name="Next")
    await export_once()

    after = (tmp_path / lines.file_name(hospital.connection)).read_bytes()
    assert after.startswith(before)
    assert written(tmp_path, hospital.connection) == expected(hospital.db, hospital.connection)


async def test_a_contact_has_the_number_that_it_had(hospital, export_once, tmp_path):
    contact = hospital.user.insert("contacts", owner_id=hospital.user.id, contact_name="R", phone_number="9876500000")
    hospital.book(contact_id=str(contact["id"]), mobile="9876511111")

    await export_once()

    assert written(tmp_path, hospital.connection)[1].split(",")[1] == "+919876500000"


async def test_each_directory_gets_every_line(hospital, parts, tmp_path):
    hospital.book()
    for name in ("first", "second"):
        daemon = await parts(export_dir=tmp_path / name)
        while await daemon.exports.advance():
            pass
        assert len(written(tmp_path / name, hospital.connection)) == 2


async def test_a_disk_that_is_full_in_the_middle_of_a_line_loses_nothing(hospital, export_once, tmp_path, monkeypatch):
    for n in range(3):
        hospital.book(patient_name=f"Patient {n}")
    write, room = os.write, [130]

    def full(descriptor: int, text) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = write(descriptor, bytes(text)[: room[0]])
        room[0] -= done
        return done

    with monkeypatch.context() as patched:
        patched.setattr(exports.os, "write", full)
        await export_once()
    assert (tmp_path / lines.file_name(hospital.connection)).stat().st_size == 130

    await export_once()

    assert written(tmp_path, hospital.connection) == expected(hospital.db, hospital.connection)


async def test_what_somebody_else_wrote_into_a_file_stays(hospital, export_once, tmp_path):
    hospital.book()
    await export_once()
    with (tmp_path / lines.file_name(hospital.connection)).open("a") as file:
        file.write("a note\n")
    hospital.book(patient_name="Next")

    await export_once()

    held = written(tmp_path, hospital.connection)
    assert [line.split(",")[0] for line in held] == ["name", "Rahul Sharma", "a note", "Next"]


def book_in(transaction, hospital, name: str) -> None:
    sql = """
        insert into appointments (owner_id, connection_id, patient_name, mobile, date, time)
        values (%s, %s, %s, '9876543210', '2030-01-01', '10:00')
    """
    transaction.execute(sql, (hospital.user.id, hospital.connection, name))


async def test_an_entry_of_a_transaction_that_ends_late_is_not_passed_over(hospital, export_once, tmp_path, stack):
    with psycopg.connect(stack["DATABASE_URL"]) as slow:
        slow.execute("select set_config('request.jwt.claim.sub', %s, true)", (hospital.user.id,))
        book_in(slow, hospital, "Slow")
        hospital.book(patient_name="Quick")
        await export_once()
        slow.commit()

    await export_once()

    names = [line.split(",")[0] for line in written(tmp_path, hospital.connection)]
    assert sorted(names) == ["Quick", "Slow", "name"]


async def test_of_two_transactions_that_overlap_the_earlier_ones_entry_comes_first_though_its_id_is_higher(
    hospital, export_once, tmp_path, stack, monkeypatch
):
    """Whoever goes by ids, and has the later one's entry already, never comes back for it."""
    with psycopg.connect(stack["DATABASE_URL"]) as earlier:
        earlier.execute(
            "select pg_current_xact_id(), set_config('request.jwt.claim.sub', %s, true)", (hospital.user.id,)
        )
        hospital.book(patient_name="Later")
        book_in(earlier, hospital, "Earlier")
    entries = hospital.db.execute("select record ->> 'patient_name' as name from audit_log order by id").fetchall()
    assert [entry["name"] for entry in entries] == ["Later", "Earlier"]
    monkeypatch.setattr(exports, "ENTRIES_AT_ONCE", 1)

    await export_once()

    assert [line.split(",")[0] for line in written(tmp_path, hospital.connection)] == ["name", "Earlier", "Later"]


def test_a_day_of_bookings_with_kills_is_what_the_table_says(hospital, daemon, size, tmp_path):
    kills, bookings = max(2, size(20)), max(100, size(5000))
    running = daemon(EXPORT_DIR=tmp_path, DEFAULT_COUNTRY_CODE="IN")
    each = bookings // kills
    for kill in range(kills):
        rows = [
            {"connection_id": hospital.connection, "owner_id": hospital.user.id, "patient_name": f"Patient {kill}-{n}",
             "mobile": f"98765{n:05}", "date": day(10), "time": "10:30"}
            for n in range(each)
        ]  # fmt: skip
        hospital.user.http.post("/appointments", json=rows).raise_for_status()
        until(lambda already=1 + kill * each: len(written(tmp_path, hospital.connection)) > already)
        running.kill()
        running = daemon(EXPORT_DIR=tmp_path, DEFAULT_COUNTRY_CODE="IN")

    until(lambda: len(written(tmp_path, hospital.connection)) >= 1 + bookings)
    assert written(tmp_path, hospital.connection) == expected(hospital.db, hospital.connection)


async def test_export_writes_appointments_and_messages_to_standard_output(hospital, other_hospital, settings, capsys):
    appointment = hospital.book(date="2030-02-10")
    other_hospital.book()

    await operate.export(settings(default_country_code="IN"), "appointments", hospital.connection, None)
    assert capsys.readouterr().out.splitlines() == expected(hospital.db, hospital.connection)
    await operate.export(settings(), "appointments", None, "2100-01-01")
    assert capsys.readouterr().out.splitlines() == [HEAD]

    await operate.export(settings(), "messages", hospital.connection, None)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["id"] for row in rows} == {m["id"] for m in hospital.messages(appointment)}


async def test_a_directory_that_cannot_be_written_is_said_and_nothing_is_lost(hospital, parts, tmp_path):
    hospital.book()
    place = tmp_path / "exports"
    place.write_text("a file where the directory should be")
    daemon = await parts(export_dir=place, default_country_code="IN")
    with capture_logs() as said:
        for _ in range(3):
            assert not await daemon.exports.advance()
    [line] = said
    assert line["why"] == "File exists"

    place.unlink()
    while await daemon.exports.advance():
        pass
    assert written(place, hospital.connection) == expected(hospital.db, hospital.connection)


async def test_a_directory_whose_position_is_lost_gets_no_line_twice(hospital, export_once, tmp_path, monkeypatch):
    for n in range(3):
        hospital.book(patient_name=f"Patient {n}")
    await export_once()

    (tmp_path / exports.POSITION).unlink()
    monkeypatch.setattr(exports, "ENTRIES_AT_ONCE", 1)  # the file is ahead of what is written
    await export_once()

    assert written(tmp_path, hospital.connection) == expected(hospital.db, hospital.connection)
