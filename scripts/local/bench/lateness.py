"""How late a message goes out that was scheduled at least a minute ahead, with a large future in the table."""

import json
from collections.abc import Iterator

from local.bench.figures import Figure, Size, percentile
from local.bench.ground import Daemon, Ground, ground

MESSAGES = 500
FUTURE = 100_000
AHEAD_SECONDS = 65
DAY = 86_400
LAST = "select max(scheduled_at) from public.scheduled_messages where scheduled_at < now() + interval '1 day'"
LATE = """
select extract(epoch from sent_at - scheduled_at)::float8 * 1000 from public.scheduled_messages where status = 'sent'
"""


def lateness(size: Size) -> Iterator[Figure]:
    """By the database's clock; then what the daemon itself saw when the gateway had answered."""
    with ground() as place:
        place.add(FUTURE, ahead=2 * DAY, spread=30 * DAY)
        began = place.add(MESSAGES, ahead=AHEAD_SECONDS, spread=size.lateness_seconds, first=FUTURE)
        with place.daemons(1) as (daemon,):
            place.sleep_until(began)
            calls, cpu = daemon.calls(), daemon.cpu
            place.sleep_until(place.one(LAST))
            place.await_done("(select * from public.scheduled_messages where scheduled_at < now()) as due", limit=10)
            calls, cpu = daemon.calls() - calls, daemon.cpu - cpu
            found = {"sent_at - scheduled_at": recorded(place), "answered by the gateway": logged(daemon)}
    settings = f"{MESSAGES} in {size.lateness_seconds:g} s among {FUTURE:,} future rows, defaults"
    for what, values in found.items():
        if len(values) != MESSAGES:
            raise SystemExit(f"bench: {len(values)} of {MESSAGES} messages went out")
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
            yield Figure("lateness", f"{what}, {name}", percentile(values, share), "ms", settings=settings)
    yield Figure("lateness", "HTTP calls a message", calls / MESSAGES, "", settings=settings)
    yield Figure("lateness", "processor time a message", cpu / MESSAGES * 1000, "ms", settings=settings)


def recorded(place: Ground) -> list[float]:
    return [row[0] for row in place.db.execute(LATE)]


def logged(daemon: Daemon) -> list[float]:
    lines = (json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{"))
    return [line["late_ms"] for line in lines if "late_ms" in line]
