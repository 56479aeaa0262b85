"""A session that is lost while messages go out: the connection pauses at once, costs next to nothing, and goes on."""

import time

from tests.conftest import is_long
from tests.helpers.calls import BESIDE
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply, Request
from tests.helpers.polling import until
from tests.helpers.proxy import Proxy
from tests.helpers.rows import one, schedule_many, settled, statuses

DAEMONS = 3
MESSAGES = 500 if is_long() else 120
LOST = Reply(422, {"error": "Session status is not as expected"})
PAUSED_SECONDS = 5.0


def asked(proxy: Proxy) -> int:
    """Calls for messages so far."""
    return sum(count for path, count in proxy.calls.items() if path.rpartition("/")[2] not in BESIDE)


class Phone(CountingGateway):
    """Its session can be lost; what it is asked to send meanwhile is in `refused`, and was not sent."""

    def __init__(self) -> None:
        super().__init__(delay=0.005)
        self.is_lost, self.refused, self.loses_at = False, 0, MESSAGES // 3

    async def answer(self, request: Request) -> Reply:
        if len(self.received) >= self.loses_at:
            self.is_lost, self.loses_at = True, 2 * MESSAGES
        if not self.is_lost:
            return await super().answer(request)
        if request.method == "GET":
            return Reply(body={"status": "FAILED"})
        self.refused += 1
        return LOST


def test_a_session_lost_in_the_middle_pauses_it_and_the_rest_goes_out_when_it_is_back(db, daemon, proxy):
    with Phone() as phone:
        workers = [
            daemon(SUPABASE_URL=proxy.url, GATEWAY="waha", WAHA_URL=phone.url, POLL_INTERVAL_SECONDS=2)
            for _ in range(DAEMONS)
        ]
        for worker in workers:
            worker.until_said("started")
        schedule_many(db, MESSAGES, connections=1)
        until(lambda: phone.is_lost, 60, "the session being lost")
        waiting = "select count(*) from scheduled_messages where waiting_reason like 'the connection is paused: %%'"
        until(lambda: one(db, "select count(*) from broadcast_jobs where status = 'sending'") == 0, 20)
        until(lambda: one(db, waiting) > 0, 20, "the front end being told why")
        dialled = phone.refused
        assert 1 <= dialled <= DAEMONS

        calls, end = asked(proxy), time.monotonic() + PAUSED_SECONDS
        until(lambda: time.monotonic() > end, PAUSED_SECONDS + 1)
        assert phone.refused == dialled
        # A poll is two calls; a few more for the probe and for telling the rows, none for each message.
        assert asked(proxy) - calls < DAEMONS * (2 * PAUSED_SECONDS / 2 + 6)

        phone.is_lost = False
        until(lambda: settled(db), 60, lambda: workers[0].text)

    assert statuses(db) == {"sent": MESSAGES}
    assert phone.repeated == {}
    assert len(phone.received) == MESSAGES
