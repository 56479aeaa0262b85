"""What a recurrence rule means in days: which days of a year it names, before any clock or time zone.

A year is an integer with one bit a day (bit 0 = 1 January), so that the parts of a rule are masks, and "the
next", "the last" and "how many" are arithmetic. Without INTERVAL a rule names the same days in all years that
begin on the same weekday with the same leap years around (28 kinds), so each kind is worked out once.
"""

from calendar import isleap, monthrange
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache, reduce
from itertools import accumulate
from operator import or_
from typing import Literal

Freq = Literal["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]
Skip = Literal["OMIT", "BACKWARD", "FORWARD"]


BESIDE = (-1, 0, 1)  # the year before, the year itself, the year after


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
    days, too_short = _days_without_interval(rule, _LIKE[year % 400])
    if rule.interval > 1:
        kept = _kept_by_interval(rule, start, year)
        days, too_short = days & kept, too_short & kept
    return days | too_short << (rule.skip == "FORWARD")


def kept_year(rule: Rule, start: date, year: int) -> int:
    """The first year from `year` (at most 9999) on of which INTERVAL, counted from `start`, keeps any days."""
    if rule.interval == 1:
        return year
    if rule.freq == "YEARLY" and rule.byweekno:
        # Years of weeks: their first and last days may lie in the years around.
        kept = year - 1 + (_first_year(rule, start) - year + 1) % rule.interval
        return max(year, kept - 1)
    if rule.freq == "YEARLY":
        return year + (start.year - year) % rule.interval
    if rule.freq == "MONTHLY":
        return (12 * year + (12 * (start.year - year) + start.month - 1) % rule.interval) // 12
    length = 7 if rule.freq == "WEEKLY" else 1
    step, origin = length * rule.interval, start.toordinal() - (start.weekday() - rule.wkst) % length
    new_year = date(year, 1, 1).toordinal()
    # A week that the New Year cuts belongs to both.
    first = new_year - length + 1 + (origin - new_year + length - 1) % step
    return date.fromordinal(max(first, new_year)).year if first <= date.max.toordinal() else date.max.year + 1


def has_no_day(rule: Rule) -> bool:
    """Whether the rule names no day of any year, whatever its start fills in."""
    if starting_on(rule, date.min) is not rule:
        return False
    return not any(any(_days_without_interval(rule, year)) for year in set(_LIKE))


@lru_cache(maxsize=1 << 14)
def _days_without_interval(rule: Rule, year: int) -> tuple[int, int]:
    """The days that the rule names, and the last days of the months that SKIP finds too short."""
    days = _named(rule, year)
    if rule.skip != "OMIT":
        months = _months(year)
        asked = [months[month - 1] for month in rule.bymonth or range(1, 13)]
        short = (month for month in asked if month.bit_count() < max(rule.bymonthday))
        return days, _union(_pick(month, (-1,)) for month in short)
    return (_chosen(rule, year, days) if rule.bysetpos else days), 0


def _named(rule: Rule, year: int) -> int:
    """Every BY part but BYSETPOS. On whole days, to expand a period by a part is to filter its days by it."""
    days, months = _whole(year), _months(year)
    if rule.bymonth:
        days &= _union(months[month - 1] for month in rule.bymonth)
    if rule.bymonthday:
        days &= _union(_pick(month, rule.bymonthday) for month in months)
    if rule.byyearday:
        days &= _pick(_whole(year), rule.byyearday)
    if rule.byweekno:
        days &= _weeks(rule, year)
    if rule.byday:
        days &= _weekdays(rule, year)
    return days


def _chosen(rule: Rule, year: int, days: int) -> int:
    """BYSETPOS: of each period's days, those at its positions."""
    if rule.freq == "MONTHLY":
        return _union(_pick(days & month, rule.bysetpos) for month in _months(year))
    if rule.freq == "YEARLY":
        return _pick(days, rule.bysetpos)
    if rule.freq == "DAILY":
        return days
    # New Year cuts weeks; so a week of the years around is laid on either side.
    around = _named(rule, year - 1) >> _length(year - 1) - 7 | days << 7
    around |= _named(rule, year + 1) << 7 + _length(year)
    first = 7 - (date(year, 1, 1).weekday() - rule.wkst) % 7
    chosen = _union(_pick(around & _span(week, 7), rule.bysetpos) for week in range(first, 7 + 366, 7))
    return chosen >> 7 & _whole(year)


def _weekdays(rule: Rule, year: int) -> int:
    """BYDAY; ordinals count within the month where there is one, else within the year."""
    scopes = _months(year) if rule.freq == "MONTHLY" or rule.bymonth else [_whole(year)]
    days = 0
    for weekday in {weekday for weekday, _ in rule.byday}:
        ordinals = tuple(ordinal for day, ordinal in rule.byday if day == weekday)
        first = (weekday - date(year, 1, 1).weekday()) % 7
        every = _union(1 << day for day in range(first, _length(year), 7))
        days |= every if 0 in ordinals else _union(_pick(every & scope, ordinals) for scope in scopes)
    return days


def _weeks(rule: Rule, year: int) -> int:
    """BYWEEKNO; the first days of a year may be in the last week of the year before, and so at its end."""
    days = 0
    for of, new_year in ((year - 1, -_length(year - 1)), (year, 0), (year + 1, _length(year))):
        end = new_year + _length(of) + _first_week(of + 1, rule.wkst)
        starts = range(new_year + _first_week(of, rule.wkst), end, 7)
        for number in rule.byweekno:
            if abs(number) <= len(starts):
                days |= _span(starts[number - (number > 0)], 7)
    return days


def _first_week(year: int, wkst: int) -> int:
    """Where week 1, the first with four days in the year, begins: days from 1 January, -3 to 3."""
    return 3 - (date(year, 1, 1).weekday() - wkst + 3) % 7


def _pick(days: int, numbers: tuple[int, ...]) -> int:
    """The n-th of these days, for each n; from the end where n is negative."""
    each = []
    while days:
        each.append(days & -days)
        days &= days - 1
    return _union(each[number - (number > 0)] for number in numbers if abs(number) <= len(each))


def _union(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)


def _span(start: int, length: int) -> int:
    days = (1 << length) - 1
    return days << start if start >= 0 else days >> -start


def _length(year: int) -> int:
    return 366 if isleap(year) else 365


def _whole(year: int) -> int:
    return _span(0, _length(year))


@lru_cache(maxsize=512)
def _months(year: int) -> list[int]:
    lengths = [monthrange(year, month)[1] for month in range(1, 13)]
    return [_span(end - length, length) for length, end in zip(lengths, accumulate(lengths), strict=True)]


def _kept_by_interval(rule: Rule, start: date, year: int) -> int:
    """The days of `year` in every INTERVAL-th period, counted from the one that holds `start`."""
    if rule.freq == "YEARLY" and rule.byweekno:
        since, like = year - _first_year(rule, start), _LIKE[year % 400]
        kept = (beside for beside in BESIDE if (since + beside) % rule.interval == 0)
        return _union(_year_of_weeks(like, beside, rule.wkst) for beside in kept) & _whole(year)
    if rule.freq == "YEARLY":
        return 0 if (year - start.year) % rule.interval else _whole(year)
    if rule.freq == "MONTHLY":
        since = 12 * (year - start.year) - start.month + 1
        return _union(days for month, days in enumerate(_months(year)) if (since + month) % rule.interval == 0)
    length = 7 if rule.freq == "WEEKLY" else 1
    origin = start.toordinal() - (start.weekday() - rule.wkst) % length
    step, new_year = length * rule.interval, date(year, 1, 1).toordinal()
    return _every(step, (origin - new_year + length - 1) % step - length + 1, length)


@lru_cache(maxsize=4096)
def _first_year(rule: Rule, start: date) -> int:
    """From which year of weeks INTERVAL counts: the one of the start's week where the rule names that day.

    So libical does it (icalrecur.c, its test table), and a week that New Year cuts is kept or left out as a whole. A
    start that the rule does not name (RFC 5545 leaves its meaning open) counts for its own year.
    """
    day, like = start.toordinal() - date(start.year, 1, 1).toordinal(), _LIKE[start.year % 400]
    if not _days_without_interval(rule, like)[0] >> day & 1:
        return start.year
    return start.year + next(beside for beside in BESIDE if _year_of_weeks(like, beside, rule.wkst) >> day & 1)


@lru_cache(maxsize=1024)
def _year_of_weeks(year: int, beside: int, wkst: int) -> int:
    """The weeks that belong to a year, or to the one before or after it, as days from the first of that year on."""
    new_year = date(year + beside, 1, 1).toordinal() - date(year, 1, 1).toordinal()
    begins, ends = _first_week(year + beside, wkst), _length(year + beside) + _first_week(year + beside + 1, wkst)
    return _span(new_year + begins, ends - begins)


@lru_cache(maxsize=4096)
def _every(step: int, first: int, length: int) -> int:
    return _union(_span(day, length) for day in range(first, 366, step))


def _kind(year: int) -> tuple[int, bool, bool, bool]:
    return date(year, 1, 1).weekday(), isleap(year - 1), isleap(year), isleap(year + 1)


# The calendar repeats after 400 years (146,097 days, 20,871 weeks): year % 400 → the first year like it.
_FIRST_OF_KIND: dict[tuple[int, bool, bool, bool], int] = {}
_LIKE = [_FIRST_OF_KIND.setdefault(_kind(year), year) for year in range(2000, 2400)]
