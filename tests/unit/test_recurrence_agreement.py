"""Two other implementations, of two lineages, say the same on shared ground; docs/recurrence.md has the rest."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from random import Random

import pytest
from dateutil.rrule import rrulestr

from tests.unit.random_rules import random_rule, random_start, times
from worker.errors import BadPattern
from worker.recurrence import instant, next_occurrence, occurrences, parse, timezone

HERE = Path(__file__).parent
UTC_ZONE = timezone("UTC")
CHANGING_ZONES = (
    "Africa/Casablanca",
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


def random_series(seed: int, number: int) -> list[tuple[str, datetime]]:
    """Rules with their starts; half of the starts are moved onto the rule's first day, so that COUNT agrees."""
    random = Random(seed)
    series = []
    while len(series) < number:
        text, start = random_rule(random), random_start(random)
        try:
            first = next_occurrence(parse(text), start, UTC_ZONE, start.replace(tzinfo=UTC))
        except BadPattern:
            continue
        if first is not None and first.year < 2110:  # the others walk to the year 9999 looking for a day
            series.append((text, first.replace(tzinfo=None) if random.random() < 0.5 else start))
    return series


def ours(text: str, start: datetime, until: datetime, most: int) -> list[datetime]:
    moments = occurrences(parse(text), start, UTC_ZONE)
    walls = (moment.replace(tzinfo=None) for moment in moments)
    return list(islice(takewhile(lambda wall: wall <= until, walls), most))


def dateutil(text: str, start: datetime, until: datetime, most: int) -> list[datetime]:
    return list(islice(rrulestr(text, dtstart=start).replace(until=until), most))


def compared_from(text: str, start: datetime) -> datetime:
    """dateutil cuts the first week at the start before BYSETPOS chooses from it; from the second on we agree."""
    return start + timedelta(days=7) if "WEEKLY" in text and "BYSETPOS" in text else start


def test_the_days_of_random_rules_are_those_of_dateutil():
    for text, start in random_series(seed=1, number=times(600)):
        until, since = start + timedelta(days=5 * 366), compared_from(text, start)
        theirs = [wall for wall in dateutil(text, start, until, 60) if wall > since]
        mine = [wall for wall in ours(text, start, until, 62) if wall > since]
        assert mine[: len(theirs)] == theirs, (text, start)
        assert len(mine) - len(theirs) in (0, 1, 2) if len(theirs) > 50 else len(mine) == len(theirs), (text, start)


def test_a_jump_into_an_old_series_lands_where_dateutil_walks_to():
    random = Random(2)
    for text, start in random_series(seed=3, number=times(250)):
        after = start + timedelta(days=random.randrange(8, 30 * 365), hours=random.randrange(24))
        until = after + timedelta(days=3 * 366)
        theirs = rrulestr(text, dtstart=start).replace(until=until).after(after)
        mine = next_occurrence(parse(text), start, UTC_ZONE, after.replace(tzinfo=UTC))
        wall = mine.replace(tzinfo=None) if mine else None
        assert wall == theirs or (theirs is None and wall and wall > until), (text, start, after)


def test_count_ends_a_series_where_dateutil_ends_it():
    random, tried = Random(4), 0
    for text, start in random_series(seed=5, number=times(200)):
        counted = f"{text};COUNT={random.randint(1, 40)}"
        until = start + timedelta(days=8 * 366)
        theirs = dateutil(counted, start, until, 50)
        if theirs[:1] == [start] and compared_from(text, start) == start:
            tried += 1
            assert ours(counted, start, until, 50) == theirs, (counted, start)
    assert tried > times(60)


def node() -> str:
    beside_python = Path(sys.executable).with_name("node")
    found = str(beside_python) if beside_python.exists() else shutil.which("node")
    assert found, "Node is missing: install the dev dependencies"
    return found


def rrule_temporal(cases: list[tuple[str, datetime, str, int]]) -> list[list[datetime]]:
    """What rrule-temporal, written for ECMAScript's Temporal, makes of (zone, start, rule, number)."""
    questions = [(zone, start.strftime("%Y%m%dT%H%M%S"), text, number) for zone, start, text, number in cases]
    answer = subprocess.run(
        [node(), HERE / "rrule_temporal.mjs"],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    return [[datetime.fromisoformat(time) for time in times] for times in json.loads(answer.stdout)]


def without_gaps(text: str, start: datetime, zone: str, most: int) -> list[datetime]:
    """Our occurrences but for those that a gap moved: rrule-temporal drops them, as RFC 5545 §3.3.10 does."""
    there = timezone(zone)
    moments = islice(occurrences(parse(text), start, there), most)
    return [moment for moment in moments if moment.astimezone(there).time() == start.time()]


def agree(cases: list[tuple[str, datetime, str, int]], until: datetime) -> None:
    """Node brings time zone data of its own: `until` keeps to what both know."""
    for (zone, start, text, number), theirs in zip(cases, rrule_temporal(cases), strict=True):
        mine = without_gaps(text, start, zone, number + 8)
        mine = mine[1:] if theirs[0] != mine[0] else mine  # a start outside the rule
        known = [moment for moment in theirs if moment < until]
        assert mine[: len(known)] == known, (zone, start, text)


def test_the_days_of_random_rules_are_those_of_rrule_temporal():
    series = random_series(seed=6, number=times(200))
    agree([("UTC", start, text, 15) for text, start in series], datetime(2200, 1, 1, tzinfo=UTC))


def test_rrule_temporal_finds_the_same_instants_where_clocks_change():
    random, cases = Random(7), []
    for text, start in random_series(seed=8, number=times(150)):
        zone, past = random.choice(CHANGING_ZONES), start.replace(year=1970 + start.year % 40, day=min(start.day, 28))
        if exists(past, zone):
            cases.append((zone, past, text, 20))
    agree(cases, datetime(2020, 1, 1, tzinfo=UTC))


def exists(wall: datetime, zone: str) -> bool:
    there = timezone(zone)
    return instant(wall, there).astimezone(there).replace(tzinfo=None) == wall
