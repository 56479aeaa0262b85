"""The documents' own paces, in real time, three daemons: no limit is broken, and what is allowed is used.

By the slots of what was sent: what cannot be dialled within 2 % of a period after its slot is handed back.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from local.bench.figures import Figure, Size, most_within
from local.bench.ground import ground

DAEMONS = 3


@dataclass(frozen=True, slots=True)
class Pace:
    """At most so many in so many seconds, each gap longer by up to `jitter`."""

    name: str
    messages: int
    period: float
    jitter: float = 0.0

    def allows(self, seconds: float) -> float:
        """How many can follow the first within so many seconds."""
        return seconds / (self.period / self.messages + self.jitter / 2)


PACES = (Pace("12 s and up to 2 s", 1, 12, 2), Pace("15 a minute", 15, 60), Pace("29 a second", 29, 1))
SETTINGS = """
insert into public.connection_settings (connection_id, messages, period_seconds, jitter_seconds) values (%s, %s, %s, %s)
"""
WORK = """
insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at)
select %s, '+91987' || lpad(i::text, 7, '0'), 'Hello', now() from generate_series(1, %s) as i
"""
SENT = """
select s.connection_id, array_agg(extract(epoch from j.send_at)::float8 order by j.send_at)
from public.scheduled_messages as s
join public.broadcast_jobs as j on j.id = s.broadcast_job_id
where s.status = 'sent' group by s.connection_id
"""


def pace(size: Size) -> Iterator[Figure]:
    settings = f"{DAEMONS} daemons, {size.pace_seconds:g} s, more work than is allowed"
    with ground() as place:
        for number, one in enumerate(PACES):
            place.db.execute(SETTINGS, (f"c{number}", one.messages, one.period, one.jitter))
            place.db.execute(WORK, (f"c{number}", int(one.allows(size.pace_seconds)) + 100))
        with place.daemons(DAEMONS, POLL_INTERVAL_SECONDS=10):
            time.sleep(size.pace_seconds)
        slots = dict(place.db.execute(SENT).fetchall())
    for number, one in enumerate(PACES):
        yield from judged(one, slots[f"c{number}"], settings)


def judged(one: Pace, slots: list[float], settings: str) -> Iterator[Figure]:
    used = (len(slots) - 1) / one.allows(slots[-1] - slots[0])
    yield Figure("pace", f"{one.name}: sent, of what is allowed", used * 100, "%", settings=settings)
    fullest, what = most_within(slots, one.period), f"{one.name}: most in any {one.period:g} s"
    yield Figure("pace", what, fullest, "", fullest / one.messages, "of the limit", settings)
