"""When a series recurs: pure functions of its rule, its anchor, its zone and a time.

A series is its first local date and time, the anchor, and a rule. Its occurrences are the anchor, whether the
rule names that day or not, and after it every day that the rule names, at the anchor's time on the wall. The
n-th is always computed from the anchor, never from the one before. The reasons are in docs/recurrence.md.
"""

from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo

from worker.patterns import parse
from worker.rules import Rule, days_of, starting_on
from worker.times import instant, local_anchor, lost_days, timezone

__all__ = [
    "Rule",
    "instant",
    "local_anchor",
    "missed",
    "next_occurrence",
    "occurrences",
    "parse",
    "timezone",
]

# A rule that names no day in 400 years names none at all, unless its INTERVAL is absurd.
_PATIENCE_YEARS = 400
_LAST_YEAR = 9998  # in 9999 an offset could lead out of the calendar
_LAST_DAY = date(_LAST_YEAR, 12, 31).toordinal()


def next_occurrence(
    rule: Rule, anchor: datetime, zone: ZoneInfo, after: datetime, end: datetime | None = None
) -> datetime | None:
    """The first occurrence strictly later than `after`, or None where COUNT, UNTIL or `end` comes first.

    anchor: naive wall time in `zone`. after, end, result: instants, the result in UTC. `end` is inclusive.
    Raises BadMessage where a time leaves the years 1 to 9999.
    """
    series = _Series(rule, anchor, zone, end)
    wall = local_anchor(after, zone)
    # No gap is longer than a day, so what is a day or more back on the wall has passed.
    for day in series.days_from(wall.toordinal() - (wall.time() < series.time)):
        moment = series.instant(day)
        if moment > after:
            return moment if series.reaches(day, moment) else None
    return None


def missed(
    rule: Rule,
    anchor: datetime,
    zone: ZoneInfo,
    after: datetime,
    until: datetime,
    end: datetime | None = None,
) -> tuple[datetime | None, int]:
    """The latest occurrence later than `after` and not later than `until`, and how many of these there are.

    (None, 0) where there is none. Arguments and errors as in next_occurrence.
    """
    series = _Series(rule, anchor, zone, end)
    latest = series.last_day_by(until)
    number = series.rank(latest) - series.rank(series.last_day_by(after))
    return (series.instant(latest), number) if number > 0 else (None, 0)


def occurrences(rule: Rule, anchor: datetime, zone: ZoneInfo, end: datetime | None = None) -> Iterator[datetime]:
    """All occurrences in order, in UTC; the first is the anchor itself. Arguments and errors as above."""
    series = _Series(rule, anchor, zone, end)
    for day in series.days_from(series.first):
        moment = series.instant(day)
        if not series.reaches(day, moment):
            return
        yield moment


class _Series:
    """The days of one series, as ordinals. Its first day is always one of them."""

    def __init__(self, rule: Rule, anchor: datetime, zone: ZoneInfo, end: datetime | None) -> None:
        self.rule = starting_on(rule, anchor)
        self.start = anchor.date()
        self.first = anchor.toordinal()
        self.time = anchor.time()
        self.zone = zone
        self.lost = lost_days(zone)
        self.last_day, self.last_moment = _LAST_DAY, end
        if rule.until is not None and rule.until.tzinfo is not None:
            self.last_moment = min(end or rule.until, rule.until)
        elif rule.until is not None:
            self.last_day = min(_LAST_DAY, rule.until.toordinal() - (rule.until.time() < self.time))

    def instant(self, day: int) -> datetime:
        return instant(datetime.combine(date.fromordinal(day), self.time), self.zone)

    def reaches(self, day: int, moment: datetime) -> bool:
        """Whether the series has not ended before `moment`, its occurrence on `day`."""
        if day == self.first:
            return True
        return (self.last_moment is None or moment <= self.last_moment) and day <= self.last_day_within(day)

    def days_from(self, day: int) -> Iterator[int]:
        """Its days that are not before `day`, in order, as if it had no end."""
        if day <= self.first:
            yield self.first
            day = self.first + 1
        if day > _LAST_DAY:
            return
        year = date.fromordinal(day).year
        patience = year + _PATIENCE_YEARS
        while year <= min(patience, _LAST_YEAR):
            new_year, bits = self.year(year)
            bits &= -1 << max(0, day - new_year)
            if bits:
                patience = year + _PATIENCE_YEARS
            while bits:
                yield new_year + (bits & -bits).bit_length() - 1
                bits &= bits - 1
            year += 1

    def last_day_by(self, moment: datetime) -> int:
        """Its last day with an occurrence not later than `moment`; a day before its first if it has none."""
        limit = moment if self.last_moment is None else min(moment, self.last_moment)
        day = self.last_day_within(local_anchor(limit, self.zone).toordinal() + 1)
        for year in range(date.fromordinal(max(day, 1)).year, self.start.year - 1, -1):
            new_year, bits = self.year(year)
            bits &= (1 << max(0, day - new_year + 1)) - 1
            while bits:
                latest = new_year + bits.bit_length() - 1
                if self.instant(latest) <= limit:
                    return latest
                bits ^= 1 << latest - new_year
        return self.first if self.instant(self.first) <= moment else self.first - 1

    def last_day_within(self, day: int) -> int:
        """The last day that UNTIL (as wall time) and COUNT allow, or `day` where that comes first."""
        day, count = min(day, self.last_day), self.rule.count
        if count is None or count > day - self.first:  # at most one a day
            return day
        left = count - 1
        for year in range(self.start.year, date.fromordinal(day).year + 1):
            new_year, bits = self.year(year)
            if left <= bits.bit_count():
                return min(day, new_year + _position(bits, left)) if left else self.first
            left -= bits.bit_count()
        return day

    def rank(self, day: int) -> int:
        """How many of its days are not after `day`, as if it had no end."""
        if day < self.first:
            return 0
        *before, (new_year, bits) = map(self.year, range(self.start.year, date.fromordinal(day).year + 1))
        bits &= (1 << day - new_year + 1) - 1
        return 1 + sum(earlier.bit_count() for _, earlier in before) + bits.bit_count()

    def year(self, year: int) -> tuple[int, int]:
        """The ordinal of 1 January, and as bits from there the days of that year after its first."""
        new_year = date(year, 1, 1).toordinal()
        bits = days_of(self.rule, self.start, year) & -1 << max(0, self.first - new_year + 1)
        for lost in self.lost:
            # A lost day's occurrence falls on the instant of the next day's: they are one.
            twin = lost + (lost == self.first) - new_year
            if 0 <= twin < 366 and (lost == self.first or self._names(lost + 1)):
                bits &= ~(1 << twin)
        return new_year, bits

    def _names(self, day: int) -> bool:
        year = date.fromordinal(day).year
        return bool(days_of(self.rule, self.start, year) >> day - date(year, 1, 1).toordinal() & 1)


def _position(bits: int, number: int) -> int:
    """Where the n-th lowest set bit stands."""
    for _ in range(number - 1):
        bits &= bits - 1
    return (bits & -bits).bit_length() - 1
