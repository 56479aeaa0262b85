"""Reading times, finding zones, and going between the wall and UTC."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import available_timezones

import pytest

from worker.errors import BadMessage, BadTimezone
from worker.recurrence import zonedata
from worker.recurrence.times import instant, local_anchor, lost_days, nearest, parse_time, timezone


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
    with pytest.raises(BadMessage) as refusal:
        parse_time(text)
    assert str(refusal.value) == f"not a time with an offset, between the years 1 and 9999: {text[:40]!r}"


def test_every_zone_of_the_database_is_found():
    for name in available_timezones() - {"localtime", "posixrules", "Factory"}:
        assert timezone(name).key == name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("asia/kolkata", "Asia/Kolkata"), (" Asia/Kolkata\n", "Asia/Kolkata"), ("ASIA/KOLKATA", "Asia/Kolkata"),
        ("America/New York", "America/New_York"), ("america/port-au-prince", "America/Port-au-Prince"),
        ("utc", "UTC"), ("Etc/gmt+5", "Etc/GMT+5"), ("asia/calcutta", "Asia/Calcutta"), ("us/pacific", "US/Pacific"),
        ("Europe/Berlin ", "Europe/Berlin"), ("Asia\u200b/Kolkata\ufeff", "Asia/Kolkata"), ("EST5EDT", "EST5EDT"),
    ],
)  # fmt: skip
def test_spelling_case_and_blanks_are_forgiven(written: str, name: str) -> None:
    assert timezone(written).key == name


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("IST", {"Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"}), ("pst", {"America/Los_Angeles"}),
        ("CST", {"America/Chicago"}), ("WIB", {"Asia/Jakarta"}), ("BST", {"Europe/London"}),
        ("AEST", {"Australia/Sydney"}),
        ("UTC+5:30", {"Asia/Kolkata"}), ("+05:30", {"Asia/Kolkata"}), ("gmt-3:30", {"America/St_Johns"}),
        ("IST-5:30", {"Asia/Kolkata"}), ("Kolkata", {"Asia/Kolkata"}), ("Asia/Kolkatta", {"Asia/Kolkata"}),
        ("Europe/Kiew", {"Europe/Kiev"}), ("new york", {"America/New_York"}), ("Berlin", {"Europe/Berlin"}),
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused_with_the_nearest_ones(written: str, near: set[str]) -> None:
    with pytest.raises(BadTimezone) as refused:
        timezone(written)
    assert near <= set(str(refused.value).partition("did you mean ")[2].rstrip("?").split(", "))


@pytest.mark.parametrize("written", ["foo5", "Etc/Unknown", "undefined", "null", "GMT+25:00", "posixrules", "Factory"])
def test_what_is_like_no_name_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(BadTimezone, match="give an IANA name such as Asia/Kolkata"):
        timezone(written)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("+05:30", "did you mean Asia/Kolkata, Asia/Colombo?"), ("UTC+05:45", "did you mean Asia/Kathmandu?"),
        ("UTC-3:30", "did you mean America/St_Johns?"), ("+14", "did you mean Pacific/Kiritimati?"),
        ("z+5:45", "did you mean Asia/Kathmandu?"), ("est+3:30", "did you mean America/St_Johns?"),
        ("npt-5:45", "did you mean Asia/Kathmandu?"), ("+05:45:00", "did you mean Asia/Kathmandu?"),
        ("new_yorc", "did you mean America/New_York?"), ("Asia/Kolkat", "did you mean Asia/Kolkata?"),
        ("los angeles", "did you mean America/Los_Angeles?"), ("Rome", "did you mean Europe/Rome?"),
        ("santa", "did you mean America/Argentina/Salta, America/Santiago, America/Santarem?"),
        ("+05:31", "give an IANA name such as Asia/Kolkata"), ("sant", "give an IANA name such as Asia/Kolkata"),
    ],
)  # fmt: skip
def test_a_refusal_says_in_whole_what_may_be_meant(written: str, hint: str) -> None:
    with pytest.raises(BadTimezone) as refused:
        timezone(written)
    assert str(refused.value) == f"no such time zone: {written!r}; {hint}"


@pytest.mark.parametrize("written", ["+01:00", "CET", "cst"])
def test_of_many_that_may_be_meant_four_are_named(written: str) -> None:
    assert nearest(written) == nearest(written, 9)[:4]
    assert len(nearest(written, 9)) == 9


@pytest.mark.parametrize("season", ["EST", "EDT"])
def test_an_abbreviation_is_known_in_either_season(season: str) -> None:
    assert "America/New_York" in nearest(season, 99)


def system(directory: Path, **files: str) -> tuple[str, ...]:
    """A system's zone files, with these beside them."""
    directory.mkdir(exist_ok=True)
    for name, text in {"UTC": "TZif", **files}.items():
        (directory / name).write_text(text)
    return (str(directory),)


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"tzdata.zi": "# version 2025b\n# This zic input"}, "2025b"),
        ({"+VERSION": "2099c\n"}, "2099c"),
        ({"tzdata.zi": "# redo posix_only\n"}, None),
        ({}, None),
    ],
)
def test_a_systems_version_is_what_its_files_say(tmp_path: Path, files: dict[str, str], version: str | None) -> None:
    paths = (str(tmp_path / "nowhere"), *system(tmp_path / "zones", **files))
    assert zonedata.system_version(paths) == version
    assert zonedata.system_version(()) is None


@pytest.fixture
def reset(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the path of zone files was set to."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("zoneinfo.reset_tzpath", lambda to: calls.append(to))
    return calls


@pytest.mark.parametrize(
    ("theirs", "used", "source"),
    [
        ("2025b", "2026f", "package"), ("2026e", "2026f", "package"), ("2026f", "2026f", "package"),
        (None, "2026f", "package"),
        ("2026g", "2026g", "system"), ("2027a", "2027a", "system"), ("nonsense", "2026f", "package"),
    ],
)  # fmt: skip
def test_the_newer_data_is_used_and_named(
    theirs: str | None,
    used: str,
    source: str,
    tmp_path: Path,
    reset: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {"+VERSION": theirs} if theirs else {}
    monkeypatch.setattr("zoneinfo.TZPATH", system(tmp_path, **files))
    monkeypatch.setattr("tzdata.IANA_VERSION", "2026f")
    chosen = zonedata.choose({})
    assert (chosen.version, reset) == (used, [()] if source == "package" else [])
    assert source in str(chosen)
    assert theirs in (None, "nonsense") or theirs in str(chosen)


def test_what_the_operator_says_of_zone_files_stays(reset: list[tuple[str, ...]]) -> None:
    assert zonedata.choose({"PYTHONTZPATH": "/somewhere"}).source == "PYTHONTZPATH"
    assert reset == []


def test_no_data_is_older_than_the_packages() -> None:
    """Vancouver has kept its summer time since 2026 (tzdata 2026a)."""
    winter = datetime(2030, 1, 15, 12, tzinfo=timezone("America/Vancouver"))
    assert winter.utcoffset() == timedelta(hours=-7)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "../etc/passwd",
        "/etc/localtime",
        "America",
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
    assert fold.tzinfo is UTC
    for hour in (0, 1):
        wall = local_anchor(datetime(2026, 10, 25, hour, 30, tzinfo=UTC), timezone("Europe/Berlin"))
        assert (wall, wall.fold) == (datetime(2026, 10, 25, 2, 30), 0)


def test_times_at_the_edge_of_the_calendar_are_refused_not_crashed_on():
    with pytest.raises(BadMessage, match=r"^outside the years 1 to 9999: 9999-12-31T23:00:00$"):
        instant(datetime(9999, 12, 31, 23), timezone("America/New_York"))
    with pytest.raises(BadMessage, match=r"^outside the years 1 to 9999: 9999-12-31T23:00:00\+00:00$"):
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
