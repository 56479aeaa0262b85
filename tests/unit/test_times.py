"""Reading times, finding zones, and going between the wall and UTC."""

from datetime import UTC, date, datetime
from zoneinfo import available_timezones

import pytest

from worker.errors import BadMessage, BadTimezone
from worker.times import instant, local_anchor, lost_days, parse_time, timezone


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T01:20:17.899+00:00",
        "2026-11-22 01:20:17.899+00",
        "2026-11-22T01:20:17.899Z",
        "2026-11-22 06:50:17.899+05:30",
    ],
)
def test_the_forms_of_both_servers_are_one_time(text):
    assert parse_time(text) == datetime(2026, 11, 22, 1, 20, 17, 899000, tzinfo=UTC)
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["2026-11-22T01:20:17+00:00", "2026-11-22 01:20:17+00"])
def test_a_time_may_have_no_fraction(text):
    assert parse_time(text) == datetime(2026, 11, 22, 1, 20, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "infinity",
        "2026-11-22",
        "2026-11-22T01:20:17",
        "12026-01-01 00:00:00+00",
        "0044-03-15 00:00:00+00 BC",
        "0001-01-01 00:00:00+14",
        "x" * 9999,
    ],
)
def test_what_is_no_time_with_an_offset_is_refused_in_one_short_line(text):
    with pytest.raises(BadMessage, match="not a time with an offset") as refusal:
        parse_time(text)
    assert len(str(refusal.value)) < 120


def test_every_zone_of_the_database_is_found():
    for name in available_timezones() - {"localtime"}:
        assert timezone(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "../etc/passwd",
        "/etc/localtime",
        "America",
        "Europe/Berlin ",
        "Europe/Berlin\0",
        "Eur\nope",
        "Mars/Olympus",
        "localtime",
        "right/UTC",
        "leapseconds",
        "\ud800",
        "é",
        "A" * 100_000,
    ],
)
def test_a_name_that_is_no_zone_is_refused_in_one_short_line(name):
    with pytest.raises(BadTimezone, match="no such time zone") as refusal:
        timezone(name)
    assert len(str(refusal.value)) < 400
    assert "\n" not in str(refusal.value)


def test_a_time_in_a_gap_moves_forward_by_the_gap():
    gap = instant(datetime(2026, 3, 29, 2, 30), timezone("Europe/Berlin"))
    assert gap == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert local_anchor(gap, timezone("Europe/Berlin")) == datetime(2026, 3, 29, 3, 30)


def test_a_time_that_comes_twice_is_the_first():
    fold = instant(datetime(2026, 10, 25, 2, 30, fold=1), timezone("Europe/Berlin"))
    assert fold == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_times_at_the_edge_of_the_calendar_are_refused_not_crashed_on():
    with pytest.raises(BadMessage, match="years 1 to 9999"):
        instant(datetime(9999, 12, 31, 23), timezone("America/New_York"))
    with pytest.raises(BadMessage, match="years 1 to 9999"):
        local_anchor(datetime(9999, 12, 31, 23, tzinfo=UTC), timezone("Pacific/Apia"))


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("Pacific/Apia", {date(2011, 12, 30)}),
        ("Pacific/Kiritimati", {date(1994, 12, 31)}),
        ("Pacific/Kwajalein", {date(1993, 8, 21)}),
        ("Europe/Berlin", set()),
    ],
)
def test_the_days_that_a_zone_never_had_are_known(name, days):
    assert lost_days(timezone(name)) == {day.toordinal() for day in days}
