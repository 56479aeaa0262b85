"""A gateway that says "too fast": the connection finds the rate that is taken, and a higher one when there is one."""

from dataclasses import replace

import pytest

from tests.helpers.counting_gateway import CountingGateway, Received
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.rows import one, schedule_many, settled, statuses
from tests.pacing.limiter import Claimed, Queue

TAKEN = 20  # messages a second that the gateway takes at first
TOO_FAST = Reply(429, {"error": "slow down"}, {"retry-after": "1"})


class Strict(CountingGateway):
    """Takes `limit` messages in a second, and refuses what is beyond; `refused` counts those."""

    def __init__(self) -> None:
        super().__init__()
        self.limit, self.refused = TAKEN, 0
        self.accepted: list[Received] = []

    async def answer(self, request: Request) -> Reply:
        if request.method == "GET":
            return await super().answer(request)
        now = self.note(request)
        if sum(now.at - earlier.at < 1 for earlier in self.accepted[-self.limit :]) >= self.limit:
            self.refused += 1
            return TOO_FAST
        self.accepted.append(now)
        return Reply(201, {"id": f"true_{now.chat_id}_{len(self.accepted):08X}"})


def throttle(db):
    return one(db, "select coalesce(max(throttle_seconds), 0) from private.connection_state")


def test_a_connection_slows_down_until_its_gateway_takes_it_and_speeds_up_again(db, daemon):
    schedule_many(db, 400, connections=1)
    with Strict() as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url, CONCURRENCY=8)
        until(lambda: len(gateway.accepted) >= 120, 60, lambda: worker.text)
        assert throttle(db) > 0
        assert 0 < gateway.refused < len(gateway.accepted) / 4
        slow = gateway.accepted[-1].at - gateway.accepted[-81].at

        gateway.limit = 10_000
        until(lambda: settled(db), 60, lambda: worker.text)

    assert statuses(db) == {"sent": 400}
    assert len({one.chat_id for one in gateway.accepted}) == len(gateway.accepted) == 400
    quick = gateway.accepted[-1].at - gateway.accepted[-81].at
    assert quick < slow / 2


def one_by_one(queue: Queue, claimed: Claimed, outcome: str) -> list[float]:
    """Records each of a claim's answers in a call of its own. Returns how slow the connection was after each."""
    found = []
    for job in claimed.jobs:
        queue.record(replace(claimed, jobs=[job]), outcome, error="too fast", wait=5)
        found.append(throttle(queue.db))
    return found


@pytest.mark.parametrize("outcome", ["throttled_connection", "locked_recipient"])
def test_what_was_on_its_way_when_the_gateway_said_too_fast_does_not_slow_it_down_again(queue, outcome):
    queue.settings(messages=5, period_seconds=5, burst=5)
    now = one(queue.db, "select now()")
    queue.add(4, at=now)
    claimed = queue.claim(now)
    assert len(claimed.jobs) == 4
    assert one_by_one(queue, claimed, outcome) == [2, 2, 2, 2]

    queue.db.execute("update private.connection_state set throttled_until = now(), arrival_at = now()")
    queue.add(1, at=now, recipient="+919876500000")
    queue.db.execute("update private.connection_state set ready_at = now()")
    since = queue.claim(one(queue.db, "select clock_timestamp()"), seats=1)
    assert one_by_one(queue, since, outcome) == [pytest.approx(4, abs=0.5)]


def test_however_often_it_is_too_fast_a_connection_goes_on_once_a_minute(queue):
    waits = []
    for _ in range(14):
        queue.add(1, at=one(queue.db, "select now()"))
        queue.db.execute(
            "update private.connection_state set arrival_at = now(), ready_at = now(), throttled_until = now()"
        )
        claimed = queue.claim(one(queue.db, "select clock_timestamp()"), 1)
        queue.record(claimed, "throttled_connection", error="too fast", wait=600)
        waits.append(throttle(queue.db))
    assert waits == sorted(waits)
    assert waits[:3] == pytest.approx([0.05, 0.1, 0.2], rel=0.2)
    assert waits[-2:] == [60, 60]
