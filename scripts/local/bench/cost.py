"""What a poll that finds nothing and a claim cost the database, by the size of its tables."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from local.bench.figures import Figure, Size, percentile
from local.bench.ground import Ground, ground

SAMPLES = 200
CLAIMS = 40
SEATS = 100
HISTORY = """
insert into public.scheduled_messages
    (connection_id, contact_id, message, scheduled_at, status, sent_at, message_id, owner_id)
select 'c' || i %% 20, '+91987' || lpad((i %% 10000000)::text, 7, '0'), 'Hello, this was reminder number ' || i,
    now() - i * interval '1 second', 'sent', now(), 'mock-' || i, md5('u' || i %% 20)::uuid
from generate_series(1, %s) as i
"""
DONE_JOBS = """
insert into public.broadcast_jobs
    (connection_id, recipient, scheduled_message_id, message, status, available_at, schedule)
select 'c' || i %% 20, '+919870000000', gen_random_uuid(), 'Hello', 'completed', now(), now()
from generate_series(1, %s) as i
"""
WAITING = """
insert into public.broadcast_jobs
    (connection_id, recipient, scheduled_message_id, message, status, available_at, schedule)
select 'w' || i %% %s, '+91987' || lpad((i %% 10000000)::text, 7, '0'), gen_random_uuid(), 'Hello', 'queued',
    now() - interval '1 minute' + i * interval '1 microsecond', now()
from generate_series(1, %s) as i
"""
ANNOUNCE = """
select private.announce_work(array_agg(c), array_agg(now()))
from (select distinct connection_id as c from public.broadcast_jobs where status = 'queued') as waiting
"""
INDEXES = """
select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition from pg_index as i
where i.indrelid in ('public.scheduled_messages'::regclass, 'public.broadcast_jobs'::regclass) and not i.indisprimary
"""
POLL = ("select * from public.get_pending_scheduled_messages()", "select * from public.get_agenda(90)")
CLAIM = "select jobs from public.claim_broadcast_jobs(gen_random_uuid(), %s, 3600, 'mock')"
Samples = list[float]


def cost(size: Size) -> Iterator[Figure]:
    """Percentiles in ms, and the ratio of each to that of the smallest."""
    yield from by_table_size(size)
    yield from by_waiting_jobs(size)


def by_table_size(size: Size) -> Iterator[Figure]:
    """The tables grow from one size to the next: half future, half sent, and a finished job for each sent row."""
    polls: dict[str, Samples] = {}
    claims: dict[str, Samples] = {}
    with ground() as place:
        filled = 0
        for rows in size.tables:
            grow(place, (rows - filled) // 2)
            filled = rows
            polls[f"{rows:,} rows"] = polled(place)
            claims[f"{rows:,} rows"] = claimed(place, 20, CLAIMS * SEATS)
    yield from compared(
        "an idle poll", polls, f"{SAMPLES} times get_pending_scheduled_messages + get_agenda, SQL alone"
    )
    yield from compared(f"a claim of {SEATS}", claims, f"{CLAIMS} times claim_broadcast_jobs, SQL alone")


def by_waiting_jobs(size: Size) -> Iterator[Figure]:
    """Few connections with little waiting against many with much."""
    found: dict[str, Samples] = {}
    for connections, jobs in size.waiting:
        with ground() as place:
            found[f"{connections:,} connections, {jobs:,} jobs waiting"] = claimed(place, connections, jobs)
    yield from compared(f"a claim of {SEATS}", found, f"{CLAIMS} times claim_broadcast_jobs, SQL alone")


def compared(what: str, found: dict[str, Samples], settings: str) -> Iterator[Figure]:
    base = next(iter(found))
    for name, samples in found.items():
        for share in (0.5, 0.95):
            value = percentile(samples, share)
            ratio = value / percentile(found[base], share)
            yield Figure(
                "cost", f"{what}, {name}, p{share * 100:.0f}", value, "ms", ratio, f"of that with {base}", settings
            )


def grow(place: Ground, half: int) -> None:
    with indexes_built_afterwards(place):
        place.add(half, ahead=2 * 86_400, spread=30 * 86_400)
        place.db.execute(HISTORY, (half,))
        place.db.execute(DONE_JOBS, (half,))
    place.db.execute("vacuum (analyze) public.scheduled_messages, public.broadcast_jobs")


@contextmanager
def indexes_built_afterwards(place: Ground) -> Iterator[None]:
    """Millions of rows, row by row into a dozen indexes, take longer than anybody waits."""
    found = place.db.execute(INDEXES).fetchall()
    for name, _ in found:
        place.db.execute(f"drop index {name}")
    yield
    place.db.execute("set maintenance_work_mem = '1GB'")
    for _, definition in found:
        place.db.execute(definition)


def polled(place: Ground) -> Samples:
    return [timed(place, POLL) for _ in range(SAMPLES + 10)][10:]


def claimed(place: Ground, connections: int, jobs: int) -> Samples:
    """Claims from among `jobs` waiting ones; what was claimed stays so."""
    place.db.execute(WAITING, (connections, jobs))
    place.db.execute(ANNOUNCE)
    place.db.execute("vacuum (analyze) public.broadcast_jobs, private.connection_state")
    return [timed(place, [CLAIM], (SEATS,)) for _ in range(CLAIMS)]


def timed(place: Ground, queries: Sequence[str], arguments: tuple[int, ...] = ()) -> float:
    """Milliseconds for all of them."""
    began = time.perf_counter()
    for query in queries:
        place.db.execute(query, arguments).fetchall()
    return (time.perf_counter() - began) * 1000
