"""A campaign, the whole way, beside the same number of single messages; and what others notice of one."""

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import httpx

from local.bench.figures import Figure, Size, percentile
from local.bench.ground import Daemon, Ground, ground
from local.bench.lateness import awake
from local.bench.throughput import START_SECONDS
from local.bench.throughput import ours as there_already

CONCURRENCY = BATCH_SIZE = 1000
USER = "00000000-0000-4000-8000-000000000002"
CHUNK = 1000  # rows of one insert through the API
OTHERS, OTHERS_SECONDS = 200, 20.0
# Per cent of what single messages take: 0.8 of the rate of those that are inserted, half that of those that are there.
INSERTED_GOAL, THERE_GOAL = 125.0, 200.0
FREEZE_GOAL = 100.0  # microseconds a recipient: 10,000 a second
MEMORY_GOAL = 130.0  # per cent of what it had after the first thousand
LATENESS_GOAL = 200.0  # per cent of the p99 without a campaign
SET_UP = f"""
insert into auth.users (id) values ('{USER}');
insert into public.connections (id, name, user_id) values ('mall', 'Mall', '{USER}');
insert into public.contacts (owner_id, phone_number, contact_name, labels)
select '{USER}', '+91987' || lpad(i::text, 7, '0'), 'Name ' || i, '{{gold}}' from generate_series(1, %s) as i;
"""
CAMPAIGN = f"""
insert into public.campaigns (connection_id, owner_id, name, message, audience, scheduled_at, status)
values ('mall', '{USER}', 'Offer', 'Hello {{name}}, this is an offer to all of our customers. See you soon!',
    '{{"labels": ["gold"]}}', now(), 'scheduled')
"""
FREEZING = CAMPAIGN.replace("status)", "status, at_daily_limit)").replace(
    "now(), 'scheduled'", "now() + interval '50 seconds', 'scheduled', 'fail'"
)
RUN = "select total is not null, finished_at is not null, status, sent, started_at from public.campaign_runs"
CLEAR = """
truncate public.scheduled_messages, public.broadcast_jobs, public.broadcast_messages, public.campaigns,
    public.campaign_runs, public.campaign_recipients, private.run_tallies, private.connection_state,
    private.recipient_state
cascade
"""
PACED = """
insert into public.connection_settings (connection_id, messages, period_seconds) values ('mall', 15, 60)
on conflict (connection_id) do update set messages = 15, period_seconds = 60
"""
LATE = """
select extract(epoch from sent_at - scheduled_at)::float8 * 1000 from public.scheduled_messages
where status = 'sent' and source_id is null
"""


def campaign(size: Size) -> Iterator[Figure]:
    rows = size.memory_rows
    with ground() as place:
        place.db.execute(SET_UP.replace("%s", str(rows)))
        place.db.execute("vacuum (analyze) public.contacts")
        yield from rates(place, rows, size.runs)
        yield from others(place, rows, size.runs)


def rates(place: Ground, rows: int, runs: int) -> Iterator[Figure]:
    """In turns, so that a noisy minute is everybody's."""
    found: list[tuple[float, float, float, float, float]] = []
    for _ in range(runs):
        clear(place)
        there = there_already(1)(place, rows)
        clear(place)
        inserted = singles(place, rows)
        clear(place)
        whole, growth = whole_way(place, rows)
        clear(place)
        found.append((there, inserted, whole, freezing(place), growth))
        print(f"  {rows / there:,.0f}, {rows / inserted:,.0f}, {rows / found[-1][2]:,.0f} messages/s", flush=True)
    there, inserted, whole, frozen, growth = (statistics.median(column) for column in zip(*found, strict=True))
    settings = f"{rows:,} recipients, one daemon, CONCURRENCY={CONCURRENCY}, BATCH_SIZE={BATCH_SIZE}"
    yield figure("single messages that are there", rows / there, "messages/s", settings)
    yield figure("single messages, inserted in thousands through the API", rows / inserted, "messages/s", settings)
    yield figure("a campaign", rows / whole, "messages/s", settings)
    yield figure("time of a campaign, of that of inserted ones", 100 * whole / inserted, "%", settings, INSERTED_GOAL)
    yield figure("time of a campaign, of that of those there", 100 * whole / there, "%", settings, THERE_GOAL)
    yield figure("freezing a recipient", 1e6 * frozen / rows, "µs", settings, FREEZE_GOAL)
    yield figure("resident at most, of that after the first 1,000", growth, "%", settings, MEMORY_GOAL)


def figure(what: str, value: float, unit: str, settings: str, goal: float | None = None) -> Figure:
    return Figure("campaign", what, value, unit, settings=settings, goal=goal)


def clear(place: Ground) -> None:
    place.db.execute(CLEAR)
    place.db.execute("delete from public.connection_settings")


def daemon(place: Ground, **settings: object) -> AbstractContextManager[list[Daemon]]:
    # Here nothing tells of new rows: the singles would else wait for a poll by the minute.
    return place.daemons(1, CONCURRENCY=CONCURRENCY, BATCH_SIZE=BATCH_SIZE, POLL_INTERVAL_SECONDS=1, **settings)


def singles(place: Ground, rows: int) -> float:
    """Seconds from the first insert until the last outcome is in the database."""
    key = place.stack.keys["service_key"]
    url = f"{place.stack.environment['SUPABASE_URL']}/rest/v1/scheduled_messages"
    headers = {"apikey": key, "authorization": f"Bearer {key}", "prefer": "return=minimal"}
    with daemon(place), httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
        began = time.monotonic()
        for first in range(0, rows, CHUNK):
            client.post(url, json=[single(n) for n in range(first, min(rows, first + CHUNK))]).raise_for_status()
        place.await_done()
        return time.monotonic() - began


def single(number: int) -> dict[str, Any]:
    return {
        "connection_id": "mall", "contact_id": f"+91987{number:07}", "owner_id": USER,
        "scheduled_at": datetime.now(UTC).isoformat(),
        "message": f"Hello Name {number}, this is an offer to all of our customers. See you soon!",
    }  # fmt: skip


def whole_way(place: Ground, rows: int) -> tuple[float, float]:
    """Seconds from the activation to the run's end, and per cent of growth of resident memory."""
    with daemon(place) as (one,):
        place.db.execute(CAMPAIGN)
        began, samples = time.monotonic(), list[float]()
        while not (state := run_of(place))[1]:
            if state[3] >= 1000:
                samples.append(one.resident)
            if time.monotonic() - began > 600:
                raise SystemExit(f"bench: the campaign did not end: {state}")
            time.sleep(0.05)
        seconds = time.monotonic() - began
    if (state[2], state[3]) != ("completed", rows):
        raise SystemExit(f"bench: of {rows} recipients {state[3]} were sent to; the run is {state[2]}")
    return seconds, 100 * max(samples) / samples[0]


def freezing(place: Ground) -> float:
    """Seconds that it takes ahead of its time, and where nothing is made before all are known."""
    with daemon(place):
        place.db.execute(FREEZING)
        began = 0.0
        while not (state := run_of(place))[0]:
            if state[0] is False and not began:
                began = time.monotonic()
            time.sleep(0.01)
        return time.monotonic() - began


def run_of(place: Ground) -> tuple[bool | None, bool, str, int, Any]:
    """Whether it is frozen (None: it has not begun) and over, its state, how many were sent to."""
    return place.db.execute(RUN).fetchone() or (None, False, "", 0, None)


def others(place: Ground, rows: int, runs: int) -> Iterator[Figure]:
    """Messages of other connections, without and with a campaign that begins among them, on a slow phone."""
    without, beside = list[float](), list[float]()
    with awake():
        for _ in range(runs):
            without.append(lateness(place, with_campaign=False))
            beside.append(lateness(place, with_campaign=True))
    settings = f"{OTHERS} messages in {OTHERS_SECONDS:g} s, defaults; the campaign: {rows:,} recipients, 15 a minute"
    yield figure("others' p99 without a campaign", statistics.median(without), "ms", settings)
    yield figure("others' p99 beside one", statistics.median(beside), "ms", settings)
    ratio = 100 * statistics.median(beside) / statistics.median(without)
    yield figure("others' p99 beside one, of that without", ratio, "%", settings, LATENESS_GOAL)


def lateness(place: Ground, *, with_campaign: bool) -> float:
    """The p99 of the others, in ms."""
    clear(place)
    place.db.execute(PACED)
    # Before the daemon starts: nothing tells it of new rows here, and it polls by the minute.
    began = place.add(OTHERS, ahead=START_SECONDS, spread=OTHERS_SECONDS)
    with place.daemons(1):
        if place.seconds_since(began) > 0:
            raise SystemExit("bench: the daemon was not ready when the first row fell due")
        place.sleep_until(began)
        if with_campaign:
            place.db.execute(CAMPAIGN)
        place.await_done("(select * from public.scheduled_messages where source_id is null) as others", limit=120)
        return percentile([row[0] for row in place.db.execute(LATE)], 0.99)
