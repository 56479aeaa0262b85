"""When a series recurs: pure functions of its rule, its anchor, its zone and a time.

A series is its first local date and time, the anchor, and a rule. Its occurrences are the anchor, whether the
rule names that day or not, and after it every day that the rule names, at the anchor's time on the wall. The
n-th is always computed from the anchor, never from the one before. The reasons are in docs/recurrence.md.
"""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from worker.recurrence.patterns import parse
from worker.recurrence.rules import Rule, days_of, kept_year, starting_on
from worker.recurrence.times import instant, local_anchor, lost_days, timezone

__all__ = [
    "LAST_MOMENT",
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
# The table takes no time from the year 2200 on (scheduled_messages_sane_times), so a message's series ends before it.
LAST_MOMENT = datetime(2200, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)


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
    """The days of one series, as ordinals. Its first day is always one of them.

    No year is worked out twice, nor one that INTERVAL leaves out or that lies beyond the end: what a call costs
    is the years between its times, a few hundred at most (docs/recurrence.md).
    """

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
        self.last_year = date.fromordinal(max(self.last_day, 1)).year
        if self.last_moment is not None:  # the wall is less than a year from UTC
            self.last_year = min(self.last_year, self.last_moment.year + 1)
        self._worked_out: dict[int, tuple[int, int]] = {}
        self._counted = [
            self.start.year - 1
        ]  # years, in order, and how many of its days there are up to the end of each
        self._totals = [1]

    def instant(self, day: int) -> datetime:
        return instant(datetime.combine(date.fromordinal(day), self.time), self.zone)

    def reaches(self, day: int, moment: datetime) -> bool:
        """Whether the series has not ended before `moment`, its occurrence on `day`."""
        if day == self.first:
            return True
        return (self.last_moment is None or moment <= self.last_moment) and day <= self.last_day_within(day)

    def days_from(self, day: int) -> Iterator[int]:
        """Its days that are not before `day`, in order; at most a year of them lies beyond its end."""
        if day <= self.first:
            yield self.first
            day = self.first + 1
        if day > _LAST_DAY:
            return
        patience = date.fromordinal(day).year + _PATIENCE_YEARS
        for year in self.years(date.fromordinal(day).year, self.last_year):
            if year > patience:
                return
            new_year, bits = self.year(year)
            bits &= -1 << max(0, day - new_year)
            if bits:
                patience = year + _PATIENCE_YEARS
            while bits:
                yield new_year + (bits & -bits).bit_length() - 1
                bits &= bits - 1

    def years(self, first: int, last: int) -> Iterator[int]:
        """The years from `first` to `last` that may hold days of it."""
        year = kept_year(self.rule, self.start, first)
        while year <= min(last, _LAST_YEAR):
            yield year
            year = kept_year(self.rule, self.start, year + 1)

    def last_day_by(self, moment: datetime) -> int:
        """Its last day with an occurrence not later than `moment`; a day before its first if it has none."""
        limit = moment if self.last_moment is None else min(moment, self.last_moment)
        day = self.last_day_within(local_anchor(limit, self.zone).toordinal() + 1)
        for year in reversed([*self.years(self.start.year, date.fromordinal(max(day, 1)).year)]):
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
        if count == 1:
            return self.first
        self._count_to(date.fromordinal(day).year, count)
        place = bisect_left(self._totals, count)
        if place == len(self._totals):
            return day
        new_year, bits = self.year(self._counted[place])
        return min(day, new_year + _position(bits, count - self._totals[place - 1]))

    def rank(self, day: int) -> int:
        """How many of its days are not after `day`, as if it had no end."""
        if day < self.first:
            return 0
        year = date.fromordinal(day).year
        self._count_to(year - 1)
        new_year, bits = self.year(year)
        bits &= (1 << day - new_year + 1) - 1
        return self._totals[bisect_left(self._counted, year) - 1] + bits.bit_count()

    def _count_to(self, year: int, enough: int | None = None) -> None:
        """Counts its days up to the end of `year`, or until there are enough."""
        for uncounted in self.years(self._counted[-1] + 1, year):
            if enough is not None and self._totals[-1] >= enough:
                return
            self._counted.append(uncounted)
            self._totals.append(self._totals[-1] + self.year(uncounted)[1].bit_count())

    def year(self, year: int) -> tuple[int, int]:
        """The ordinal of 1 January, and as bits from there the days of that year after its first."""
        if year not in self._worked_out:
            self._worked_out[year] = self._work_out(year)
        return self._worked_out[year]

    def _work_out(self, year: int) -> tuple[int, int]:
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
