"""How fast the next occurrence of a series is found, where the series is young and where it is old."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import process_time

from local.bench.figures import Figure, Size
from worker.recurrence.series import next_occurrence, parse, timezone

AGES = (1, 30)
CALLS = 5000
PATTERNS = (
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "weekdays",
    "FREQ=DAILY;INTERVAL=3",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TH",
    "FREQ=MONTHLY;BYDAY=1MO",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
    "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=DAILY;COUNT=9000",
)


def per_second(pattern: str, years: int) -> float:
    """Next occurrences a second of processor time, asked at `CALLS` hours for a series begun `years` ago."""
    rule, zone = parse(pattern), timezone("Europe/Berlin")
    anchor = datetime.fromisoformat(f"{2026 - years}-01-31T09:00")
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour) for hour in range(CALLS)]
    started = process_time()
    for after in hours:
        next_occurrence(rule, anchor, zone, after)
    return CALLS / (process_time() - started)


def recurrence(size: Size) -> Iterator[Figure]:  # noqa: ARG001 (it takes seconds at any size)
    for pattern in PATTERNS:
        for age in AGES:
            speed = per_second(pattern, age)
            yield Figure("recurrence", f"{pattern}, a series of {age} years", speed, "/s", settings="one core")
