"""Laws of every series, in every zone of the database, 1970 to 2100."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from random import Random
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.random_rules import ZONES, random_rule, random_start, times
from worker.errors import BadPattern
from worker.recurrence.preview import preview_lines
from worker.recurrence.series import LAST_MOMENT, Rule, instant, missed, next_occurrence, occurrences, parse, timezone

NAMED = ("daily", "weekly", "monthly", "yearly", "weekdays")
PERIODS = {
    "daily": relativedelta(days=1),
    "weekly": relativedelta(weeks=1),
    "monthly": relativedelta(months=1),
    "yearly": relativedelta(years=1),
}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

zones = st.sampled_from(ZONES).map(timezone)
randoms = st.integers(0, 2**32).map(Random)
starts = randoms.map(random_start)


def random_pattern(random: Random) -> str:
    """A pattern, sometimes with an end."""
    if random.random() < 0.4:
        return random.choice(NAMED)
    ends = ("", "", f";COUNT={random.randint(1, 30)}", f";UNTIL={random_start(random):%Y%m%d}")
    return random_rule(random) + random.choice(ends)


def is_accepted(pattern: str) -> bool:
    try:
        return bool(parse(pattern))
    except BadPattern:
        return False


patterns = randoms.map(random_pattern).filter(is_accepted)
rules = patterns.map(parse)


def laws(examples: int) -> settings:
    return settings(max_examples=times(examples))


def shift(wall: datetime, zone: ZoneInfo) -> timedelta:
    """By how much a gap moves a wall time; zero outside gaps."""
    moved = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None)
    return moved - wall


def transitions(zone: ZoneInfo, year: int) -> Iterator[datetime]:
    """The instants in a year at which the offset changes, found by halving weeks."""
    for week in range(52):
        early = datetime(year, 1, 1, tzinfo=UTC) + 7 * week * DAY
        late = early + 7 * DAY
        if offset(early, zone) == offset(late, zone):
            continue
        while late - early > timedelta(seconds=1):
            middle = early + (late - early) / 2
            early, late = (middle, late) if offset(middle, zone) == offset(early, zone) else (early, middle)
        yield late.replace(microsecond=0)


def offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


@laws(250)
@given(rules, starts, zones, st.integers(-2, 40_000), st.integers(0, 86_399))
def test_the_next_occurrence_is_strictly_later_and_asking_twice_gives_the_same(rule, start, zone, day, second):
    after = start.replace(tzinfo=UTC) + timedelta(days=day, seconds=second)
    found = next_occurrence(rule, start, zone, after)
    assert found is None or found > after
    assert found == next_occurrence(rule, start, zone, after)


@laws(150)
@given(rules, starts, zones)
def test_its_local_time_is_the_anchors_unless_a_gap_moved_it(rule, start, zone):
    for moment in islice(occurrences(rule, start, zone), 40):
        wall = moment.astimezone(zone).replace(tzinfo=None)
        nominal = [datetime.combine(wall.date() - back, start.time()) for back in (timedelta(0), DAY)]
        assert any(wall == day + shift(day, zone) for day in nominal)
        assert wall.time() == start.time() or any(shift(day, zone) for day in nominal)


@laws(300)
@given(zones, st.integers(1970, 2099), st.data())
def test_no_day_is_skipped_or_doubled_across_any_transition(zone, year, data):
    changes = list(transitions(zone, year))
    assume(changes)
    change = data.draw(st.sampled_from(changes))
    wall = change.astimezone(zone).replace(tzinfo=None) + data.draw(st.integers(-150, 150)) * timedelta(minutes=1)
    start = wall - data.draw(st.integers(3, 4000)) * DAY
    expected = sorted({instant(wall + n * DAY, zone) for n in range(-2, 4)})
    for earlier, later in pairwise(expected):
        assert next_occurrence(parse("daily"), start, zone, earlier) == later


@laws(60)
@given(zones, st.integers(1970, 2099), st.integers(0, 24 * 60 - 1))
def test_a_daily_series_has_every_date_of_a_year_once(zone, year, minute):
    start = datetime(year, 1, 1) + timedelta(minutes=minute)
    moments = takewhile(lambda m: m.astimezone(zone).year == year, occurrences(parse("daily"), start, zone))
    walls = [moment.astimezone(zone).replace(tzinfo=None) for moment in moments]
    # What a gap moves past midnight (Scoresbysund, 29 March 2025, 23:00) is of the day before.
    dates = [(wall - (wall - start) % DAY).date() for wall in walls]
    lost = {start.date() + n * DAY for n in range(365)} - set(dates)
    assert len(dates) == len(set(dates))
    assert all(shift(datetime.combine(day, time(12)), zone) for day in lost)


@laws(120)
@given(patterns, starts, zones, st.booleans())
def test_the_preview_agrees_with_stepping_one_by_one(pattern, start, zone, ends):
    rule, end = parse(pattern), start.replace(tzinfo=UTC) + 90 * DAY if ends else None
    moments, moment = [], instant(start, zone)
    while moment and len(moments) < 15:
        moments.append(moment.astimezone(zone).isoformat(timespec="seconds"))
        moment = next_occurrence(rule, start, zone, moment, end or LAST_MOMENT)
    assert preview_lines(start.isoformat(), pattern, zone.key, 15, end and end.isoformat()) == moments


@laws(150)
@given(rules, starts, zones, st.integers(0, 900), st.integers(0, 900), st.booleans())
def test_what_was_missed_is_what_stepping_would_have_sent(rule, start, zone, first, length, ends):
    after = start.replace(tzinfo=UTC) + timedelta(days=first, hours=length % 24)
    until, end = after + length * DAY, after + length * DAY / 2 if ends else None
    stepped, moment = [], next_occurrence(rule, start, zone, after, end)
    while moment and moment <= until:
        stepped.append(moment)
        moment = next_occurrence(rule, start, zone, moment, end)
    assert missed(rule, start, zone, after, until, end) == (stepped[-1] if stepped else None, len(stepped))


@laws(120)
@given(rules, starts, zones, randoms)
def test_a_daemon_that_is_down_for_random_days_sends_each_occurrence_once_or_counts_it(
    rule, start, zone, random: Random
):
    """Three in turn, none of which remembers anything but the row: the occurrence that is next."""
    now = instant(start, zone)
    until = now + 400 * DAY
    due, sent, passed = now, [], 0
    while due and now < until:
        now += random.choice((HOUR, DAY, 3 * DAY, 40 * DAY))
        if now < due:
            continue
        latest, number = missed(rule, start, zone, due, now)
        sent.append(latest or due)
        passed += number
        due = next_occurrence(rule, start, zone, now)
    everything = list(takewhile(lambda moment: moment <= now, occurrences(rule, start, zone)))
    assert len(sent) + passed == len(everything)
    assert set(sent) <= set(everything)
    assert all(earlier < later for earlier, later in pairwise(sent))


@laws(150)
@given(st.sampled_from(sorted(PERIODS)), starts, zones, st.integers(0, 60))
def test_the_nth_occurrence_is_the_anchor_and_n_periods(pattern, start, zone, number):
    """By the arithmetic of another library, which clamps month ends backward too."""
    period, rule = PERIODS[pattern], parse(pattern)
    expected = sorted({instant(start + n * period, zone) for n in range(number + 2)})
    assert list(islice(occurrences(rule, start, zone), len(expected))) == expected
    assert next_occurrence(rule, start, zone, expected[-2]) == expected[-1]


@laws(100)
@given(rules, starts, zones, st.integers(1, 40))
def test_count_is_the_number_of_occurrences(rule, start, zone, count):
    assume(rule.count is None and rule.until is None)
    endless = list(islice(occurrences(rule, start, zone), count))
    counted = Rule(**{name: getattr(rule, name) for name in rule.__slots__} | {"count": count})
    assert list(occurrences(counted, start, zone)) == endless
