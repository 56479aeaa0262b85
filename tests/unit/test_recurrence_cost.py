"""What a rule costs, counted in years that are worked out: nobody's rule may take long, whatever it says."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random

import pytest

from tests.helpers.nouns import due
from tests.unit.random_rules import random_rule, random_start, times
from worker import config
from worker.errors import BadPattern
from worker.jobs import Due, Known
from worker.planning.plan import next_step
from worker.recurrence import rules
from worker.recurrence import series as recurrence
from worker.recurrence.preview import preview_lines
from worker.recurrence.series import LAST_MOMENT, missed, next_occurrence, occurrences, parse, timezone

ZONE, UTC_ZONE = timezone("Asia/Kolkata"), timezone("UTC")
NOW = datetime(2026, 11, 26, tzinfo=UTC)
MOST = 700  # years of a whole plan; a call walked 1.9 million of the first rule below

DEAR = [
    "FREQ=YEARLY;INTERVAL=7;COUNT=2000",
    "FREQ=MONTHLY;INTERVAL=84;BYDAY=1MO;COUNT=1001",
    "FREQ=YEARLY;INTERVAL=200",
    "FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29",
    "FREQ=MONTHLY;INTERVAL=12;BYMONTH=2",
    "FREQ=MONTHLY;INTERVAL=5;BYMONTHDAY=31;BYMONTH=12;COUNT=500",
    "FREQ=WEEKLY;INTERVAL=53;COUNT=900",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=1,-1;COUNT=90000",
    "FREQ=DAILY;INTERVAL=366;COUNT=900",
    "FREQ=DAILY;INTERVAL=7;BYMONTHDAY=29;BYMONTH=2;BYDAY=MO",
    "FREQ=DAILY;COUNT=60000",
    "FREQ=YEARLY;BYWEEKNO=53;BYYEARDAY=366;BYDAY=FR",
]


SETTINGS = config.load({"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "x"}, None)


@pytest.fixture
def years(monkeypatch):
    """The years that were worked out since the test began."""
    worked_out: list[int] = []

    def counting(rule, start, year):
        worked_out.append(year)
        return rules.days_of(rule, start, year)

    monkeypatch.setattr(recurrence, "days_of", counting)
    return worked_out


def row(pattern: str, anchor: datetime, occurrence: datetime) -> Due:
    return due(
        timezone="Asia/Kolkata", recurrence_pattern=pattern, scheduled_at=occurrence, occurrence_at=occurrence,
        series_anchor=anchor,
    )  # fmt: skip


@pytest.mark.parametrize("anchor", [datetime(1900, 1, 30, 9), datetime(2000, 2, 29, 9), datetime(2026, 1, 1)])
@pytest.mark.parametrize("pattern", DEAR)
def test_a_plan_works_out_some_hundred_years_at_most(pattern, anchor, years):
    start = recurrence.instant(anchor, ZONE)
    next_step(row(pattern, anchor, start), Known(), SETTINGS, NOW)
    next_step(row(pattern, anchor, start), Known(), SETTINGS, datetime(2199, 12, 1, tzinfo=UTC))
    assert len(years) <= 2 * MOST


@pytest.mark.parametrize("pattern", DEAR)
def test_a_preview_works_out_each_year_once(pattern, years):
    preview_lines("2000-02-29T09:00", pattern, "UTC", 1000)
    assert len(years) == len(set(years)) <= 201  # the last one reaches into 2200 on the wall


def test_no_random_rule_is_dearer(years):
    random = Random(17)
    for _ in range(times(300)):
        freq = random.choice(("DAILY", "WEEKLY", "MONTHLY", "YEARLY"))
        text = random_rule(random, freq=freq).replace("INTERVAL=", f"INTERVAL={random.choice(('', '1', '40'))}")
        text += random.choice(("", f";COUNT={random.choice((2, 99, 2000, 10**6))}"))
        try:
            parse(text)
        except BadPattern:
            continue
        anchor = random_start(random)
        years.clear()
        next_step(row(text, anchor, recurrence.instant(anchor, ZONE)), Known(), SETTINGS, NOW)
        assert len(years) <= MOST, (text, anchor)


def test_interval_leaves_out_no_year_that_has_a_day():
    """A year that is passed over names no day, whatever the frequency, and the others are found in order."""
    random = Random(18)
    for _ in range(times(400)):
        text = random_rule(random)
        text = text.replace("INTERVAL=", f"INTERVAL={random.choice(('', '1', '3', '36'))}")
        try:
            rule = parse(text)
        except BadPattern:
            continue
        start = random_start(random).date()
        rule = rules.starting_on(rule, start)
        with_days = {y for y in range(start.year, start.year + 150) if rules.days_of(rule, start, y)}
        kept, year = [], rules.kept_year(rule, start, start.year)
        while year < start.year + 150:
            kept.append(year)
            year = rules.kept_year(rule, start, year + 1)
        assert kept == sorted(set(kept)), text
        assert with_days <= set(kept), (text, start)


EVERY_DAY = "BYDAY=MO,TU,WE,TH,FR,SA,SU"


@pytest.mark.parametrize(
    ("pattern", "beside"),
    [
        ("FREQ=YEARLY;INTERVAL=2", (0,)),
        ("FREQ=YEARLY;INTERVAL=7", (0,)),
        (f"FREQ=YEARLY;INTERVAL=7;BYWEEKNO=1,20,-1;{EVERY_DAY}", (-1, 0, 1)),  # New Year cuts its weeks
        ("FREQ=MONTHLY;INTERVAL=30;BYMONTHDAY=5", (0,)),
        (f"FREQ=WEEKLY;INTERVAL=120;{EVERY_DAY}", (0,)),
        (f"FREQ=WEEKLY;INTERVAL=120;{EVERY_DAY};WKST=WE", (0,)),
        ("FREQ=DAILY;INTERVAL=1000", (0,)),
    ],
)
def test_a_year_that_interval_leaves_out_is_not_worked_out(pattern, beside, years):
    """From whichever day of a leap year and of the one after it the series starts: each year once, those with days."""
    for day in range(0, 731, 5):
        start = datetime(2024, 1, 1, 9) + timedelta(days=day)
        years.clear()
        moments = occurrences(parse(pattern), start, UTC_ZONE, datetime(2060, 1, 1, tzinfo=UTC))
        kept = {moment.year + year for moment in moments for year in beside}
        assert years == sorted(set(years)), start
        assert {year for year in years if start.year < year < 2060} <= kept, start


@pytest.mark.parametrize(
    ("pattern", "start", "number", "last"),
    [
        ("FREQ=YEARLY;INTERVAL=7;COUNT=20", datetime(2026, 1, 1, 9), 20, "2159-01-01"),
        ("FREQ=YEARLY;INTERVAL=7;COUNT=2000", datetime(2026, 1, 1, 9), 25, "2194-01-01"),
        ("FREQ=MONTHLY;INTERVAL=84;BYDAY=1MO;COUNT=1001", datetime(2026, 1, 5, 9), 25, "2194-01-06"),
        ("FREQ=YEARLY;INTERVAL=200", datetime(2026, 1, 1, 9), 1, "2026-01-01"),
        ("FREQ=WEEKLY;INTERVAL=520;COUNT=4", datetime(2026, 1, 1, 9), 4, "2055-11-25"),
        ("FREQ=DAILY;INTERVAL=36524;COUNT=9", datetime(2026, 1, 1, 9), 2, "2126-01-01"),
    ],
)
def test_a_series_of_messages_ends_with_the_years_of_the_table(pattern, start, number, last):
    found = [moment.date().isoformat() for moment in occurrences(parse(pattern), start, timezone("UTC"), LAST_MOMENT)]
    assert (len(found), found[-1]) == (number, last)


def test_count_ends_a_series_with_long_gaps_on_the_same_day_whoever_asks():
    rule, anchor = parse("FREQ=MONTHLY;INTERVAL=30;BYMONTHDAY=31;COUNT=11"), datetime(2000, 1, 31, 9)
    walked = list(islice(occurrences(rule, anchor, ZONE), 50))
    assert len(walked) == 11
    latest, number = missed(rule, anchor, ZONE, walked[0], datetime(2190, 1, 1, tzinfo=UTC))
    assert (latest, number) == (walked[-1], 10)
    assert next_occurrence(rule, anchor, ZONE, walked[-2]) == walked[-1]
    assert next_occurrence(rule, anchor, ZONE, walked[-1]) is None


@pytest.mark.parametrize("pattern", ["FREQ=YEARLY;INTERVAL=200", "FREQ=DAILY;INTERVAL=99999"])
def test_what_lies_beyond_the_table_is_no_next_occurrence(pattern):
    anchor = datetime(2026, 1, 1, 9)
    step = next_step(row(pattern, anchor, recurrence.instant(anchor, ZONE)), Known(), SETTINGS, NOW)
    assert step.next_at is None
    assert preview_lines("2026-01-01T09:00", pattern, "UTC", 5) == ["2026-01-01T09:00:00+00:00"]
