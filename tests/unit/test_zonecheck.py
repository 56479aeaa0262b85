"""Where the database's time zone data and ours disagree, as the doctor tells it."""

from datetime import UTC, datetime, timedelta

from worker.recurrence.times import timezone
from worker.recurrence.zonecheck import Zone, disagreements

BEGAN = datetime(2026, 11, 26, tzinfo=UTC)


def zone(name: str, offsets: list[int] | None, messages: int = 1, connections: int = 0) -> Zone:
    """A row of get_timezones."""
    return Zone(name, messages, connections, BEGAN, offsets)


def ours(name: str, weeks: int = 520) -> list[int]:
    moments = (BEGAN + timedelta(weeks=week) for week in range(weeks))
    offsets = (moment.astimezone(timezone(name)).utcoffset() for moment in moments)
    return [round(offset.total_seconds() / 60) for offset in offsets if offset is not None]


def test_what_agrees_is_not_told_of() -> None:
    names = ("Europe/Berlin", "Africa/Casablanca", "Asia/Kathmandu", "America/St_Johns", "UTC")
    assert [*disagreements(zone(name, ours(name)) for name in names)] == []


def test_the_first_week_of_a_disagreement_is_named_with_both_offsets() -> None:
    offsets = ours("America/Vancouver")
    offsets[30:] = [offset - 60 for offset in offsets[30:]]
    [(level, what, remedy)] = disagreements([zone("UTC", ours("UTC")), zone("America/Vancouver", offsets)])
    assert level == "warning"
    assert what == "America/Vancouver: in the week of 2027-06-24 the daemon has UTC-07:00, the database UTC-08:00"
    assert "update whichever has the older data" in remedy


def test_a_zone_that_the_database_does_not_know_is_told_of() -> None:
    [(level, what, _)] = disagreements([zone("America/Coyhaique", None)])
    assert (level, what) == ("warning", "the database does not know the zone America/Coyhaique")


def test_a_name_that_is_no_zone_fails_with_the_nearest_ones() -> None:
    [(level, what, _)] = disagreements([zone("IST", None, messages=3, connections=1)])
    assert level == "failure"
    assert what.startswith(
        "3 message(s) and 1 connection(s) use a zone that is none: no such time zone: 'IST'; did you"
    )


def test_a_name_that_is_no_zone_is_told_of_for_a_connection_alone_and_not_where_nobody_uses_it() -> None:
    [(level, what, remedy)] = disagreements([zone("IST", None, messages=0, connections=1)])
    assert (level, what.startswith("0 message(s) and 1 connection(s) use a zone that is none")) == ("failure", True)
    assert "Write another name there" in remedy
    assert [*disagreements([zone("IST", None, messages=0)])] == []
