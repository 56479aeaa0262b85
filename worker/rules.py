"""What a recurrence rule means in days: which days of a year it names, before any clock or time zone.

A year is an integer with one bit a day (bit 0 = 1 January), so that "the next", "the last" and "how many"
are arithmetic. python-dateutil expands one year at a time, without INTERVAL; what it names is the same in all
years that begin on the same weekday with the same leap days around (21 kinds), so it is asked once for each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal

from dateutil import rrule

Freq = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
Skip = Literal["OMIT", "BACKWARD", "FORWARD"]

EVERY_DAY = (1 << 366) - 1
_FREQUENCIES = {
    "DAILY": rrule.DAILY,
    "WEEKLY": rrule.WEEKLY,
    "MONTHLY": rrule.MONTHLY,
    "YEARLY": rrule.YEARLY,
}


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """The parts of an RRULE value, under their own names (RFC 5545 §3.3.10; `skip`: RFC 7529 §4.1).

    until: naive = wall time, aware = instant; inclusive either way.
    byday: (weekday, ordinal), Monday = 0, ordinal 0 = every one. wkst: Monday = 0.
    Rules are compared by identity: they are keys of caches, and patterns.parse gives equal texts one rule.
    """

    freq: Freq
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    bymonth: tuple[int, ...] = ()
    byweekno: tuple[int, ...] = ()
    byyearday: tuple[int, ...] = ()
    bymonthday: tuple[int, ...] = ()
    byday: tuple[tuple[int, int], ...] = ()
    bysetpos: tuple[int, ...] = ()
    wkst: int = 0
    skip: Skip = "OMIT"


def starting_on(rule: Rule, start: date) -> Rule:
    """The rule with what it leaves open taken from its start (RFC 5545 §3.3.10, "derived from DTSTART")."""
    if rule.freq == "DAILY" or rule.byday or rule.bymonthday or rule.byyearday:
        return rule
    if rule.freq == "WEEKLY" or rule.byweekno:
        return _on_weekday(rule, start.weekday())
    month = start.month if rule.freq == "YEARLY" and not rule.bymonth else None
    return _on_day(rule, month, start.day)


@lru_cache(maxsize=4096)
def _on_weekday(rule: Rule, weekday: int) -> Rule:
    return replace(rule, byday=((weekday, 0),))


@lru_cache(maxsize=4096)
def _on_day(rule: Rule, month: int | None, day: int) -> Rule:
    return replace(rule, bymonth=rule.bymonth if month is None else (month,), bymonthday=(day,))


def days_of(rule: Rule, start: date, year: int) -> int:
    """The days of a year that a rule (complete: see starting_on) names when INTERVAL counts from `start`."""
    days, too_short = _days_of_any(rule, _LIKE[year % 400])
    if rule.interval > 1:
        kept = _kept_by_interval(rule, start, year)
        days, too_short = days & kept, too_short & kept
    return days | too_short << (rule.skip == "FORWARD")


def has_no_day(rule: Rule) -> bool:
    """Whether the rule names no day of any year, whatever its start fills in."""
    if starting_on(rule, date.min) is not rule:
        return False
    return not any(any(_days_of_any(rule, year)) for year in set(_LIKE))


@lru_cache(maxsize=1 << 14)
def _days_of_any(rule: Rule, year: int) -> tuple[int, int]:
    """The days that the rule names without INTERVAL, and the ends of months too short for a day it names."""
    if rule.skip == "OMIT":
        return _bits(day for day in _expand(rule, year) if day.year == year), 0
    return _days_of_months(rule, year)


def _expand(rule: Rule, year: int) -> rrule.rrule:
    freq, first = rule.freq, date(year, 1, 1)
    byday = [rrule.weekday(day, ordinal or None) for day, ordinal in rule.byday]
    if freq in ("DAILY", "WEEKLY") and not rule.bysetpos:
        # These only filter days then, and dateutil filters a year faster than it steps through it.
        freq, byday = "YEARLY", byday or [rrule.weekday(day) for day in range(7)]
    elif freq == "WEEKLY":
        # BYSETPOS looks at whole weeks, also at the one that New Year cuts.
        first -= timedelta(days=(first.weekday() - rule.wkst) % 7)
    return rrule.rrule(
        getattr(rrule, freq),
        dtstart=datetime.combine(first, time.min),
        until=datetime.combine(date(year, 12, 31), time.min),
        wkst=rule.wkst,
        bysetpos=rule.bysetpos or None,
        bymonth=rule.bymonth or None,
        bymonthday=rule.bymonthday or None,
        byyearday=rule.byyearday or None,
        byweekno=rule.byweekno or None,
        byweekday=byday or None,
    )


def _days_of_months(rule: Rule, year: int) -> tuple[int, int]:
    days: set[date] = set()
    too_short: set[date] = set()
    for month in rule.bymonth or range(1, 13):
        last = _last_day(year, month)
        for day in rule.bymonthday:
            if day > last.day:
                too_short.add(last)
            else:
                days.add(last.replace(day=day if day > 0 else last.day + 1 + day))
    return _bits(days), _bits(too_short)


def _last_day(year: int, month: int) -> date:
    return (date(year, month, 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _bits(days: Iterable[date]) -> int:
    bits = 0
    for day in days:
        bits |= 1 << day.timetuple().tm_yday - 1
    return bits


def _kept_by_interval(rule: Rule, start: date, year: int) -> int:
    """The days of `year` in every INTERVAL-th period, counted from the one that holds `start`."""
    if rule.freq == "YEARLY":
        return 0 if (year - start.year) % rule.interval else EVERY_DAY
    if rule.freq == "MONTHLY":
        months = 12 * (year - start.year) - start.month
        kept = [month for month in range(1, 13) if (months + month) % rule.interval == 0]
        return sum(
            ((1 << _last_day(year, m).day) - 1) << date(year, m, 1).timetuple().tm_yday - 1 for m in kept
        )
    length = 7 if rule.freq == "WEEKLY" else 1
    origin = start.toordinal() - (start.weekday() - rule.wkst) % length
    step, new_year = length * rule.interval, date(year, 1, 1).toordinal()
    first = (origin - new_year + length - 1) % step - length + 1
    period = (1 << length) - 1
    return sum(period << 7 + day for day in range(first, 366, step)) >> 7


def _kind(year: int) -> tuple[int, bool, bool]:
    new_year = date(year, 1, 1)
    return new_year.weekday(), _last_day(year, 2).day == 29, _last_day(year - 1, 2).day == 29


_FIRST_OF_KIND: dict[tuple[int, bool, bool], int] = {}
# The calendar repeats after 400 years (146,097 days, 20,871 weeks): year % 400 → the first year like it.
_LIKE = [_FIRST_OF_KIND.setdefault(_kind(year), year) for year in range(2000, 2400)]
