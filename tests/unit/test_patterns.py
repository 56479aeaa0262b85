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
