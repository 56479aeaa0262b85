"""Two other implementations, of two lineages, say the same on shared ground; docs/recurrence.md has the rest."""

import json
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from random import Random

import pytest
from dateutil.rrule import rrulestr

from tests.unit.random_rules import random_rule, random_start, times
from worker.errors import BadPattern
from worker.recurrence.series import instant, next_occurrence, occurrences, parse, timezone

HERE = Path(__file__).parent
UTC_ZONE = timezone("UTC")
CHANGING_ZONES = (
    "America/Caracas",
    "America/New_York",
    "America/Santiago",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Chatham",
)
# Differences with a reason, in docs/recurrence.md: which days are in weeks 52 and 53; whose a cut week is; whether
# BYSETPOS chooses before or after a time in a gap is dropped.
UNLIKE_DATEUTIL = "BYWEEKNO=[0-9,-]*5[23]|INTERVAL.*BYWEEKNO"
UNLIKE_TEMPORAL, UNLIKE_TEMPORAL_IN_GAPS = "(?!)", "BYSETPOS"


def random_series(seed: int, number: int, unlike: str) -> list[tuple[str, datetime]]:
    """Rules with their starts, but for those that match `unlike`; half of the starts lie on their rule's day."""
    random = Random(seed)
    series: list[tuple[str, datetime]] = []
    while len(series) < number:
        text, start = random_rule(random), random_start(random)
        with suppress(BadPattern):
            first = next_occurrence(parse(text), start, UTC_ZONE, start.replace(tzinfo=UTC))
            # Where there is no day, the others look for one until the year 9999.
            if first is not None and first.year < 2110 and not re.search(unlike, text):
                series.append((text, first.replace(tzinfo=None) if random.random() < 0.5 else start))
    return series


def ours(text: str, start: datetime, until: datetime, most: int) -> list[datetime]:
    moments = occurrences(parse(text), start, UTC_ZONE)
    walls = (moment.replace(tzinfo=None) for moment in moments)
    return list(islice(takewhile(lambda wall: wall <= until, walls), most))


def dateutil(text: str, start: datetime, until: datetime, most: int) -> list[datetime]:
    walls = takewhile(lambda wall: wall <= until, rrulestr(text, dtstart=start))
    return list(islice(walls, most))


def agrees_after(text: str, start: datetime) -> datetime:
    """dateutil cuts the first week at the start before BYSETPOS chooses from it; from the second on we agree."""
    return start + timedelta(days=7) if "WEEKLY" in text and "BYSETPOS" in text else start


def test_the_days_of_random_rules_are_those_of_dateutil():
    for text, start in random_series(1, times(600), UNLIKE_DATEUTIL):
        until, after = start + timedelta(days=5 * 366), agrees_after(text, start)
        theirs = [wall for wall in dateutil(text, start, until, 60) if wall > after]
        mine = [wall for wall in ours(text, start, until, 60) if wall > after]
        shorter = min(len(theirs), len(mine))
        assert theirs[:shorter] == mine[:shorter], (text, start)
        assert len(theirs) == len(mine) or shorter > 45, (text, start)


def test_a_jump_into_an_old_series_lands_where_dateutil_walks_to():
    random = Random(2)
    for text, start in random_series(3, times(250), UNLIKE_DATEUTIL):
        after = start + timedelta(days=random.randrange(8, 30 * 365), hours=random.randrange(24))
        mine = next_occurrence(parse(text), start, UTC_ZONE, after.replace(tzinfo=UTC))
        assert mine is not None
        assert mine.replace(tzinfo=None) == rrulestr(text, dtstart=start).after(after), (text, start, after)


def test_count_ends_a_series_where_dateutil_ends_it():
    random, tried = Random(4), 0
    for text, start in random_series(5, times(300), UNLIKE_DATEUTIL):
        counted, until = f"{text};COUNT={random.randint(1, 40)}", start + timedelta(days=8 * 366)
        theirs = dateutil(counted, start, until, 50)
        if theirs[:1] == [start] and agrees_after(text, start) == start:
            tried += 1
            assert ours(counted, start, until, 50) == theirs, (counted, start)
    assert tried > times(100)


def test_until_ends_a_series_where_dateutil_ends_it():
    random = Random(9)
    for text, start in random_series(10, times(200), UNLIKE_DATEUTIL):
        until = start + timedelta(days=random.randrange(900), seconds=random.choice((-1, 0, 1)))
        ended = f"{text};UNTIL={until:%Y%m%dT%H%M%S}"
        after = agrees_after(text, start)
        theirs = [wall for wall in rrulestr(ended, dtstart=start) if wall > after]
        assert [wall for wall in ours(ended, start, datetime.max, 9999) if wall > after] == theirs, ended


@pytest.mark.parametrize("number", [1, 2, 20, 51, 52, 53, -1, -2, -52, -53])
def test_the_days_of_a_week_number_are_those_of_the_iso_calendar(number):
    start, until = datetime(1969, 12, 31), datetime(2200, 12, 31)
    text = f"FREQ=YEARLY;BYWEEKNO={number};BYDAY=MO,TU,WE,TH,FR,SA,SU"
    days = map(date.fromordinal, range(start.toordinal() + 1, until.toordinal() + 1))
    expected = [day for day in days if number in week_numbers(day)]
    assert [wall.date() for wall in ours(text, start, until, 9999)[1:]] == expected


def week_numbers(day: date) -> tuple[int, int]:
    """The number of its ISO week, from the start and from the end of the year that has the week."""
    year, week, _ = day.isocalendar()
    weeks_in_year = date(year, 12, 28).isocalendar().week
    return week, week - weeks_in_year - 1


def node() -> str:
    beside_python = Path(sys.executable).with_name("node")
    found = str(beside_python) if beside_python.exists() else shutil.which("node")
    assert found, "Node is missing: install the dev dependencies"
    return found


def rrule_temporal(cases: list[tuple[str, datetime, str, int]]) -> list[list[datetime]]:
    """What rrule-temporal, written for ECMAScript's Temporal, makes of (zone, start, rule, number)."""
    questions = [(zone, f"{start:%Y%m%dT%H%M%S}", text, number) for zone, start, text, number in cases]
    answer = subprocess.run(
        [node(), HERE / "rrule_temporal.mjs"],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-500:]
    return [[datetime.fromisoformat(time) for time in times] for times in json.loads(answer.stdout)]


def without_gaps(text: str, start: datetime, zone: str, until: datetime) -> list[datetime]:
    """Our occurrences but for those that a gap moved: rrule-temporal drops them, as RFC 5545 §3.3.10 does."""
    there = timezone(zone)
    moments = takewhile(lambda moment: moment <= until, occurrences(parse(text), start, there))
    return [moment for moment in moments if moment.astimezone(there).time() == start.time()]


def assert_agreement(cases: list[tuple[str, datetime, str, int]], until: datetime) -> None:
    for (zone, start, text, _), theirs in zip(cases, rrule_temporal(cases), strict=True):
        known = [moment for moment in theirs if moment < until]
        mine = without_gaps(text, start, zone, known[-1] if known else until)
        assert known in (mine, mine[1:]), (zone, start, text)  # a start outside the rule is ours alone


def test_the_days_of_random_rules_are_those_of_rrule_temporal():
    series = random_series(6, times(200), UNLIKE_TEMPORAL)
    cases = [("UTC", start, text, 15) for text, start in series]
    cases += [("UTC", start, skipping(text), 15) for text, start in series if skipping(text)]
    assert len(cases) > len(series)
    assert_agreement(cases, datetime(2200, 1, 1, tzinfo=UTC))


def skipping(text: str) -> str:
    """The rule with SKIP (RFC 7529), or none; rrule-temporal loses moved days of BYMONTHDAY."""
    skip = "FORWARD" if len(text) % 2 else "BACKWARD"
    with suppress(BadPattern):
        parse(f"{text};SKIP={skip}")
        if "BYMONTHDAY" not in text:
            return f"RSCALE=GREGORIAN;{text};SKIP={skip}"
    return ""


def test_rrule_temporal_finds_the_same_instants_where_clocks_change():
    """In the past alone: Node brings time zone data of its own."""
    random, cases = Random(7), []
    for text, start in random_series(8, times(150), UNLIKE_TEMPORAL_IN_GAPS):
        zone, past = random.choice(CHANGING_ZONES), start.replace(year=1970 + start.year % 40, day=start.day % 28 + 1)
        if exists(past, zone):
            cases.append((zone, past, text, 20))
    assert_agreement(cases, datetime(2020, 1, 1, tzinfo=UTC))


def exists(wall: datetime, zone: str) -> bool:
    there = timezone(zone)
    return instant(wall, there).astimezone(there).replace(tzinfo=None) == wall
