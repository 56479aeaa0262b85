"""Random recurrence rules, starts and zones for the laws and the agreement with other implementations."""

import os
from datetime import datetime, timedelta
from random import Random
from zoneinfo import available_timezones

LONG = bool(os.environ.get("LONG"))
ZONES = sorted(available_timezones() - {"localtime", "posixrules", "Factory"})
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def times(number: int) -> int:
    """How many examples to try: ten times as many where LONG=1."""
    return number * 10 if LONG else number


def random_start(random: Random) -> datetime:
    """A wall time, 1970 to 2100, often near a month's end or in the hours where clocks change."""
    day = datetime(1970, 1, 1) + timedelta(days=random.randrange(130 * 365))
    if random.random() < 0.3:
        day = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=random.randint(1, 3))
    return day.replace(hour=random.choice((0, 1, 2, 3, 9, 23)), minute=random.choice((0, 15, 30, 45, 59)))


def random_rule(random: Random, *, freq: str | None = None) -> str:
    """An RRULE value without COUNT and UNTIL that RFC 5545 allows and that names some day."""
    freq = freq or random.choice(("DAILY", "WEEKLY", "MONTHLY", "YEARLY"))
    parts = {"FREQ": freq}
    if random.random() < 0.6:
        parts["INTERVAL"] = str(random.choice((1, 2, 2, 3, 4, 5, 6, 7, 12, 13, 30, 100)))
        if freq == "YEARLY":
            parts["INTERVAL"] = str(random.choice((1, 1, 2, 3, 4)))
    parts |= _PARTS[freq](random)
    if random.random() < 0.3:
        parts["WKST"] = random.choice(WEEKDAYS)
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _some(random: Random, choices: range | tuple[object, ...], most: int = 3) -> str:
    return ",".join(str(choice) for choice in random.sample(choices, random.randint(1, min(most, len(choices)))))


def _weekdays(random: Random) -> str:
    return _some(random, WEEKDAYS, 5)


def _ordinal_weekdays(random: Random, largest: int) -> str:
    def one() -> str:
        return f"{random.choice((1, 1, 2, 3, largest, -1, -1, -2))}{random.choice(WEEKDAYS)}"

    return ",".join(one() for _ in range(random.randint(1, 2)))


def _months(random: Random) -> dict[str, str]:
    return {"BYMONTH": _some(random, range(1, 13))} if random.random() < 0.3 else {}


def _month_days(random: Random) -> str:
    return _some(random, (*range(1, 32), 31, 31, 30, 29, -1, -1, -2, -3, -15, -31))


def _daily(random: Random) -> dict[str, str]:
    parts = _months(random)
    if random.random() < 0.3:
        parts["BYDAY"] = _weekdays(random)
    if random.random() < 0.2:
        parts["BYMONTHDAY"] = _some(random, range(1, 29), 9)
    return parts


def _weekly(random: Random) -> dict[str, str]:
    parts = _months(random)
    if random.random() < 0.7:
        parts["BYDAY"] = _weekdays(random)
        if random.random() < 0.25:
            parts["BYSETPOS"] = random.choice(("1", "-1", "1,-1", "2"))
    return parts


def _monthly(random: Random) -> dict[str, str]:
    parts = _months(random)
    kind = random.randrange(5)
    if kind == 0:
        parts["BYMONTHDAY"] = _month_days(random)
    elif kind == 1:
        parts["BYDAY"] = _ordinal_weekdays(random, 4)
    elif kind == 2:
        parts |= {"BYDAY": _weekdays(random), "BYSETPOS": random.choice(("1", "-1", "2", "1,-1", "3,-2"))}
    elif kind == 3:
        parts |= {"BYDAY": _weekdays(random), "BYMONTHDAY": _some(random, range(1, 29), 9)}
    return parts


def _yearly(random: Random) -> dict[str, str]:
    kind = random.randrange(7)
    if kind == 0:
        return {"BYMONTH": _some(random, range(1, 13)), "BYDAY": _ordinal_weekdays(random, 4)}
    if kind == 1:
        return {"BYDAY": _ordinal_weekdays(random, 40)}
    if kind == 2:
        return {"BYYEARDAY": _some(random, (1, 60, 100, 200, 300, 365, 366, -1, -60, -306, -365, -366))}
    if kind == 3:
        return {"BYWEEKNO": _some(random, (1, 1, 2, 20, 51, 52, 53, -1, -2)), "BYDAY": _weekdays(random)}
    if kind == 4:
        positions = {"BYSETPOS": random.choice(("1", "-1", "2,-2"))}
        return {"BYMONTH": _some(random, range(1, 13)), "BYDAY": _weekdays(random)} | positions
    return _months(random) | ({"BYMONTHDAY": _month_days(random)} if kind == 5 else {})


_PARTS = {"DAILY": _daily, "WEEKLY": _weekly, "MONTHLY": _monthly, "YEARLY": _yearly}
