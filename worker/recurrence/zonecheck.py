"""Pure: where the database's time zone data and ours disagree about the zones that are in use."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.errors import BadTimezone
from worker.recurrence.times import timezone

WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone in use, and how many use it. offsets: minutes east of UTC, once a week from `began_at` (UTC) on, as the
    database has them; None where it does not know the zone.
    """

    name: str
    messages: int
    connections: int
    began_at: datetime
    offsets: list[int] | None


def disagreements(zones: Iterable[Zone]) -> Iterator[tuple[str, str, str]]:
    """Level, what is wrong and what to do, for each zone of `get_timezones` of which not both say the same."""
    for zone in zones:
        try:
            ours = timezone(zone.name)
        except BadTimezone as fault:
            if zone.messages or zone.connections:
                users = f"{zone.messages} message(s) and {zone.connections} connection(s)"
                yield (
                    "failure",
                    f"{users} use a zone that is none: {fault}",
                    "Write another name there: they will fail.",
                )
            continue
        if zone.offsets is None:
            yield (
                "warning",
                f"the database does not know the zone {zone.name}",
                "Its time zone data is older than the daemon's: update PostgreSQL or the system it runs on.",
            )
            continue
        moments = (zone.began_at + number * WEEK for number in range(len(zone.offsets)))
        for moment, theirs in zip(moments, zone.offsets, strict=True):
            if (here := offset(moment.astimezone(ours))) != theirs:
                yield (
                    "warning",
                    f"{zone.name}: in the week of {moment:%Y-%m-%d} the daemon has UTC{shown(here)}, the database"
                    f" UTC{shown(theirs)}",
                    "Messages repeat by the daemon's clock, sending hours and daily limits go by the database's: update"
                    " whichever has the older data.",
                )
                break


def offset(moment: datetime) -> int:
    """Minutes east of UTC, cut as PostgreSQL's extract is rounded."""
    return round((moment.utcoffset() or timedelta(0)).total_seconds() / 60)


def shown(minutes: int) -> str:
    sign, minutes = ("-" if minutes < 0 else "+"), abs(minutes)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
