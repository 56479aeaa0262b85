"""A claim whose answer takes long still meets its slots: they are booked as far ahead as claims have been taking."""

import pytest

from local.bench.figures import most_within
from tests.helpers import proxy as faults
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import schedule, settled, statuses
from tests.pacing.limiter import gaps

SECONDS = 0.6  # that each claim takes longer: much more than a slot of either pace tolerates


@pytest.fixture
def far(proxy):
    proxy.fault = faults.only("claim_broadcast_jobs", faults.slow(SECONDS))
    return proxy


@pytest.mark.parametrize(("count", "messages", "period"), [(3, 1, 2.0), (40, 10, 1.0)])
def test_a_paced_connection_gets_on_though_every_claim_takes_long(queue, db, daemon, far, count, messages, period):
    queue.settings(messages=messages, period_seconds=period)
    for number in range(count):
        schedule(db, contact_id=f"+91987650{number:04}")
    with CountingGateway() as gateway:
        worker = daemon(SUPABASE_URL=far.url, GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: settled(db), 5 * count / messages * period, lambda: worker.text)

    at = [one.at for one in gateway.received]
    assert statuses(db) == {"sent": count}
    assert gateway.repeated == {}
    assert most_within(at, period) <= messages, gaps(at)
