"""The settings of one connection as an operator writes and reads them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time
from typing import Any

from worker.errors import StoreRefused, WorkerError
from worker.kinds import KINDS
from worker.store.api import Row


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _text(text: str) -> str:
    return text


def _within(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not least <= (number := kind(text)) <= most:
            raise ValueError
        return number

    return read


@dataclass(frozen=True, slots=True)
class Setting:
    """How one is read, what it takes, in words, and what it is where nothing is written."""

    read: Callable[[str], object]
    takes: str
    default: object = None


# The table has the last word; a test compares names and defaults.
SETTINGS = {
    "enabled": Setting(_switch, "true or false", True),
    "active": Setting(_switch, "true or false; its owner's switch", True),
    "display_name": Setting(_text, "what people know it by, at most 200 characters"),
    "approval": Setting(_text, "none", "none"),
    "gateway": Setting(_text, ", ".join(KINDS)),
    "sender": Setting(_text, "the session, instance or phone number id, at most 256 characters"),
    "timezone": Setting(_text, "an IANA zone such as Asia/Kolkata"),
    "country_code": Setting(_text, "two capital letters such as IN"),
    "messages": Setting(_within(int, 1, 100_000), "a whole number from 1 to 100000, together with period_seconds"),
    "period_seconds": Setting(_within(float, 0.1, 86_400), "seconds from 0.1 to 86400, together with messages"),
    "burst": Setting(_within(int, 1, 100_000), "a whole number from 1 to that of messages", 1),
    "jitter_seconds": Setting(_within(float, 0, 3600), "seconds from 0 to 3600, where messages is set", 0),
    "daily_limit": Setting(_within(int, 0, 2**31 - 1), "a whole number from 0"),
    "at_daily_limit": Setting(_text, "defer or fail", "defer"),
    "warm_up_from": Setting(date.fromisoformat, "a date such as 2026-12-31"),
    "warm_up_days": Setting(_within(int, 1, 365), "a whole number from 1 to 365"),
    "warm_up_limit": Setting(_within(int, 1, 2**31 - 1), "a whole number from 1"),
    "window_start": Setting(time.fromisoformat, "a time of day such as 08:00"),
    "window_end": Setting(time.fromisoformat, "a time of day such as 20:00"),
    "recipient_interval_seconds": Setting(_within(float, 0, 86_400), "seconds from 0 to 86400"),
}

# What several of them must keep together, by the name of the table's constraint.
TOGETHER = {
    "rate_complete": "messages and period_seconds go together: give both, or neither",
    "burst_within_messages": "burst is a whole number from 1 to that of messages",
    "jitter_needs_rate": "jitter_seconds needs messages and period_seconds",
    "window_complete": "window_start and window_end go together and differ",
    "warm_up_complete": "warm_up_from, warm_up_days and warm_up_limit go together and need daily_limit",
}
CONSTRAINT = re.compile(r"\bconnection_settings_(\w+)")


def parse_changes(changes: list[str]) -> Row:
    """NAME=VALUE pairs; an empty value is the default. Raises WorkerError with what the name takes."""
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in SETTINGS:
            raise WorkerError(f"{change!r}: write NAME=VALUE with a NAME of {', '.join(sorted(SETTINGS))}")
        values[name] = _checked(name, value) if value else SETTINGS[name].default
    return values


def _checked(name: str, value: str) -> str:
    try:
        SETTINGS[name].read(value)
    except ValueError:
        raise WorkerError(f"{name}={value}: give {SETTINGS[name].takes}") from None
    return value


def refusal(error: StoreRefused, values: Row) -> WorkerError:
    """What the table said of these values, in words."""
    found = CONSTRAINT.search(str(error))
    name = found[1] if found else ""
    if name in TOGETHER:
        return WorkerError(TOGETHER[name])
    column = re.sub("_(check|fkey)$", "", name)
    if column in SETTINGS:
        return WorkerError(f"{column}={values.get(column)}: give {SETTINGS[column].takes}")
    return WorkerError(f"these settings are refused: {error}")


def unknown(connection_id: str, known: list[str]) -> WorkerError:
    """There is no such connection; `known` are some that there are."""
    there = f"there are {', '.join(known)}" if known else "the table connections is empty"
    return WorkerError(f"there is no connection {connection_id!r}: {there}")


def described(connection_id: str, row: Row | None, gateway: str | None) -> str:
    """A line for each setting that is not left open."""
    if row is None:
        return f"{connection_id} has no settings: it is not paced and goes through GATEWAY={gateway}"
    given = {name: row[name] for name in SETTINGS if row.get(name) is not None}
    return "\n".join([connection_id, *(f"  {name} = {value}" for name, value in given.items())])
