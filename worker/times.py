"""The clock on the wall and the clock of the database: reading times, and going from one to the other."""

from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from worker.errors import BadMessage, BadTimezone

# A zone that crosses the date line sets its clock forward by 24 hours; daylight saving never comes near.
_DAY_LOST_SECONDS = 20 * 3600
_FIRST_ZONE_YEAR, _LAST_ZONE_YEAR = 1800, 2100


def parse_time(text: str) -> datetime:
    """A time as the API gives it, in UTC: `2026-11-22T01:20:17.899+00:00` or `2026-11-22 01:20:17.899+00`.

    Raises BadMessage for anything else, a time without an offset and the years past 9999 included.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadMessage(f"not a time with an offset, between the years 1 and 9999: {text[:40]!r}")


@lru_cache(maxsize=1024)
def timezone(name: str) -> ZoneInfo:
    """The IANA zone of this name, spelled as in the database. Raises BadTimezone."""
    if name in _names():
        return ZoneInfo(name)
    raise BadTimezone(f"no such time zone: {name[:64]!r}; give an IANA name such as 'Asia/Kolkata'")


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    """The list keeps out paths and the leap-second files that some systems have; `localtime` is no zone."""
    return frozenset(available_timezones()) - {"localtime"}


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The UTC time of a naive wall time (RFC 5545 §3.3.5).

    A time in a gap moves forward by the gap (02:30 → 03:30); of a time that comes twice, it is the first.
    Raises BadMessage where the result leaves the years 1 to 9999.
    """
    try:
        # With fold=0 zoneinfo takes the offset before the transition: the rule for gap and fold alike.
        return local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    except OverflowError:
        raise BadMessage(f"outside the years 1 to 9999: {local.isoformat()}") from None


def local_anchor(instant_utc: datetime, zone: ZoneInfo) -> datetime:
    """The naive wall time of an instant. Raises BadMessage where it leaves the years 1 to 9999."""
    try:
        return instant_utc.astimezone(zone).replace(tzinfo=None, fold=0)
    except OverflowError:
        raise BadMessage(f"outside the years 1 to 9999: {instant_utc.isoformat()}") from None


@lru_cache(maxsize=1024)
def lost_days(zone: ZoneInfo) -> frozenset[int]:
    """The dates, as ordinals, that a zone never had because it crossed the date line (Apia, 2011-12-30)."""
    return frozenset(
        day
        for year in range(_FIRST_ZONE_YEAR, _LAST_ZONE_YEAR)
        if _offset(zone, year + 1) - _offset(zone, year) > _DAY_LOST_SECONDS
        for day in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 1).toordinal())
        if _noon(zone, day) == _noon(zone, day + 1)
    )


def _offset(zone: ZoneInfo, year: int) -> float:
    offset = datetime(year, 1, 1, tzinfo=zone).utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _noon(zone: ZoneInfo, day: int) -> datetime:
    return instant(datetime.combine(date.fromordinal(day), time(12)), zone)
