"""Supabase away, slow, forgetful or mad: the daemon says so once, waits, and goes on by itself."""

import pytest

from tests.helpers import proxy as faults
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.rows import add_connections, message, schedule, schedule_many, settled, statuses

DOWN, UP = "Supabase does not answer; waiting for it", "Supabase answers again"
PAGE = "<html><body>Bad gateway</body></html>"
MAD = {
    "a page with 502": faults.answering(Reply(502, PAGE)),
    "a page with 200": faults.answering(Reply(200, PAGE)),
    "an empty 200": faults.answering(Reply(200, "")),
    "a 500 without a code": faults.answering(Reply(500, {"error": "boom"})),
    "JSON of another shape": faults.answering(Reply(200, {"surprise": True})),
    "half an answer": faults.truncated,
    "JSON cut in two": faults.halved,
    "a closed connection": faults.forgetful,
}


def test_unreachable_at_the_start_it_waits_says_so_once_and_then_works(db, daemon, proxy):
    add_connections(db, "shop")
    row = schedule(db)
    proxy.cut()

    worker = daemon(SUPABASE_URL=proxy.url)
    worker.until_said(DOWN)
    proxy.restore()

    until(lambda: message(db, row)["status"] == "sent", 45, lambda: worker.text)
    assert len(worker.said(DOWN)) == len(worker.said(UP)) == 1
    assert worker.said(UP)[0]["after_seconds"] >= 0


def test_cut_off_in_the_middle_it_loses_nothing_and_sends_nothing_twice(db, daemon, proxy):
    schedule_many(db, 100, connections=20)
    with CountingGateway(delay=0.2) as gateway:
        worker = daemon(SUPABASE_URL=proxy.url, GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: len(gateway.received) >= 20, 20, "twenty being sent")
        proxy.cut()
        worker.until_said(DOWN)
        proxy.restore()
        until(lambda: settled(db), 60, lambda: worker.text)

    assert statuses(db) == {"sent": 100}
    assert gateway.repeated == {}
    assert worker.process.poll() is None, "it needed a restart"


def test_it_outlives_every_kind_of_nonsense(db, daemon, proxy):
    add_connections(db, "shop")
    worker = daemon(SUPABASE_URL=proxy.url)
    worker.until_said("started")
    for name, fault in MAD.items():
        said = len(worker.said(DOWN))
        proxy.fault = fault
        until(lambda said=said: len(worker.said(DOWN)) > said, 15, f"{name} being noticed:\n{worker.text}")
        row = schedule(db)
        proxy.fault = None
        until(lambda row=row: message(db, row)["status"] == "sent", 30, f"{name} being over:\n{worker.text}")

    assert worker.process.poll() is None, "it needed a restart"


@pytest.mark.parametrize("call", ["enqueue_broadcast_jobs", "claim_broadcast_jobs", "record_outcomes"])
def test_a_reply_that_is_lost_after_the_commit_does_no_harm(db, daemon, proxy, call):
    schedule_many(db, 20, connections=20)
    proxy.fault = faults.only(f"rpc/{call}", faults.forgetful, times=2)
    with CountingGateway() as gateway:
        worker = daemon(SUPABASE_URL=proxy.url, GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: settled(db), 60, lambda: worker.text)

    assert statuses(db) == {"sent": 20}
    assert gateway.repeated == {}
    assert len(gateway.counts) == 20


def test_a_slow_supabase_only_slows_it_down(db, daemon, proxy):
    schedule_many(db, 20, connections=20)
    proxy.fault = faults.slow(0.5)

    worker = daemon(SUPABASE_URL=proxy.url)

    until(lambda: settled(db), 60, lambda: worker.text)
    assert statuses(db) == {"sent": 20}
    assert not worker.said(DOWN)
