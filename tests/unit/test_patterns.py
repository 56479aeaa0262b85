"""From the text of a pattern to a rule, or to a sentence for its author."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadPattern
from worker.recurrence.patterns import parse


@pytest.mark.parametrize("text", ["weekdays", "Weekdays", "  WEEKDAYS\n"])
def test_case_and_blanks_around_make_no_difference(text):
    assert (parse(text).freq, parse(text).byday) == ("WEEKLY", ((0, 0), (1, 0), (2, 0), (3, 0), (4, 0)))


@pytest.mark.parametrize("text", ["freq=monthly;byday=1mo", "RRULE:FREQ=MONTHLY;BYDAY=+1MO", "BYDAY=1MO;FREQ=MONTHLY"])
def test_a_rule_may_have_its_prefix_any_case_and_any_order(text):
    rule = parse(text)
    assert (rule.freq, rule.byday, rule.interval) == ("MONTHLY", ((0, 1),), 1)


def test_every_part_reaches_the_rule():
    rule = parse("FREQ=YEARLY;INTERVAL=2;COUNT=9;BYMONTH=1,12;BYMONTHDAY=-1,31;BYDAY=MO,-2FR;BYSETPOS=-1;WKST=SU")
    assert (rule.freq, rule.interval, rule.count, rule.wkst) == ("YEARLY", 2, 9, 6)
    assert (rule.bymonth, rule.bymonthday, rule.bysetpos) == ((1, 12), (-1, 31), (-1,))
    assert rule.byday == ((0, 0), (4, -2))
    assert parse("FREQ=YEARLY;BYYEARDAY=1,-366").byyearday == (1, -366)
    assert parse("FREQ=YEARLY;BYWEEKNO=20").byweekno == (20,)
    assert parse("RSCALE=GREGORIAN;FREQ=MONTHLY;SKIP=FORWARD").skip == "FORWARD"


@pytest.mark.parametrize(
    ("text", "until"),
    [
        ("20261231T170000Z", datetime(2026, 12, 31, 17, tzinfo=UTC)),
        ("20261231T170000", datetime(2026, 12, 31, 17)),
        ("20261231", datetime(2026, 12, 31, 23, 59, 59, 999999)),
    ],
)
def test_until_is_an_instant_a_wall_time_or_a_whole_day(text, until):
    assert parse(f"FREQ=DAILY;UNTIL={text}").until == until


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "use daily, weekly, monthly"),
        ("every blue moon", "every blue moon"),
        ("da\u0131ly", "letters outside A to Z"),
        ("RRULE:daily", "RRULE:daily"),
        ("FREQ=HOURLY", "FREQ=HOURLY: must be one of DAILY"),
        ("FREQ=", "FREQ=: must be one of"),
        ("INTERVAL=2", "has no FREQ"),
        ("FREQ=DAILY;;BYDAY=MO", "'' in the recurrence pattern"),
        ("FREQ=DAILY;BYHOUR=9", "'BYHOUR'.*time of day is that of the first"),
        ("FREQ=DAILY;COLOUR=RED", "'COLOUR' is no part"),
        ("DTSTART:20260101\nRRULE:FREQ=DAILY", "only the RRULE itself"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ stands twice"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL=0: must be a whole number"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL=-1: must be"),
        ("FREQ=DAILY;INTERVAL=1_0", "INTERVAL=1_0: must be"),
        ("FREQ=DAILY;COUNT=9999999999", "COUNT=9999999999: must be"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20260101", "COUNT and UNTIL"),
        ("FREQ=DAILY;UNTIL=20260230", "UNTIL=20260230: must be a date"),
        ("FREQ=DAILY;UNTIL=2026-01-01", "UNTIL=2026-01-01: must be a date"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY=32: 32 is not between 1 and 31"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY=0: 0 is not between"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,,2", "BYMONTHDAY=1,,2: '' is not a number"),
        ("FREQ=YEARLY;BYMONTH=-1", "BYMONTH=-1: '-1' is not a positive number"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH=13: 13 is not between 1 and 12"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX: 'XX' is not one of MO"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY=0MO: 0 is not between"),
        ("FREQ=WEEKLY;WKST=1MO", "WKST=1MO"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY with a number"),
        ("FREQ=YEARLY;BYWEEKNO=2;BYDAY=1MO", "BYDAY with a number"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYYEARDAY=1", "BYYEARDAY goes with FREQ=YEARLY"),
        ("FREQ=MONTHLY;BYWEEKNO=1", "BYWEEKNO goes with FREQ=YEARLY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS needs another"),
        ("FREQ=WEEKLY;BYDAY=MO;BYSETPOS=8", "BYSETPOS counts further"),
        ("FREQ=WEEKLY;BYDAY=MO;SKIP=BACKWARD", "SKIP goes with days of the month"),
        ("FREQ=MONTHLY;BYDAY=MO;SKIP=FORWARD", "SKIP goes with days of the month"),
        ("FREQ=MONTHLY;BYMONTHDAY=-30;SKIP=FORWARD", "SKIP goes with days of the month"),
        ("RSCALE=HEBREW;FREQ=MONTHLY", "RSCALE=HEBREW: must be one of GREGORIAN"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "BYMONTH=2 with BYMONTHDAY=30: no year has such a day"),
        ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY=6MO: no year has such a day"),
        ("FREQ=DAILY" + ";BYMONTH=1" * 200, "longer than 1024"),
        ("FREQ=MONTHLY;BYMONTHDAY=" + "9" * 900, "BYMONTHDAY=9{20,}…: '9{20,}…' is not a number"),
    ],
)
def test_a_refusal_names_the_part_that_is_wrong(text, names):
    with pytest.raises(BadPattern, match=names) as refusal:
        parse(text)
    assert len(str(refusal.value)) < 250
    assert "\n" not in str(refusal.value)


PIECES = ["FREQ=DAILY", "FREQ=YEARLY", ";", "BYDAY=", "MO", ",", "-1", "53", "INTERVAL=", "BYSETPOS=", "SKIP=FORWARD"]


@given(st.text(max_size=40) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_a_rule_or_a_refusal_in_one_line(text):
    with suppress(BadPattern):
        assert parse(text).interval >= 1
        return
    with pytest.raises(BadPattern, match=r"^[^\n]+$"):
        parse(text)


ENDS = [";", "; ", " ;", ";\n", ";;", "; ;", ";\t;\n;"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("pattern", ["FREQ=DAILY;INTERVAL=2", "RRULE:FREQ=MONTHLY;BYDAY=1MO", "daily", "weekdays"])
def test_a_semicolon_at_the_end_does_no_harm(pattern: str, end: str) -> None:
    assert parse(pattern + end) is parse(pattern)


KNOWN = "is no part of a recurrence pattern that we know"
USE = "use daily, weekly, monthly, yearly, weekdays or an RRULE such as FREQ=MONTHLY;BYDAY=1MO"
WHOLE = "must be a whole number from 1 to 999999999"
UNTIL = "must be a date such as 20261231 or a time such as 20261231T170000Z"
SKIP = "SKIP goes with days of the month alone: FREQ=MONTHLY or YEARLY, BYMONTH, BYMONTHDAY from -28"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", f"unknown recurrence pattern '': {USE}"),
        ("x" * 40, f"unknown recurrence pattern '{'x' * 40}': {USE}"),
        ("x" * 41, f"unknown recurrence pattern '{'x' * 39}…': {USE}"),
        ("FREQ=DAILY" + ";BYMONTH=1" * 200, "the recurrence pattern is longer than 1024 characters"),
        ("INTERVAL=2", "the recurrence pattern has no FREQ"),
        ("FREQ=DAILY;X", "'X' in the recurrence pattern is not of the form NAME=VALUE"),
        ("FREQ=DAILY;COLOUR=RED", f"'COLOUR' {KNOWN}"),
        ("FREQ=DAILY;BYHOUR=9", f"'BYHOUR' {KNOWN}: the time of day is that of the first message"),
        ("FREQ=DAILY;BYMINUTE=9", f"'BYMINUTE' {KNOWN}: the time of day is that of the first message"),
        ("FREQ=DAILY;BYSECOND=9", f"'BYSECOND' {KNOWN}: the time of day is that of the first message"),
        ("EXDATE:X=1", f"'EXDATE:X' {KNOWN}: only the RRULE itself belongs here"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ stands twice in the recurrence pattern"),
        ("FREQ=HOURLY", "FREQ=HOURLY: must be one of DAILY, WEEKLY, MONTHLY, YEARLY"),
        ("FREQ=DAILY=X", "FREQ=DAILY=X: must be one of DAILY, WEEKLY, MONTHLY, YEARLY"),
        ("FREQ=MONTHLY;SKIP=NEVER", "SKIP=NEVER: must be one of OMIT, BACKWARD, FORWARD"),
        ("FREQ=YEARLY;BYMONTH=100", "BYMONTH=100: '100' is not a positive number"),
        ("FREQ=DAILY;INTERVAL=0", f"INTERVAL=0: {WHOLE}"),
        ("FREQ=DAILY;COUNT=1000000000", f"COUNT=1000000000: {WHOLE}"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,,2", "BYMONTHDAY=1,,2: '' is not a number"),
        ("FREQ=YEARLY;BYMONTH=-1", "BYMONTH=-1: '-1' is not a positive number"),
        ("FREQ=YEARLY;BYMONTH=13", "BYMONTH=13: 13 is not between 1 and 12"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY=32: 32 is not between 1 and 31, or negative"),
        ("FREQ=MONTHLY;BYMONTHDAY=-32", "BYMONTHDAY=-32: -32 is not between 1 and 31, or negative"),
        ("FREQ=YEARLY;BYDAY=54MO", "BYDAY=54MO: 54 is not between 1 and 53, or negative"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY=XX: 'XX' is not one of MO, TU, WE, TH, FR, SA, SU"),
        ("FREQ=DAILY;UNTIL=20260230", f"UNTIL=20260230: {UNTIL}"),
        ("FREQ=DAILY;UNTIL=20260101T9", f"UNTIL=20260101T9: {UNTIL}"),
        ("FREQ=DAILY;SKIP=BACKWARD", SKIP),
        ("FREQ=WEEKLY;SKIP=BACKWARD", SKIP),
        ("FREQ=YEARLY;BYWEEKNO=2;SKIP=BACKWARD", SKIP),
        ("FREQ=YEARLY;BYYEARDAY=2;SKIP=FORWARD", SKIP),
        ("FREQ=MONTHLY;BYMONTHDAY=1,2;BYSETPOS=1;SKIP=FORWARD", SKIP),
        ("FREQ=MONTHLY;BYMONTHDAY=-29;SKIP=FORWARD", SKIP),
    ],
)
def test_a_refusal_says_in_whole_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(BadPattern) as refused:
        parse(text)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("text", "part", "value"),
    [
        ("FREQ=DAILY;BYMONTH=1" + ",1" * 502, "bymonth", (1,)),  # 1024 characters
        ("FREQ=DAILY;INTERVAL=1;COUNT=999999999", "count", 999_999_999),
        ("FREQ=DAILY;INTERVAL=10", "interval", 10),
        ("FREQ=YEARLY;BYDAY=53MO,-53TU", "byday", ((0, 53), (1, -53))),
        ("FREQ=MONTHLY;BYMONTHDAY=31,-31,1", "bymonthday", (31, -31, 1)),
        ("FREQ=MONTHLY;BYMONTHDAY=-28;SKIP=FORWARD", "skip", "FORWARD"),
        ("FREQ=MONTHLY;SKIP=BACKWARD", "skip", "BACKWARD"),
        ("FREQ=DAILY;SKIP=OMIT", "skip", "OMIT"),
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYSETPOS=7,-7", "bysetpos", (7, -7)),
    ],
)
def test_the_furthest_that_a_part_may_go(text: str, part: str, value: object) -> None:
    assert getattr(parse(text), part) == value
