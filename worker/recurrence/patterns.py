"""From the text in `recurrence_pattern` to a rule, or to a sentence that tells its author what is wrong."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache, partial

from worker.errors import BadPattern
from worker.recurrence.rules import Rule, has_no_day

# Five abbreviations; month ends clamp backward in those of the dialog (RFC 7529 §4.1).
NAMED = {
    "DAILY": "FREQ=DAILY",
    "WEEKLY": "FREQ=WEEKLY",
    "MONTHLY": "FREQ=MONTHLY;SKIP=BACKWARD",
    "YEARLY": "FREQ=YEARLY;SKIP=BACKWARD",
    "WEEKDAYS": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
}
_LONGEST = 1024  # as in the table
_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_LONGEST_SET = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 31, "YEARLY": 366}


def parse(pattern: str) -> Rule:
    """The rule of `daily`, `weekly`, `monthly`, `yearly`, `weekdays` or an RFC 5545 RRULE value, in any case.

    Semicolons at its end do no harm, as in the table. Raises BadPattern, whose text names the part that is wrong.
    """
    text = pattern.strip().rstrip("; \t\r\n\v\f")
    if len(text) > _LONGEST:
        raise BadPattern(f"the recurrence pattern is longer than {_LONGEST} characters")
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Rule:
    if not text.isascii():
        raise BadPattern(f"unknown recurrence pattern {_shown(text)}: it has letters outside A to Z")
    value = text.upper().removeprefix("RRULE:")
    value = NAMED.get(text.upper(), value)
    if "=" not in value:
        raise BadPattern(
            f"unknown recurrence pattern {_shown(text)}: "
            "use daily, weekly, monthly, yearly, weekdays or an RRULE such as FREQ=MONTHLY;BYDAY=1MO"
        )
    rule = _rule(value)
    for wrong, why in _COMBINATIONS:
        if wrong(rule):
            raise BadPattern(why)
    if has_no_day(rule):
        days = " with ".join(_shown(part, quote=False) for part in value.split(";") if part.startswith("BY"))
        raise BadPattern(f"{days}: no year has such a day")
    return rule


def _rule(value: str) -> Rule:
    fields: dict[str, object] = {}
    for part in value.split(";"):
        name, equals, content = part.partition("=")
        if not equals:
            raise BadPattern(f"{_shown(part)} in the recurrence pattern is not of the form NAME=VALUE")
        if name not in _PARTS:
            raise BadPattern(f"{_shown(name)} is no part of a recurrence pattern that we know{_hint(name)}")
        if name.lower() in fields:
            raise BadPattern(f"{name} stands twice in the recurrence pattern")
        fields[name.lower()] = _value(name, content)
    if "freq" not in fields:
        raise BadPattern("the recurrence pattern has no FREQ")
    fields.pop("rscale", None)
    return Rule(**fields)  # type: ignore[arg-type]  # each reader in _PARTS gives its field's type


def _hint(name: str) -> str:
    if name in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        return ": the time of day is that of the first message"
    return ": only the RRULE itself belongs here" if ":" in name else ""


def _value(name: str, content: str) -> object:
    try:
        return _PARTS[name](content)
    except ValueError as fault:
        raise BadPattern(f"{name}={_shown(content, quote=False)}: {fault}") from None


def _shown(text: str, *, quote: bool = True) -> str:
    short = text if len(text) <= 40 else text[:39] + "…"
    shown = repr(short)
    return shown if quote else shown[1:-1]


def _choice(choices: tuple[str, ...], content: str) -> str:
    if content not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return content


def _positive(content: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", content) or not int(content):
        raise ValueError("must be a whole number from 1 to 999999999")
    return int(content)


def _numbers(largest: int, content: str, *, signed: bool = True) -> tuple[int, ...]:
    for number in (numbers := content.split(",")):
        if not re.fullmatch("[+-]?[0-9]{1,3}" if signed else "[0-9]{1,2}", number):
            raise ValueError(f"{_shown(number)} is not a {'' if signed else 'positive '}number")
        if not 1 <= abs(int(number)) <= largest:
            raise ValueError(f"{number} is not between 1 and {largest}{', or negative' if signed else ''}")
    return tuple({int(number): None for number in numbers})


def _weekday(content: str) -> int:
    if content not in _WEEKDAYS:
        raise ValueError(f"{_shown(content)} is not one of {', '.join(_WEEKDAYS)}")
    return _WEEKDAYS.index(content)


def _day(content: str) -> tuple[int, int]:
    weekday, ordinal = _weekday(content[-2:]), content[:-2]
    return weekday, _numbers(53, ordinal)[0] if ordinal else 0


def _days(content: str) -> tuple[tuple[int, int], ...]:
    return tuple({_day(day): None for day in content.split(",")})


def _until(content: str) -> datetime:
    """A date means the whole of that day; a time without Z is wall time."""
    if re.fullmatch("[0-9]{8}(T[0-9]{6}Z?)?", content):
        with suppress(ValueError):
            until = datetime.fromisoformat(content)
            whole_day = until.replace(hour=23, minute=59, second=59, microsecond=999999)
            return until if "T" in content else whole_day
    raise ValueError("must be a date such as 20261231 or a time such as 20261231T170000Z")


def _skip_is_misplaced(rule: Rule) -> bool:
    other = rule.byday or rule.byweekno or rule.byyearday or rule.bysetpos or rule.freq in ("DAILY", "WEEKLY")
    return rule.skip != "OMIT" and (bool(other) or min(rule.bymonthday, default=0) < -28)


_PARTS: dict[str, Callable[[str], object]] = {
    "FREQ": partial(_choice, ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")),
    "INTERVAL": _positive,
    "COUNT": _positive,
    "UNTIL": _until,
    "BYMONTH": partial(_numbers, 12, signed=False),
    "BYWEEKNO": partial(_numbers, 53),
    "BYYEARDAY": partial(_numbers, 366),
    "BYMONTHDAY": partial(_numbers, 31),
    "BYDAY": _days,
    "BYSETPOS": partial(_numbers, 366),
    "WKST": _weekday,
    "RSCALE": partial(_choice, ("GREGORIAN",)),
    "SKIP": partial(_choice, ("OMIT", "BACKWARD", "FORWARD")),
}

# What RFC 5545 §3.3.10 forbids, and what could never hold.
_COMBINATIONS: tuple[tuple[Callable[[Rule], object], str], ...] = (
    (lambda r: r.count and r.until, "COUNT and UNTIL cannot stand together"),
    (lambda r: r.byweekno and r.freq != "YEARLY", "BYWEEKNO goes with FREQ=YEARLY alone"),
    (lambda r: r.byyearday and r.freq != "YEARLY", "BYYEARDAY goes with FREQ=YEARLY alone"),
    (lambda r: r.bymonthday and r.freq == "WEEKLY", "BYMONTHDAY does not go with FREQ=WEEKLY"),
    (
        lambda r: any(n for _, n in r.byday) and (r.freq in ("DAILY", "WEEKLY") or r.byweekno),
        "BYDAY with a number, such as 1MO, goes with FREQ=MONTHLY, or with FREQ=YEARLY without BYWEEKNO",
    ),
    (
        lambda r: r.bysetpos and not (r.bymonth or r.byweekno or r.byyearday or r.bymonthday or r.byday),
        "BYSETPOS needs another BY… part to choose from",
    ),
    (
        lambda r: any(abs(position) > _LONGEST_SET[r.freq] for position in r.bysetpos),
        "BYSETPOS counts further than the days of one period",
    ),
    (
        _skip_is_misplaced,
        "SKIP goes with days of the month alone: FREQ=MONTHLY or YEARLY, BYMONTH, BYMONTHDAY from -28",
    ),
)
