"""Lines of CSV that a spreadsheet takes for data, and names that every file system takes."""

import csv
import io

import pytest

from worker.sources import lines

RECORD = {
    "patient_name": "Rahul Sharma", "mobile": "9876543210", "date": "2025-02-10", "time": "10:30",
    "doctor_name": "Dr Mehta", "specialty": "Ortho", "followup_date": "2025-02-17",
}  # fmt: skip


def test_the_documents_own_line():
    assert lines.line(lines.APPOINTMENT) == "name,mobile,date,time_slot,doctor,specialty,followup_date\n"
    assert lines.appointment(RECORD, "IN") == "Rahul Sharma,+919876543210,2025-02-10,10:30,Dr Mehta,Ortho,2025-02-17\n"


@pytest.mark.parametrize("written", ["+91 98765 43210", "09876543210", "919876543210", "+919876543210"])
def test_mobiles_are_normalized_with_their_prefix(written):
    assert lines.mobile(written, "IN") == "+919876543210"


def test_the_country_of_the_day_counts_before_todays():
    assert ",+393331234567," in lines.appointment(RECORD | {"mobile": "333 123 4567", "country_code": "IT"}, "IN")


def test_what_leads_to_nobody_stands_as_it_was_written():
    assert lines.mobile("12", "IN") == "12"
    assert lines.mobile(None, "IN") == ""


@pytest.mark.parametrize(
    "cell", ["=1+1", "@SUM(A1)", "-2+3", "\t=1", "\n=1", "+1+1", " =1", "＝1", "+cmd|' /C calc'!A0"]
)
def test_a_formula_is_made_harmless(cell):
    [read] = csv.reader(io.StringIO(lines.line([cell]), newline=""))
    assert read == [f"'{cell}"]


@pytest.mark.parametrize("cell", ["+919876543210", "+91 98765-43210", "Dr. Mehta", "a=b", "", "नाम", "10:30"])
def test_what_is_none_stays_as_it_is(cell):
    assert lines.harmless(cell) == cell


def test_commas_quotes_and_line_ends_stay_in_their_cell():
    cells = ['Sharma, "Rahul"', "two\nlines", "nul\0"]
    [read] = csv.reader(io.StringIO(lines.line(cells), newline=""))
    assert read == ['Sharma, "Rahul"', "two\nlines", "nul"]


@pytest.mark.parametrize(
    ("connection", "name"),
    [
        ("1f0c", "hospital_1f0c_appointments.csv"),
        ("../../etc/passwd", "hospital_%2E%2E%2F%2E%2E%2Fetc%2Fpasswd_appointments.csv"),
        ("a b\0é", "hospital_a%20b%00%C3%A9_appointments.csv"),
    ],
)
def test_a_connections_id_is_a_safe_name(connection, name):
    assert lines.file_name(connection) == name


def test_long_ids_have_names_of_their_own():
    first, second = lines.file_name("x" * 256), lines.file_name("x" * 255 + "y")
    assert first != second
    assert len(first) == len("hospital__appointments.csv") + 100
