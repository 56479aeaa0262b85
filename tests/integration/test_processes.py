"""Several daemons, killed and stopped ones, against a gateway that counts: no message twice, none lost, none stuck."""

import signal
import time

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import one, schedule_many, settled, statuses

CONCURRENCY = 20
LEASE = {"LEASE_SECONDS": 5, "POLL_INTERVAL_SECONDS": 1, "CONCURRENCY": CONCURRENCY}
STOP = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


def test_two_daemons_on_the_same_rows_send_no_message_twice(db, daemon, size):
    count = size(5000)
    schedule_many(db, count, connections=40)
    with CountingGateway(delay=0.01) as gateway:
        workers = [daemon(GATEWAY="waha", WAHA_URL=gateway.url, CONCURRENCY=100) for _ in range(2)]
        until(lambda: settled(db), 120, "all rows settled")

    assert statuses(db) == {"sent": count}
    assert len(gateway.counts) == count
    assert gateway.repeated == {}
    assert all(worker.said("sent") for worker in workers), "one of them had nothing to do"


def test_killed_in_the_middle_and_started_again_nothing_is_lost_stuck_or_sent_twice(db, daemon, size):
    count = size(2000)
    schedule_many(db, count, connections=40)
    with CountingGateway(delay=0.1) as gateway:
        reach = {"GATEWAY": "waha", "WAHA_URL": gateway.url, **LEASE}
        killed = daemon(**reach)
        until(lambda: len(gateway.received) > count // 3, 60, "a third being sent")
        killed.kill()
        daemon(**reach)
        until(lambda: settled(db), 120, "all rows settled")

    assert gateway.repeated == {}
    found = statuses(db)
    assert found.pop("unconfirmed", 0) <= 2 * CONCURRENCY
    assert set(found) == {"sent"}
    assert one(db, "select count(*) from broadcast_jobs where status in ('queued', 'sending')") == 0
    assert one(db, "select count(*) from scheduled_messages where status = 'unconfirmed' and error is null") == 0


def test_every_message_that_was_left_in_doubt_had_reached_the_gateway_or_nobody(db, daemon):
    """What is unconfirmed after a kill was being sent; all else was sent once."""
    schedule_many(db, 60, connections=40)
    with CountingGateway(delay=0.5) as gateway:
        reach = {"GATEWAY": "waha", "WAHA_URL": gateway.url, **LEASE}
        killed = daemon(**reach)
        until(lambda: gateway.in_flight >= 10, 30, "ten in flight")
        killed.kill()
        daemon(**reach)
        until(lambda: settled(db), 60, "all rows settled")

    assert set(statuses(db)) == {"sent", "unconfirmed"}
    sent = db.execute("select contact_id from scheduled_messages where status = 'sent'").fetchall()
    assert all(gateway.counts[row["contact_id"].lstrip("+") + "@c.us"] == 1 for row in sent)
    assert gateway.repeated == {}


@pytest.mark.parametrize("sig", STOP)
def test_a_signal_lets_it_finish_what_is_in_flight_and_hand_back_the_rest(db, daemon, sig):
    schedule_many(db, 100, connections=5)
    with CountingGateway(delay=1) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url, CONCURRENCY=CONCURRENCY)
        until(lambda: gateway.in_flight == 5, 15, "five being sent")
        assert worker.stop(sig) == 0, worker.text

    found = statuses(db)
    assert found["sent"] == len(gateway.received) < 100
    assert set(found) <= {"sent", "processing", "pending"}
    assert one(db, "select count(*) from broadcast_jobs where status = 'sending'") == 0
    assert one(db, "select count(*) from broadcast_jobs where status = 'queued' and attempts > 0") == 0
    assert worker.said("stopped")


@pytest.mark.parametrize("sig", STOP[:2])
def test_a_second_signal_ends_it_at_once(db, daemon, sig):
    schedule_many(db, 5, connections=5)
    with CountingGateway(delay=20) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: gateway.in_flight, 15, "a message being sent")
        worker.process.send_signal(sig)
        worker.until_said("stopping")
        started = time.monotonic()
        assert worker.stop(sig) == 1
        assert time.monotonic() - started < 2


def test_other_signals_do_no_harm(db, daemon):
    with CountingGateway(delay=1) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        worker.until_said("started")
        schedule_many(db, 5, connections=5)
        until(lambda: gateway.in_flight == 5, 15, "five being sent")
        for sig in (signal.SIGUSR1, signal.SIGUSR2):
            worker.process.send_signal(sig)
        until(lambda: settled(db), 15, "all rows settled")

    assert statuses(db) == {"sent": 5}
    assert worker.process.poll() is None, worker.text


def test_a_drain_that_takes_too_long_leaves_its_messages_unconfirmed_and_exits_0(db, daemon):
    schedule_many(db, 5, connections=5)
    with CountingGateway(delay=20) as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url, DRAIN_SECONDS=1)
        until(lambda: gateway.in_flight == 5, 15, "all being sent")
        assert worker.stop() == 0, worker.text

    assert statuses(db) == {"unconfirmed": 5}
    assert one(db, "select count(*) from scheduled_messages where error like 'It may have been sent%%'") == 5


def test_a_daemon_takes_over_what_another_left_queued(db, daemon):
    schedule_many(db, 100, connections=5)
    with CountingGateway(delay=0.2) as gateway:
        reach = {"GATEWAY": "waha", "WAHA_URL": gateway.url, "CONCURRENCY": CONCURRENCY}
        first = daemon(**reach)
        until(lambda: len(gateway.received) >= 10, 15, "ten being sent")
        assert first.stop() == 0
        daemon(**reach)
        until(lambda: settled(db), 60, "all rows settled")

    assert statuses(db) == {"sent": 100}
    assert gateway.repeated == {}
