"""How fast the next occurrence of a series is found, where the series is young and where it is old."""

from datetime import UTC, datetime, timedelta
from time import process_time

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


def measure() -> list[tuple[str, list[float]]]:
    """Each pattern with next occurrences a second, by AGES."""
    return [(pattern, [per_second(pattern, age) for age in AGES]) for pattern in PATTERNS]


def main() -> None:
    print(f"{'next occurrences a second, by age of the series':<48}", *(f"{age:>6} y" for age in AGES))
    for pattern, speeds in measure():
        print(f"{pattern:<48}", *(f"{speed:>8,.0f}" for speed in speeds))


if __name__ == "__main__":
    main()
