"""The clock on the wall and the clock of the database: reading times, and going from one to the other."""

import re
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from worker.errors import BadMessage, BadTimezone
from worker.recurrence import zonedata
from worker.text.characters import plain

ZONE_DATA = zonedata.choose()  # before any zone is made

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
    """The IANA zone of this name, whatever its case and the blanks around and in it; `key` has its own spelling.

    Raises BadTimezone, also for abbreviations, offsets and POSIX rules: "IST" is India's, Israel's and Ireland's.
    """
    if found := _names().get(_folded(name)):
        return ZoneInfo(found)
    near = nearest(name)
    hint = f"did you mean {', '.join(near)}?" if near else "give an IANA name such as Asia/Kolkata"
    raise BadTimezone(f"no such time zone: {name[:64]!r}; {hint}")


def _folded(name: str) -> str:
    return re.sub(r"\s+", "_", plain(name)).casefold()


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """The list keeps out paths and the leap-second files that some systems have; two of its names are no zones."""
    return {
        name.casefold(): name for name in available_timezones() if name not in ("localtime", "posixrules", "Factory")
    }


def nearest(name: str, count: int = 4) -> list[str]:
    """The zones that somebody may have meant: of that abbreviation or that offset, or spelled much like it."""
    meant = _folded(name[:64])
    if offset := _written_offset(meant):
        return [zone for zone in _principal() if offset in _offsets(zone)[1]][:count]
    if by_abbreviation := [zone for zone in _principal() if meant.upper() in _offsets(zone)[0]]:
        return by_abbreviation[:count]
    cities = {known.rpartition("/")[2]: known for known in reversed(list(_names()))}
    found = [meant] if meant in cities else get_close_matches(meant.rpartition("/")[2], cities, count, 0.75)
    return [_names()[cities[city]] for city in found]


def _written_offset(meant: str) -> timedelta | None:
    """Of "utc+5:30", "+05:30", "gmt-3", "ist-5:30"; after any other letters POSIX counts westward."""
    found = re.fullmatch(r"([a-z]*)([+-])(\d{1,2}):?(\d{2})?(?::?\d{2})?", meant)
    if not found:
        return None
    east = timedelta(hours=int(found[3]), minutes=int(found[4] or 0))
    west = (found[2] == "-") is (found[1] in ("", "utc", "gmt", "z"))
    return -east if west else east


@lru_cache(maxsize=1)
def _principal() -> list[str]:
    return [name for name in zonedata.principal_zones() if name.casefold() in _names()]


@lru_cache(maxsize=1024)
def _offsets(name: str) -> tuple[set[str], set[timedelta]]:
    """The abbreviations and the offsets that a zone has in the seasons of this year."""
    year = datetime.now(UTC).year
    seasons = [datetime(year, month, 1, tzinfo=ZoneInfo(name)) for month in (1, 7)]
    return {str(season.tzname()) for season in seasons}, {season.utcoffset() or timedelta(0) for season in seasons}


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
    return (datetime(year, 1, 1, tzinfo=zone).utcoffset() or timedelta(0)).total_seconds()


def _noon(zone: ZoneInfo, day: int) -> datetime:
    return instant(datetime.combine(date.fromordinal(day), time(12)), zone)
