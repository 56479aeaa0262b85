"""A wall time is the same instant in SQL and in Python: the rules of docs/recurrence.md, for each zone until 2100."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from worker.recurrence.times import instant
from worker.recurrence.zonedata import principal_zones

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STEP = timedelta(days=7)  # Morocco's summer time is interrupted for a month
# Of the tzdata that the daemon brings along (2026.6) and the one in the tests' PostgreSQL (18.6).
OTHER_RULES = {
    "Africa/Casablanca", "Africa/El_Aaiun", "America/Havana", "America/Inuvik", "America/Winnipeg", "Asia/Gaza",
    "Asia/Hebron",
}  # fmt: skip
AROUND = [timedelta(minutes=m) for m in (-1440, -121, -60, -30, -1, 0, 1, 29, 30, 59, 60, 90, 119, 120, 121, 180, 1440)]


def transitions(zone: ZoneInfo) -> Iterator[datetime]:
    """The minutes (UTC) at which its clock changes."""
    at, offset = FIRST, FIRST.astimezone(zone).utcoffset()
    while at < LAST:
        later = at + STEP
        if (new := later.astimezone(zone).utcoffset()) != offset:
            before, after = at, later
            while after - before > timedelta(minutes=1):
                middle = before + (after - before) // 2
                before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
            yield after.replace(second=0, microsecond=0)
        at, offset = later, new


@cache
def walls(name: str) -> tuple[datetime, ...]:
    """A day around each transition, and each 1 January."""
    zone = ZoneInfo(name)
    at = [(change + around).astimezone(zone).replace(tzinfo=None) for change in transitions(zone) for around in AROUND]
    # What a clock that goes forward leaves out no instant has.
    gaps = [wall + timedelta(minutes=30) for wall in at]
    return tuple(dict.fromkeys([*at, *gaps, *(datetime(year, 1, 1) for year in range(2020, 2101))]))


def test_sql_and_python_agree_at_each_transition_of_each_zone_until_2100(db, size):
    known = {row["name"] for row in db.execute("select name from pg_timezone_names")}
    names = [name for name in principal_zones() if name in known]
    names = names if size(10) == 10 else [*names[::10], "Africa/Casablanca", "Australia/Lord_Howe", "Europe/Rome"]
    asked = [(name, wall, instant(wall, ZoneInfo(name))) for name in names for wall in walls(name)]

    # Zones whose rules differ are the servers' matter: doctor names them (private.diagnose, get_timezones).
    sql = """
        select asked.zone, asked.wall, asked.at, private.wall_to_instant(asked.wall, asked.zone) as found,
            (asked.at at time zone asked.zone) as shown
        from unnest(%s::text[], %s::timestamp[], %s::timestamptz[]) as asked (zone, wall, at)
        where private.wall_to_instant(asked.wall, asked.zone) <> asked.at
    """
    wrong = db.execute(sql, [list(column) for column in zip(*asked, strict=True)]).fetchall()

    other_rules = {
        row["zone"] for row in wrong if row["at"].astimezone(ZoneInfo(row["zone"])).replace(tzinfo=None) != row["shown"]
    }
    assert [row for row in wrong if row["zone"] not in other_rules] == []
    assert other_rules <= OTHER_RULES, "zones whose data differ, besides those known"
    assert len(asked) > 30 * len(names)
