"""Three daemons, five connections, real time: what arrives at the gateway keeps every limit, and uses it."""

import time
from dataclasses import dataclass

import pytest

from tests.conftest import is_long
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import add_connections
from tests.pacing.limiter import gaps, most_within


@dataclass(frozen=True)
class Pace:
    """So many in so many seconds: a tenth and a quarter of the 12 s and 15 a minute, which would take too long."""

    messages: int
    period: float
    jitter: float = 0.0

    def allows(self, seconds: float) -> float:
        """How many messages could follow the first within so many seconds."""
        return seconds / (self.period / self.messages + self.jitter / 2)


PACES = {"phone": Pace(1, 1.2, 0.2), "shop": Pace(15, 15), "cloud": Pace(29, 1)}
DAEMONS = 3


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
    """When what arrived from which connection, while all had work."""
    seconds = 60.0 if is_long() else 6.0
    for name, pace in PACES.items():
        queue.settings(name, messages=pace.messages, period_seconds=pace.period, jitter_seconds=pace.jitter)
    queue.settings("off", enabled=False)
    add_connections(db, "free")
    with CountingGateway() as gateway:
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
    return found


def test_arrivals_keep_every_limit_and_use_it(arrivals):
    assert "off" not in arrivals
    assert len(arrivals["free"]) == 200
    for name, pace in PACES.items():
        assert most_within(arrivals[name], pace.period) <= pace.messages, (name, gaps(arrivals[name]))
    if is_long():
        for name, pace in PACES.items():
            at = arrivals[name]
            assert len(at) - 1 >= 0.95 * pace.allows(at[-1] - at[0]), name
