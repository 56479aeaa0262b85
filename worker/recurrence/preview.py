"""The times of a series as text, for people and front ends: the daemon's own functions, asked ahead."""

from datetime import UTC, datetime
from itertools import chain, dropwhile, islice
from zoneinfo import ZoneInfo

from worker.errors import BadMessage
from worker.recurrence.series import LAST_MOMENT, instant, local_anchor, occurrences, parse, timezone

MOST = 100_000


def preview_lines(start: str, pattern: str, tz: str, count: int, end: str | None = None) -> list[str]:
    """The first `count` times of a series as `YYYY-MM-DDTHH:MM:SS±HH:MM`, fewer where it ends.

    start, end: ISO 8601, wall time in the zone or with an offset. The first line is the start itself, so a
    start in the second of two equal hours stays there. Raises BadMessage, in one line, for what is wrong.
    """
    if not 1 <= count <= MOST:
        raise BadMessage(f"count must be from 1 to {MOST}, not {count}")
    zone, rule = timezone(tz), parse(pattern)
    anchor, first = _wall_and_instant("start", start, zone)
    last = min(LAST_MOMENT, _wall_and_instant("end", end, zone)[1]) if end else LAST_MOMENT
    later = dropwhile(lambda moment: moment <= first, occurrences(rule, anchor, zone, last))
    times = islice(chain([first], later), count)
    return [moment.astimezone(zone).isoformat(timespec="seconds") for moment in times]


def _wall_and_instant(name: str, text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise BadMessage(f"{name} is not an ISO 8601 time: {text[:40]!r}") from None
    if given.tzinfo is None:
        return given, instant(given, zone)
    return local_anchor(given, zone), given.astimezone(UTC)
