"""Days and sending hours, above all where clocks are changed.

In 2026 and 2027: America/Santiago and Asia/Beirut have days without a midnight, Atlantic/Azores one with two midnights,
Australia/Lord_Howe moves by half an hour, Africa/Casablanca goes back for Ramadan, Asia/Kathmandu is 5:45 from UTC.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.rows import one

ZONES = [
    "UTC",
    "America/Santiago",
    "Asia/Beirut",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
]
HOURS = [
    ("08:00", "20:00"),
    ("20:00", "08:00"),
    ("00:00", "06:00"),
    ("18:00", "00:00"),
    ("23:30", "01:30"),
    ("00:30", "02:15"),
]

# `wall` is now in the zone; {between} is what the hours mean on a clock's face.
LAWS = """
    select count(*) as instants,
        count(*) filter (where today = wall::date and tomorrow > now) as today,
        count(*) filter (where timezone(zone, tomorrow)::date = today + 1) as tomorrow_is_the_next_day,
        count(*) filter (where timezone(zone, tomorrow - interval '1 microsecond')::date = today) as no_earlier_one_is,
        count(*) filter (where is_open = ({between})) as is_open,
        count(*) filter (where opens_at > now and closes_at > now and reopens_at >= tomorrow) as later,
        count(*) filter (where (select is_open from private.calendar(zone, h_start, h_end, ca.opens_at))) as opens,
        count(*) filter (where (select is_open from private.calendar(zone, h_start, h_end, ca.reopens_at))) as reopens
    from (select %s::text as zone, %s::time as h_start, %s::time as h_end, unnest(%s::timestamptz[]) as now) as given
    cross join lateral private.calendar(zone, h_start, h_end, now) as ca
    cross join lateral (select timezone(zone, now) as wall) as w
"""


def instants(zone: str) -> list[datetime]:
    """Every quarter of an hour of three days around each clock change of two years, and of three ordinary days."""
    start, days = datetime(2026, 1, 1, 0, 7, tzinfo=UTC), range(730)
    offset = [(start + timedelta(days=day)).astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    changes = [start + timedelta(days=day - 1) for day in days[1:] if offset[day] != offset[day - 1]]
    return [at + timedelta(minutes=15 * n) for at in [start, *changes] for n in range(-96, 192)]


@pytest.mark.parametrize("zone", ZONES)
def test_days_and_hours_begin_and_end_by_the_wall_clock(db, zone):
    for start, end in HOURS:
        between = f"wall::time >= h_start {'and' if start < end else 'or'} wall::time < h_end"
        row = db.execute(LAWS.format(between=between), (zone, start, end, instants(zone))).fetchone()
        total = row.pop("instants")
        assert row == dict.fromkeys(row, total), (start, end)


def test_without_hours_it_is_always_open(db):
    row = db.execute("select * from private.calendar('Asia/Kolkata', null, null, '2026-03-02 12:00+00')").fetchone()
    assert (row["is_open"], row["opens_at"], row["closes_at"]) == (True, None, None)
    assert row["reopens_at"] == row["tomorrow"]


def test_a_midnight_that_does_not_exist_is_one_o_clock(db):
    at = "select tomorrow at time zone 'UTC' from private.calendar(%s, null, null, %s)"
    assert (
        str(one(db, at, "America/Santiago", "2026-09-05 22:00-04")) == "2026-09-06 04:00:00"
    )  # 00:00 -04, which the clocks show as 01:00 -03


def test_a_midnight_that_comes_twice_counts_the_first_time(db):
    at = (
        "select tomorrow at time zone 'UTC' from private.calendar('Atlantic/Azores', null, null, '2026-10-24 22:00+00')"
    )
    assert str(one(db, at)) == "2026-10-25 00:00:00"  # 00:00 +00; an hour later it is 00:00 -01


@pytest.mark.parametrize(
    ("day", "limit"),
    [
        ("2026-02-01", 20),
        ("2026-03-01", 20),
        ("2026-03-02", 38),
        ("2026-03-06", 110),
        ("2026-03-10", 182),
        ("2026-03-11", 200),
        ("2027-01-01", 200),
    ],
)
def test_a_daily_limit_grows_evenly_while_the_number_warms_up(queue, day, limit):
    queue.settings(daily_limit=200, warm_up_from="2026-03-01", warm_up_days=10, warm_up_limit=20)
    assert one(queue.db, "select private.daily_limit(se, %s) from connection_settings as se", day) == limit


def test_a_warm_up_never_exceeds_the_limit_and_no_number_is_too_large_for_it(queue):
    queue.settings(daily_limit=5, warm_up_from="2026-03-01", warm_up_days=10, warm_up_limit=20)
    assert one(queue.db, "select private.daily_limit(se, '2026-03-01') from connection_settings as se") == 5
    queue.settings(daily_limit=2**31 - 1, warm_up_from="2026-03-01", warm_up_days=365, warm_up_limit=1)
    assert one(queue.db, "select private.daily_limit(se, '2027-02-28') from connection_settings as se") > 2_000_000_000
