"""Three daemons, five connections, real time: what arrives at the gateway keeps every limit, and uses it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.bench.figures import most_within
from local.bench.pace import Pace
from tests.conftest import is_long
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import add_connections
from tests.pacing.limiter import gaps

# A fifth and a quarter of the 12 s and 15 a minute, which would take too long.
PACES = {one.name: one for one in (Pace("phone", 1, 2.4, 0.4), Pace("shop", 15, 15), Pace("cloud", 29, 1))}
DAEMONS = 3


@contextmanager
def stalls() -> Iterator[list[float]]:
    """How long this machine has kept a thread of this process waiting that wanted to go on, in seconds."""
    over, found = threading.Event(), [0.0]

    def watch() -> None:
        while not over.is_set():
            before = time.monotonic()
            over.wait(0.005)
            found.append(time.monotonic() - before - 0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def fill(db, seconds: float) -> None:
    """More work than can be done in so many seconds, but for the connection that nothing holds up."""
    wanted = {name: int(pace.allows(seconds)) + 10 for name, pace in PACES.items()}
    db.execute(
        """
        insert into scheduled_messages (connection_id, contact_id, message, scheduled_at)
        select wanted.name, '+9198' || lpad((row_number() over ())::text, 8, '0'), 'x', now()
        from unnest(%s::text[], %s::integer[]) as wanted (name, count), generate_series(1, wanted.count)
        """,
        ([*wanted, "free", "off"], [*wanted.values(), 200, 5]),
    )


@pytest.fixture
def arrivals(queue, db, daemon):
    """When what arrived from which connection, while all had work; under "stall" the machine's longest."""
    seconds = 60.0 if is_long() else 6.0
    for name, pace in PACES.items():
        queue.settings(name, messages=pace.messages, period_seconds=pace.period, jitter_seconds=pace.jitter)
    queue.settings("off", enabled=False)
    add_connections(db, "free")
    with CountingGateway() as gateway, stalls() as stalled:
        daemons = [daemon(GATEWAY="waha", WAHA_URL=gateway.url, LEASE_SECONDS=20) for _ in range(DAEMONS)]
        for one in daemons:
            one.until_said("started")
        fill(db, seconds)
        until(lambda: {one.session for one in gateway.received.copy()} >= {*PACES, "free"}, 20)
        end = time.monotonic() + seconds
        until(lambda: time.monotonic() > end, seconds + 1)
        for one in daemons:
            assert one.stop() == 0
        assert gateway.repeated == {}
        found: dict[str, list[float]] = {}
        for one in gateway.received:
            found.setdefault(one.session, []).append(one.at)
    return found | {"stall": [max(stalled)]}


def slots(db, name: str) -> list[float]:
    """The instants that were booked for what was sent."""
    sql = "select extract(epoch from send_at)::float as at from broadcast_jobs where connection_id = %s and status = %s"
    return [row["at"] for row in db.execute(sql, (name, "completed"))]


def test_what_is_sent_keeps_every_limit_and_uses_it(arrivals, db):
    """What arrives may have been held up by a machine that other programs use too, but by nothing else."""
    assert "off" not in arrivals
    assert len(arrivals["free"]) == 200
    [stall] = arrivals["stall"]
    for name, pace in PACES.items():
        assert most_within(slots(db, name), pace.period) <= pace.messages, (name, gaps(slots(db, name)))
        held_up = min(stall, pace.period / 2)
        assert most_within(arrivals[name], pace.period - held_up) <= pace.messages, (name, gaps(arrivals[name]))
    if is_long():
        for name, pace in PACES.items():
            at = arrivals[name]
            assert len(at) - 1 >= 0.95 * pace.allows(at[-1] - at[0]), name
