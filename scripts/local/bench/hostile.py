"""How late another tenant's messages are while a stranger does the worst: 20, one a second, beside quiet turns."""

import time
from collections.abc import Iterator

from local.bench.figures import Figure, Size, percentile
from local.bench.ground import Ground, ground
from local.bench.hostile_loads import LOADS, Load
from local.bench.lateness import awake

MESSAGES = 20
VICTIM = "00000000-0000-4000-8000-00000000cafe"
AHEAD_SECONDS = 12  # from the rows to the first message: the daemon has started and looked ahead by then
PATIENCE_SECONDS = 60  # after the last one was due
TIMES_QUIET, AT_MOST_MS = 3, 1000
SETTINGS: dict[str, object] = {"POLL_INTERVAL_SECONDS": 10}
QUIET = Load("quiet")
INSERT = """
insert into public.scheduled_messages (connection_id, contact_id, message, scheduled_at, owner_id)
select 'victim', '+91987' || lpad(i::text, 7, '0'), 'On time', %s::timestamptz + make_interval(secs => i), %s
from generate_series(0, %s - 1) as i
"""
LATE = """
select extract(epoch from coalesce(sent_at, clock_timestamp()) - scheduled_at)::float8 * 1000
from public.scheduled_messages where owner_id = %s
"""


def hostile(size: Size) -> Iterator[Figure]:
    """A goal of three times the quiet turn's p99, and of a second; a quiet turn before and after."""
    settings = f"{MESSAGES} messages, one a second; defaults but {', '.join(f'{k}={v}' for k, v in SETTINGS.items())}"
    loads = LOADS[:: 3 if size.runs == 1 else 1]
    with awake(), ground() as place:
        place.db.execute("insert into public.connections (id, name) values ('victim', 'victim')")
        turns = {load.name: turn(place, load) for load in (QUIET, *loads)}
        turns["quiet again"] = turn(place, QUIET)
    quiet = max(percentile(turns[name], 0.99) for name in ("quiet", "quiet again"))
    goal = min(TIMES_QUIET * quiet, AT_MOST_MS)
    for name, late in turns.items():
        yield from spread(name, late, settings, quiet, goal)


def turn(place: Ground, load: Load) -> list[float]:
    """Milliseconds by which each message of the victim was late; what was not sent is as late as it is by now."""
    place.clear()
    place.db.execute("delete from public.connections where id like 'h%'")
    place.db.execute("delete from public.connection_settings where connection_id like 'h%'")  # they outlive it
    place.db.execute("delete from public.contacts")
    at = place.one("select now() + make_interval(secs => %s)", AHEAD_SECONDS)
    place.db.execute(INSERT, (at, VICTIM, MESSAGES))
    load.rows(place, at)
    place.db.execute("vacuum (analyze) public.scheduled_messages")
    if (left := -place.seconds_since(at)) < 5:  # writing the rows took long: all of it is due later
        place.db.execute(
            "update public.scheduled_messages set scheduled_at = scheduled_at + make_interval(secs => %s)", (10 - left,)
        )
        at = place.one("select min(scheduled_at) from public.scheduled_messages where owner_id = %s", VICTIM)
    with place.daemons(1, **SETTINGS | load.settings) as (daemon,):
        place.sleep_until(at)
        with load.act(place, daemon):
            time.sleep(MESSAGES)
            await_victim(place)
            late = [row[0] for row in place.db.execute(LATE, (VICTIM,))]
    print(f"  {load.name}: {percentile(late, 0.5):,.0f} ms, at most {max(late):,.0f} ms", flush=True)
    return late


def await_victim(place: Ground) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    asked = "select exists (select 1 from public.scheduled_messages where owner_id = %s and sent_at is null)"
    while place.one(asked, VICTIM) and time.monotonic() < deadline:
        time.sleep(0.2)


def spread(name: str, late: list[float], settings: str, quiet: float, goal: float) -> Iterator[Figure]:
    for what, value in (("p50", percentile(late, 0.5)), ("p99", percentile(late, 0.99)), ("max", max(late))):
        judged = what == "p99" and not name.startswith("quiet")
        yield Figure(
            "hostile", f"{name}, {what}", value, "ms", value / quiet, "quiet p99", settings, goal if judged else None
        )
