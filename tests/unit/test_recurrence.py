"""When series recur. The first half is named after what went wrong elsewhere; docs/recurrence.md has the rules."""

import time
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise

import pytest

from worker.errors import BadMessage
from worker.recurrence.series import instant, local_anchor, missed, next_occurrence, occurrences, parse, timezone


def walls(pattern: str, start: str, zone: str, number: int) -> list[str]:
    """The first occurrences as wall times, `2026-03-29 02:30`."""
    there = timezone(zone)
    moments = occurrences(parse(pattern), datetime.fromisoformat(start), there)
    return [f"{moment.astimezone(there):%Y-%m-%d %H:%M}" for moment in islice(moments, number)]


def days(pattern: str, start: str, number: int) -> list[str]:
    return [wall[:10] for wall in walls(pattern, f"{start} 09:00", "UTC", number)]


def step(pattern: str, start: str, zone: str, after: str) -> str:
    """The next wall time after a wall time."""
    there, rule = timezone(zone), parse(pattern)
    moment = instant(datetime.fromisoformat(after), there)
    found = next_occurrence(rule, datetime.fromisoformat(start), there, moment)
    return f"{found.astimezone(there):%Y-%m-%d %H:%M}" if found else ""


# --- What went wrong elsewhere -----------------------------------------------------------------------------------


def test_the_31st_does_not_stay_the_28th_after_february():
    """gnucash-mcp, securo, poka-ce, yuvomi, huddlz: each month was computed from the one before."""
    assert days("monthly", "2026-01-31", 4) == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30"]
    assert step("monthly", "2026-01-31 09:00", "UTC", "2026-02-28 09:00") == "2026-03-31 09:00"


def test_a_month_after_january_31_is_not_march_3():
    """cumora, and every use of JavaScript's setMonth: the day overflowed into the next month."""
    assert step("monthly", "2026-01-31 09:00", "UTC", "2026-01-31 09:00") == "2026-02-28 09:00"


def test_the_31st_is_not_lost_in_short_months():
    """Google Calendar, dateutil and APScheduler leave five months of the year out."""
    months = [day[:7] for day in days("monthly", "2026-12-31", 25)]
    assert months == sorted(set(months))
    assert len(months) == 25


def test_february_29_is_not_lost_in_common_years_and_comes_back_in_leap_years():
    assert days("yearly", "2024-02-29", 5) == [
        "2024-02-29",
        "2025-02-28",
        "2026-02-28",
        "2027-02-28",
        "2028-02-29",
    ]


def test_february_29_skips_a_century_year_that_is_no_leap_year():
    found = days("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2092-02-29", 3)
    assert found == ["2092-02-29", "2096-02-29", "2104-02-29"]


def test_nine_o_clock_does_not_become_eight_when_clocks_change():
    """classmoji, cal.diy, matrix-reminder-bot, nextcloud, owncloud, Ionic-Calendar: the rule was kept in UTC."""
    found = walls("weekly", "2026-01-05 09:00", "America/New_York", 60)
    assert {wall[11:] for wall in found} == {"09:00"}


def test_an_offset_of_the_start_is_not_taken_for_the_zone():
    """A summer start keeps its wall time in winter, where its offset would be another."""
    utc = [
        moment.hour
        for moment in islice(occurrences(parse("monthly"), datetime(2026, 9, 1, 9), timezone("Europe/Berlin")), 3)
    ]
    assert utc == [7, 7, 8]


def test_a_time_in_the_gap_is_not_dropped():
    """Temporal and rrule-temporal skip the day; here it comes an hour later, once."""
    found = walls("daily", "2026-03-28 02:30", "Europe/Berlin", 3)
    assert found == ["2026-03-28 02:30", "2026-03-29 03:30", "2026-03-30 02:30"]


def test_a_time_that_comes_twice_is_not_sent_twice():
    """Temporal and croniter fire in both of the two equal hours."""
    moments = list(islice(occurrences(parse("daily"), datetime(2026, 10, 24, 2, 30), timezone("Europe/Berlin")), 3))
    assert [later - earlier for earlier, later in pairwise(moments)] == [timedelta(hours=24), timedelta(hours=25)]


def test_a_step_from_the_second_of_two_equal_hours_does_not_go_back():
    """APScheduler looped for ever where the next time, taken back to UTC, was not later than the last."""
    zone, rule, anchor = timezone("Europe/Berlin"), parse("daily"), datetime(2026, 10, 1, 2, 30)
    second = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert next_occurrence(rule, anchor, zone, second) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_an_outage_does_not_leave_five_copies_to_send():
    """River and others ran every missed time at once."""
    zone, rule, anchor = timezone("UTC"), parse("daily"), datetime(2026, 1, 1, 9)
    down, up = datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 6, 12, tzinfo=UTC)
    assert missed(rule, anchor, zone, down, up) == (datetime(2026, 1, 6, 9, tzinfo=UTC), 5)
    assert next_occurrence(rule, anchor, zone, up) == datetime(2026, 1, 7, 9, tzinfo=UTC)


def test_a_missed_run_is_not_discarded_in_silence():
    """APScheduler drops what is a second late; here the caller learns what was missed and how many."""
    zone, rule, anchor = timezone("UTC"), parse("weekly"), datetime(2026, 1, 1, 9)
    now = datetime(2026, 1, 8, 9, 0, 1, tzinfo=UTC)
    found = missed(rule, anchor, zone, datetime(2026, 1, 1, 9, tzinfo=UTC), now)
    assert found == (datetime(2026, 1, 8, 9, tzinfo=UTC), 1)


def test_a_series_does_not_fire_twice_and_then_skip_a_week():
    """paseo: the next time was counted from when the last one ran, early or late."""
    for late in (timedelta(seconds=-1), timedelta(0), timedelta(hours=5), timedelta(days=6)):
        ran = datetime(2026, 1, 12, 9, tzinfo=UTC) + late
        found = next_occurrence(parse("weekly"), datetime(2026, 1, 5, 9), timezone("UTC"), ran)
        assert found == datetime(2026, 1, 12 if late < timedelta(0) else 19, 9, tzinfo=UTC)


def test_every_second_week_keeps_its_weeks_whatever_the_day_it_is_asked():
    rule, anchor, zone = parse("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,FR"), datetime(2026, 1, 5, 9), timezone("UTC")
    asked = (datetime(2026, 1, 10, tzinfo=UTC) + timedelta(days=n) for n in range(9))
    assert {next_occurrence(rule, anchor, zone, after) for after in asked} == {datetime(2026, 1, 19, 9, tzinfo=UTC)}


# --- Zones that do what others do not ----------------------------------------------------------------------------


def test_lord_howe_moves_by_half_an_hour():
    found = walls("daily", "2026-10-03 02:15", "Australia/Lord_Howe", 3)
    assert found == ["2026-10-03 02:15", "2026-10-04 02:45", "2026-10-05 02:15"]


def test_midnight_in_santiago_stays_on_its_date_when_the_day_begins_at_one():
    found = walls("daily", "2026-09-05 00:00", "America/Santiago", 3)
    assert found == ["2026-09-05 00:00", "2026-09-06 01:00", "2026-09-07 00:00"]


def test_casablanca_turns_its_clock_back_for_ramadan_and_nine_stays_nine():
    found = walls("daily", "2025-02-20 09:00", "Africa/Casablanca", 60)
    assert {wall[11:] for wall in found} == {"09:00"}
    there = timezone("Africa/Casablanca")
    offsets = {instant(datetime.fromisoformat(wall), there).hour for wall in found}
    assert offsets == {8, 9}


def test_kathmandu_once_moved_by_a_quarter_of_an_hour():
    found = walls("daily", "1985-12-31 00:05", "Asia/Kathmandu", 3)
    assert found == ["1985-12-31 00:05", "1986-01-01 00:20", "1986-01-02 00:05"]
    assert instant(datetime(2026, 1, 1, 9), timezone("Asia/Kathmandu")).minute == 15


def test_a_date_that_st_johns_entered_twice_is_not_missed():
    """At 00:01 on 7 November 2010 the clock went back to 23:01 on the 6th."""
    zone, anchor = timezone("America/St_Johns"), datetime(2010, 11, 1, 0, 0, 30)
    first_minute = instant(datetime(2010, 11, 7, 0, 0, 30), zone)
    before, on_the_6th_again = first_minute - timedelta(seconds=1), first_minute + timedelta(minutes=10)
    assert local_anchor(on_the_6th_again, zone).day == 6
    assert missed(parse("daily"), anchor, zone, before, on_the_6th_again) == (first_minute, 1)


def test_the_day_that_apia_never_had_is_one_with_the_next():
    found = walls("FREQ=DAILY;COUNT=5", "2011-12-28 09:00", "Pacific/Apia", 9)
    expected = ["2011-12-28", "2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]
    assert [wall[:10] for wall in found] == expected
    rule, zone = parse("daily"), timezone("Pacific/Apia")
    after, until = instant(datetime(2011, 12, 28, 9), zone), instant(datetime(2012, 1, 1, 9), zone)
    assert missed(rule, datetime(2011, 12, 1, 9), zone, after, until) == (until, 3)


def test_a_friday_that_apia_never_had_comes_on_saturday():
    found = walls("weekly", "2011-12-23 09:00", "Pacific/Apia", 3)
    assert found == ["2011-12-23 09:00", "2011-12-31 09:00", "2012-01-06 09:00"]
    assert step("weekly", "2011-12-23 09:00", "Pacific/Apia", "2011-12-31 05:00") == "2011-12-31 09:00"
    found = walls("FREQ=WEEKLY;BYDAY=TH,FR", "2011-12-23 09:00", "Pacific/Apia", 4)
    assert found == ["2011-12-23 09:00", "2011-12-29 09:00", "2011-12-31 09:00", "2012-01-05 09:00"]


def test_a_series_that_begins_on_a_day_that_was_never_there_begins_on_the_next_and_has_it_once():
    """Kiritimati had no 31 December 1994: the year's first day is the lost day's as well."""
    found = walls("daily", "1994-12-31 09:00", "Pacific/Kiritimati", 3)
    assert found == ["1995-01-01 09:00", "1995-01-02 09:00", "1995-01-03 09:00"]


def test_every_other_day_goes_on_counting_over_a_day_that_was_never_there():
    found = walls("FREQ=DAILY;INTERVAL=2", "2011-12-28 09:00", "Pacific/Apia", 4)
    assert found == ["2011-12-28 09:00", "2011-12-31 09:00", "2012-01-01 09:00", "2012-01-03 09:00"]


def test_a_start_on_the_day_that_apia_never_had_is_one_with_the_next_day():
    found = walls("FREQ=DAILY;COUNT=2", "2011-12-30 09:00", "Pacific/Apia", 9)
    assert found == ["2011-12-31 09:00", "2012-01-01 09:00"]


def test_new_years_eve_that_kiritimati_never_had_is_one_with_new_year():
    found = walls("daily", "1994-12-30 09:00", "Pacific/Kiritimati", 3)
    assert found == ["1994-12-30 09:00", "1995-01-01 09:00", "1995-01-02 09:00"]


def test_a_day_that_was_never_there_is_not_one_with_a_day_of_a_year_that_interval_leaves_out():
    """The last day of 1994 comes on the first of 1995, which every second year from 1994 does not name."""
    found = walls("FREQ=YEARLY;INTERVAL=2;BYYEARDAY=1,365", "1994-01-01 09:00", "Pacific/Kiritimati", 4)
    assert found == ["1994-01-01 09:00", "1995-01-01 09:00", "1996-01-01 09:00", "1996-12-30 09:00"]


def test_the_zone_of_the_machine_has_no_part_in_what_was_missed(monkeypatch):
    """Where it is 23:30 on the 9th in Pago Pago, it is the 11th on Kiritimati."""
    monkeypatch.setenv("TZ", "Pacific/Pago_Pago")
    time.tzset()
    try:
        zone, now = timezone("Pacific/Kiritimati"), datetime(2026, 1, 10, 10, 30, tzinfo=UTC)
        found = missed(parse("daily"), datetime(2026, 1, 1, 0, 15), zone, now - timedelta(days=2), now)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found == (datetime(2026, 1, 10, 10, 15, tzinfo=UTC), 2)


# --- Patterns ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "start", "expected"),
    [
        ("daily", "2026-02-27", ["2026-02-27", "2026-02-28", "2026-03-01"]),
        ("weekly", "2026-02-27", ["2026-02-27", "2026-03-06", "2026-03-13"]),
        ("weekdays", "2026-02-26", ["2026-02-26", "2026-02-27", "2026-03-02"]),
        ("weekdays", "2026-02-28", ["2026-02-28", "2026-03-02", "2026-03-03"]),
        ("FREQ=MONTHLY", "2026-01-31", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("FREQ=MONTHLY;BYDAY=1MO", "2026-01-05", ["2026-01-05", "2026-02-02", "2026-03-02"]),
        ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-30", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("FREQ=MONTHLY;BYDAY=5MO", "2026-03-30", ["2026-03-30", "2026-06-29", "2026-08-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-31", ["2026-01-31", "2026-02-28", "2026-03-31"]),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-30", ["2026-01-30", "2026-02-27", "2026-03-31"]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "2026-02-13", ["2026-02-13", "2026-03-13", "2026-11-13"]),
        ("FREQ=MONTHLY;SKIP=FORWARD", "2026-01-31", ["2026-01-31", "2026-03-01", "2026-03-31"]),
        ("FREQ=MONTHLY;BYMONTHDAY=30,31;SKIP=BACKWARD", "2026-01-31", ["2026-01-31", "2026-02-28", "2026-03-30"]),
        ("FREQ=MONTHLY;INTERVAL=2;SKIP=FORWARD", "2025-12-31", ["2025-12-31", "2026-03-01", "2026-05-01"]),
        ("FREQ=MONTHLY;INTERVAL=2;SKIP=BACKWARD", "2026-07-31", ["2026-07-31", "2026-09-30", "2026-11-30"]),
        ("FREQ=MONTHLY;INTERVAL=2;SKIP=BACKWARD", "2026-01-31", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("FREQ=YEARLY;BYDAY=20MO", "2026-05-18", ["2026-05-18", "2027-05-17", "2028-05-15"]),
        ("FREQ=YEARLY;BYMONTH=11;BYDAY=4TH", "2026-11-26", ["2026-11-26", "2027-11-25", "2028-11-23"]),
        ("FREQ=YEARLY;BYYEARDAY=-1,100", "2026-04-10", ["2026-04-10", "2026-12-31", "2027-04-10"]),
        ("FREQ=YEARLY;BYMONTH=2;BYYEARDAY=1,40", "2026-02-09", ["2026-02-09", "2027-02-09", "2028-02-09"]),
        ("FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-12-31", ["2026-12-31", "2027-12-31", "2028-12-29"]),
        ("FREQ=YEARLY;BYMONTH=5;BYWEEKNO=1,20;BYDAY=WE", "2026-05-13", ["2026-05-13", "2027-05-19", "2028-05-17"]),
        ("FREQ=YEARLY;BYWEEKNO=20", "2026-05-13", ["2026-05-13", "2027-05-19", "2028-05-17"]),
        # libical's own table: INTERVAL counts years of weeks, so that New Year leaves a week whole
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=TU,SA;INTERVAL=6", "2010-01-02", ["2010-01-02", "2015-12-29", "2016-01-02"]),
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=TU,SA;INTERVAL=5", "2010-01-02", ["2010-01-02", "2054-12-29", "2055-01-02"]),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO,TU;INTERVAL=3", "2024-12-31", ["2024-12-31", "2028-01-03", "2028-01-04"]),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO,TU;INTERVAL=6", "2024-12-31", ["2024-12-31", "2030-12-30", "2030-12-31"]),
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=TH;INTERVAL=6", "2027-01-03", ["2027-01-03", "2093-12-31", "2099-12-31"]),
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=TH;INTERVAL=5", "2027-01-03", ["2027-01-03", "2032-12-30", "2037-12-31"]),
        ("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", "2026-01-07", ["2026-01-07", "2026-01-12", "2026-01-19"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO", "1997-08-05", ["1997-08-05", "1997-08-10", "1997-08-19"]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU", "1997-08-05", ["1997-08-05", "1997-08-17", "1997-08-19"]),
        ("FREQ=DAILY;INTERVAL=10", "2026-12-25", ["2026-12-25", "2027-01-04", "2027-01-14"]),
        ("FREQ=DAILY;BYDAY=MO,TU,WE;BYSETPOS=1", "2026-01-05", ["2026-01-05", "2026-01-06", "2026-01-07"]),
        ("FREQ=DAILY;BYMONTH=1;BYDAY=SU", "2026-01-25", ["2026-01-25", "2027-01-03", "2027-01-10"]),
    ],
)
def test_the_pattern_gives_these_days(pattern, start, expected):
    assert days(pattern, start, 3) == expected


# --- Ends --------------------------------------------------------------------------------------------------------


def test_a_start_outside_the_rule_is_number_one_of_count():
    assert days("FREQ=WEEKLY;BYDAY=MO;COUNT=3", "2026-01-03", 9) == ["2026-01-03", "2026-01-05", "2026-01-12"]


def test_count_is_reached_the_same_from_wherever_one_asks():
    rule, anchor, zone = parse("FREQ=DAILY;COUNT=1000"), datetime(2020, 1, 1, 9), timezone("UTC")
    last = datetime(2020, 1, 1, 9, tzinfo=UTC) + timedelta(days=999)
    assert next_occurrence(rule, anchor, zone, last - timedelta(hours=1)) == last
    assert next_occurrence(rule, anchor, zone, last) is None
    assert next_occurrence(rule, anchor, zone, last + timedelta(days=3000)) is None
    assert missed(rule, anchor, zone, last - timedelta(days=2), last + timedelta(days=3000)) == (last, 2)


def test_a_count_of_one_is_the_start_alone():
    assert days("FREQ=DAILY;COUNT=1", "2026-01-01", 9) == ["2026-01-01"]
    start = datetime(2026, 1, 1, 9, tzinfo=UTC)
    rule, anchor, zone = parse("FREQ=DAILY;COUNT=1"), datetime(2026, 1, 1, 9), timezone("UTC")
    assert missed(rule, anchor, zone, start - timedelta(days=1), start + timedelta(days=9)) == (start, 1)


@pytest.mark.parametrize(
    ("until", "number"),
    [
        ("20260103", 3),
        ("20260103T090000", 3),
        ("20260103T085959", 2),
        ("20260103T000000Z", 3),
        ("20260102T235959Z", 2),
        ("20251231", 1),
    ],
)
def test_until_is_inclusive_as_a_day_a_wall_time_or_an_instant(until, number):
    assert len(walls(f"FREQ=DAILY;UNTIL={until}", "2026-01-01 09:00", "Asia/Tokyo", 9)) == number


def test_the_earlier_of_two_ends_holds():
    rule, zone = parse("FREQ=DAILY;UNTIL=20260105T000000Z"), timezone("UTC")
    for end, number in ((datetime(2026, 1, 3, tzinfo=UTC), 2), (datetime(2026, 1, 9, tzinfo=UTC), 4)):
        assert len(list(occurrences(rule, datetime(2026, 1, 1, 9), zone, end))) == number


def test_before_the_start_the_start_is_next_and_nothing_is_missed():
    rule, anchor, zone = parse("daily"), datetime(2026, 1, 1, 9), timezone("UTC")
    before = datetime(2025, 1, 1, tzinfo=UTC)
    assert next_occurrence(rule, anchor, zone, before) == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert missed(rule, anchor, zone, before, before + timedelta(days=9)) == (None, 0)


# --- Hostile patterns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "FREQ=DAILY;INTERVAL=999999999",
        "FREQ=WEEKLY;INTERVAL=999999999",
        "FREQ=MONTHLY;INTERVAL=999999999",
        "FREQ=YEARLY;INTERVAL=999999999",
        "FREQ=DAILY;INTERVAL=7;BYDAY=WE",
        "FREQ=MONTHLY;INTERVAL=12;BYMONTH=2",
        "FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=YEARLY;BYMONTH=2",
    ],
)
def test_a_rule_that_never_matches_ends_soon_after_its_start(pattern):
    assert days(pattern, "2025-01-30", 5) == ["2025-01-30"]


def test_a_count_that_is_never_reached_does_not_end_a_series():
    rule, after = parse("FREQ=DAILY;COUNT=999999999"), datetime(2100, 1, 1, tzinfo=UTC)
    found = next_occurrence(rule, datetime(1970, 1, 1), timezone("UTC"), after)
    assert found == datetime(2100, 1, 2, tzinfo=UTC)


def test_a_series_outlives_the_patience_for_a_day_that_does_not_come():
    assert days("yearly", "2026-01-01", 1000)[-1] == "3025-01-01"
    assert days("FREQ=YEARLY;INTERVAL=400", "2000-01-01", 2) == ["2000-01-01", "2400-01-01"]


def test_the_calendar_ends_before_its_last_year():
    assert days("FREQ=YEARLY;INTERVAL=3", "9990-01-01", 9) == ["9990-01-01", "9993-01-01", "9996-01-01"]
    assert days("daily", "9999-12-30", 9) == ["9999-12-30"]
    assert days("daily", "9998-12-30", 9) == ["9998-12-30", "9998-12-31"]
    zone, late = timezone("Pacific/Apia"), datetime(9999, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(BadMessage, match="years 1 to 9999"):
        next_occurrence(parse("daily"), datetime(2026, 1, 1), zone, late)


def test_the_first_day_of_the_calendar_is_a_start_like_any_other():
    anchor = datetime(1, 1, 1, 9)
    found = missed(
        parse("daily"), anchor, timezone("UTC"), datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 3, tzinfo=UTC)
    )
    assert found == (datetime(1, 1, 2, 9, tzinfo=UTC), 2)
    moments = list(islice(occurrences(parse("daily"), anchor, timezone("UTC")), 2))
    assert moments == [datetime(1, 1, 1, 9, tzinfo=UTC), datetime(1, 1, 2, 9, tzinfo=UTC)]


def test_anchors_and_instants_are_two_ways_of_one_thing():
    zone, moment = timezone("Asia/Kolkata"), datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
    assert local_anchor(moment, zone) == datetime(2026, 1, 1, 9)
    assert instant(local_anchor(moment, zone), zone) == moment
    assert local_anchor(moment, zone).date() == date(2026, 1, 1)
