"""Series over a year of the database's clock, with daemons that come, go and take turns. No real waiting."""

import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.rows import Database
from tests.helpers.time_travel import TimeTravel
from worker.daemon import Parts

ZONES = (
    "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Apia",
    "Europe/Rome", "America/New_York", "Asia/Kolkata", "America/St_Johns", "UTC",
)  # fmt: skip
PATTERNS = ("daily", "weekly", "monthly", "weekdays")
START = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def clock(db: Database) -> Iterator[TimeTravel]:
    travel = TimeTravel(db)
    yield travel
    travel.leave()


def wall_times(pattern: str, anchor: datetime, until: datetime) -> Iterator[datetime]:
    """The naive wall times of a series, worked out the slow way: day by day."""
    day, last = anchor, anchor + timedelta(days=1)
    while day < until:
        month_ends_here = (day + timedelta(days=1)).day == 1
        if (
            pattern == "daily"
            or (pattern == "weekly" and day.weekday() == anchor.weekday())
            or (pattern == "weekdays" and (day.weekday() < 5 or day == anchor))
            or (pattern == "monthly" and (day.day == anchor.day or (month_ends_here and day.day < anchor.day)))
        ):
            yield day
        day = last
        last = day + timedelta(days=1)


def instants(pattern: str, anchor: datetime, zone: ZoneInfo, until: datetime) -> list[datetime]:
    walls = wall_times(pattern, anchor, until.replace(tzinfo=None) + timedelta(days=2))
    moments = {wall.replace(tzinfo=zone).astimezone(UTC) for wall in walls}
    return sorted(moment for moment in moments if moment < until)


async def test_every_occurrence_of_a_year_exists_once_whatever_the_daemons_do(
    db: Database,
    clock: TimeTravel,
    parts: Callable[..., Awaitable[Parts]],
    size: Callable[[int], int],
) -> None:
    chance = random.Random(7)
    days = 365 if size(10) == 10 else 40  # either way some clocks change
    until = START + timedelta(days=days)
    series = [
        (PATTERNS[n % len(PATTERNS)], datetime(2026, 1, 31, chance.choice((0, 2, 2, 9, 23)), 30), ZONES[n % len(ZONES)])
        for n in range(size(20) if days == 365 else 10)
    ]
    clock.to(START - timedelta(days=3))
    db.execute("insert into connections (id) values ('c')")
    for pattern, anchor, zone in series:
        db.execute(
            "insert into scheduled_messages (connection_id, contact_id, message, scheduled_at, is_recurring,"
            " recurrence_pattern, timezone) values ('c', '+919876543210', 'hello', %s, true, %s, %s)",
            (anchor.replace(tzinfo=ZoneInfo(zone)), pattern, zone),
        )
    outages = [
        (START + timedelta(days=day, hours=5), START + timedelta(days=day + chance.randint(1, 4)))
        for day in (days // 4, days // 2, days * 3 // 4)
    ]
    daemons = [await parts() for _ in range(3)]
    await live_through(db, clock, daemons, outages, until, chance)

    rows = db.execute("select * from scheduled_messages order by occurrence_at").fetchall()
    assert {row["status"] for row in rows if row["scheduled_at"] < until} == {"sent"}
    followers = {row["next_id"] for row in rows}
    firsts = [row for row in rows if row["id"] not in followers]
    assert len(firsts) == len(series)
    for first in firsts:
        one = [row for row in rows if row["series_id"] == first["series_id"]]
        check(one, outages, until)


async def live_through(
    db: Database,
    clock: TimeTravel,
    daemons: list[Parts],
    outages: list[tuple[datetime, datetime]],
    until: datetime,
    chance: random.Random,
) -> None:
    """From one due time to the next, but for the outages, which nobody is there to see."""
    due = "select min(scheduled_at) as at from scheduled_messages where status = 'pending'"
    while (now := db.execute(due).fetchone()["at"]) is not None and now < until:
        now += timedelta(milliseconds=chance.randint(0, 900))
        now = next((end for begin, end in outages if begin <= now < end), now)
        clock.to(now)
        one = chance.choice(daemons)
        await one.scheduler.poll()
        await one.dispatcher.send_all()


def check(rows: list[dict], outages: list[tuple[datetime, datetime]], until: datetime) -> None:
    zone, pattern = ZoneInfo(rows[0]["timezone"]), rows[0]["recurrence_pattern"]
    sent = [row["occurrence_at"] for row in rows if row["status"] == "sent"]
    expected = instants(pattern, rows[0]["series_anchor"], zone, until)
    assert len(sent) == len(set(sent)), "an occurrence exists twice"
    assert set(sent) <= set(expected), "a row at a time that the series does not have"
    for moment in expected:
        outage = next(((b, e) for b, e in outages if b <= moment < e), None)
        if outage is None:
            assert moment in sent, f"{pattern} in {zone.key} lost {moment}"
        else:
            missed = [m for m in expected if outage[0] <= m < outage[1]]
            assert [m for m in sent if outage[0] <= m < outage[1]] == missed[-1:], "not just the latest of an outage"
    assert len(sent) + sum(row["missed"] for row in rows) == len(expected)
    assert [row["status"] for row in rows].count("pending") == 1, "the series has one next occurrence"
