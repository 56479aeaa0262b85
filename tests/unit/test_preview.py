"""The preview that people see: the contract of `python -m worker preview`."""

import pytest

from worker.errors import BadMessage, BadPattern, BadTimezone, WorkerError
from worker.recurrence.preview import preview_lines


def test_the_first_line_is_the_start_itself_and_the_wall_time_stays():
    assert preview_lines("2026-03-28T09:00", "daily", "Europe/Berlin", 3) == [
        "2026-03-28T09:00:00+01:00",
        "2026-03-29T09:00:00+02:00",
        "2026-03-30T09:00:00+02:00",
    ]


def test_a_start_with_an_offset_is_taken_to_the_zone():
    lines = preview_lines("2026-07-01T03:30:00Z", "weekly", "Asia/Kolkata", 2)
    assert lines == ["2026-07-01T09:00:00+05:30", "2026-07-08T09:00:00+05:30"]


def test_a_start_in_the_second_of_two_equal_hours_stays_there():
    lines = preview_lines("2026-10-25T02:30+01:00", "daily", "Europe/Berlin", 2)
    assert lines == ["2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]


def test_a_start_outside_the_rule_comes_first_and_counts():
    lines = preview_lines("2026-01-03T10:00", "FREQ=WEEKLY;BYDAY=MO;COUNT=3", "UTC", 9)
    assert [line[:10] for line in lines] == ["2026-01-03", "2026-01-05", "2026-01-12"]


def test_the_end_is_inclusive_to_the_instant():
    till_nine = preview_lines("2026-01-01T09:00", "daily", "Asia/Tokyo", 9, "2026-01-03T00:00:00Z")
    before_nine = preview_lines("2026-01-01T09:00", "daily", "Asia/Tokyo", 9, "2026-01-03T08:59:59")
    assert (len(till_nine), len(before_nine)) == (3, 2)


def test_a_pattern_that_ends_gives_fewer_lines():
    assert len(preview_lines("2026-01-01T09:00", "FREQ=DAILY;UNTIL=20260104", "UTC", 99)) == 4


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("yesterday", "daily", "UTC", 3), BadMessage),
        (("2026-13-01", "daily", "UTC", 3), BadMessage),
        (("2026-01-01", "daily", "UTC", 3, "soon"), BadMessage),
        (("9999-12-31T23:00", "daily", "America/New_York", 3), BadMessage),
        (("2026-01-01", "hourly", "UTC", 3), BadPattern),
        (("2026-01-01", "daily", "Mars/Olympus", 3), BadTimezone),
        (("2026-01-01", "daily", "UTC", 0), BadMessage),
        (("2026-01-01", "daily", "UTC", 10**9), BadMessage),
    ],
)
def test_bad_input_is_one_line(arguments, error):
    with pytest.raises(error) as refusal:
        preview_lines(*arguments)
    assert isinstance(refusal.value, WorkerError)
    assert "\n" not in str(refusal.value)
