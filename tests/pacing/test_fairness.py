"""Seats go round: neither a long queue nor a blocked one keeps others waiting. And a claim costs what it takes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.helpers.polling import until
from tests.helpers.rows import one
from tests.pacing.limiter import NOON, Queue

READ = "select sum(seq_tup_read) + sum(coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables"


def served(claimed):
    return {job["connection_id"] for job in claimed.jobs}


def test_a_long_queue_does_not_starve_those_with_one_message(queue, size):
    queue.add(size(100_000), "mall")
    for n in range(50):
        queue.add(1, f"stall-{n}", at=NOON + timedelta(seconds=1))
    later = NOON + timedelta(seconds=2)
    seen = set()
    for _ in range(4):
        claimed = queue.claim(later, seats=20)
        seen |= served(claimed)
    assert len(seen) == 51


@pytest.mark.parametrize("owner", [None, str(uuid4())], ids=["of nobody", "of one owner"])
def test_with_one_seat_connections_take_turns(queue, owner):
    for name in "abc":
        queue.add(10, name, owner=owner)
    order = [served(queue.claim(NOON + timedelta(seconds=n), seats=1)).pop() for n in range(1, 7)]
    assert order[:3] == order[3:]
    assert len(set(order)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"enabled": False},
        {"daily_limit": 0},
        {"window_start": "01:00", "window_end": "01:01"},
        {"messages": 1, "period_seconds": 3600},
    ],
)
def test_connections_that_may_not_send_take_no_seats(queue, settings):
    for n in range(30):
        queue.settings(f"quiet-{n}", **settings)
        queue.add(40, f"quiet-{n}")
    queue.add(20, "shop", at=NOON + timedelta(seconds=1))
    later, sent = NOON + timedelta(seconds=2), 0
    for _ in range(4):
        sent += sum(job["connection_id"] == "shop" for job in queue.claim(later, seats=20).jobs)
    assert sent == 20


MANY, FEW = str(uuid4()), str(uuid4())


@pytest.mark.parametrize("seats", [1, 2, 20])
def test_somebody_with_many_connections_does_not_starve_somebody_with_one(queue, seats):
    """The others wait longer already, a message each; whoever comes later is at most a claim or two behind."""
    for n in range(300):
        queue.add(1, f"stall-{n}", owner=MANY)
    queue.claim(NOON, seats=seats)
    queue.add(3, "shop", at=NOON + timedelta(seconds=1), owner=FEW)
    later = NOON + timedelta(seconds=2)
    found = [served(queue.claim(later + timedelta(seconds=n), seats=seats)) for n in range(2)]
    assert any("shop" in names for names in found)
    assert seats == 1 or all(len(names) > 1 for names in found)


def test_connections_of_nobody_are_each_their_own(queue):
    for n in range(100):
        queue.add(5, f"stall-{n}")
    seen = set()
    for n in range(5):
        seen |= served(queue.claim(NOON + timedelta(seconds=n), seats=20))
    assert len(seen) == 100


@pytest.mark.parametrize("seats", [1, 20])
def test_somebody_who_has_enough_of_the_caller_s_seats_is_passed_over_with_all_connections(queue, seats):
    for n in range(30):
        queue.add(2, f"stall-{n}", owner=MANY)
    queue.add(2, "shop", owner=FEW)
    sent = []
    while len(sent) < 2:
        claimed = queue.claim(NOON, seats=seats, busy=[MANY])
        sent += claimed.jobs
        assert served(claimed) == {"shop"}
    assert claimed.next_ready_at is None


def test_a_connection_that_is_busy_is_passed_over_with_one_seat_too(queue):
    for name in ("slow", "shop"):
        queue.add(2, name, owner=MANY if name == "slow" else FEW)
    assert [served(queue.claim(NOON, seats=1, busy=["slow"])) for _ in range(2)] == [{"shop"}, {"shop"}]


def test_everybody_is_found_however_many_they_are(queue):
    """A claim looks for two hundred others at most, from a different start each time."""
    queue.db.execute("insert into private.connection_state (connection_id, payer, ready_at)"
                     " select 'x' || n, md5(n::text), %s from generate_series(1, 1000) as n", (NOON,))  # fmt: skip
    seen = set()
    for _ in range(60):
        found = queue.db.execute(
            "select private.ready_of_others('{}', '{}', %s) as connection_id", (NOON + timedelta(seconds=1),)
        ).fetchall()
        assert len(found) <= 200
        seen |= {row["connection_id"] for row in found}
    assert len(seen) > 990


@pytest.mark.parametrize(
    "big",
    [
        "message = repeat('é', 8192), caption = repeat('é', 8192)", "message = repeat('é', 16384)",
        "message = '', caption = repeat('é', 16384)", "message = '', media = repeat('é', 16384)",
    ],
    ids=["text and caption", "text alone", "caption alone", "media alone"],
)  # fmt: skip
def test_a_claim_carries_eight_megabytes_at_most_and_the_next_one_the_rest(queue, big):
    for n in range(4):
        queue.add(100, f"shop-{n}")
    queue.db.execute(f"update broadcast_jobs set {big}")
    numbers = [len(queue.claim(NOON, seats=1000).jobs) for _ in range(3)]
    assert 200 < numbers[0] < 260
    assert sum(numbers) == 400


def test_a_claim_reads_no_column_that_is_none_of_its_business(queue):
    """Upstream keeps a QR code there; tens of megabytes made claims take a second. Here it cannot be read at all."""
    db = queue.db
    db.execute(
        """
        create type public.picture as enum ('qr');
        create function public.read_it(public.picture) returns json language plpgsql
        as $$ begin raise exception 'it was read'; end $$;
        create cast (public.picture as json) with function public.read_it(public.picture);
        alter table public.connections add column a_picture public.picture default 'qr';
        """
    )
    try:
        queue.add(5)
        with pytest.raises(psycopg.errors.RaiseException, match="it was read"):
            db.execute("select to_jsonb(c) from connections as c")
        claimed = queue.claim(NOON, gateway="bullmq")
        assert len(claimed.jobs) == 5
        assert claimed.jobs[0]["api_key"] == one(db, "select api_key from connections")
        db.execute("update connections set connected = false")
        assert queue.claim(NOON).jobs == []
    finally:
        db.execute("alter table public.connections drop column a_picture; drop type public.picture cascade")


def test_a_connection_that_has_enough_of_the_caller_s_seats_is_passed_over(queue):
    queue.add(10, "slow")
    queue.add(10, "shop")
    claimed = queue.claim(NOON, busy=["slow"])
    assert served(claimed) == {"shop"}
    assert claimed.next_ready_at is None
    assert served(queue.claim(NOON)) == {"slow"}


def test_a_blocked_connection_is_looked_at_once_not_at_every_claim(queue):
    queue.settings(enabled=False)
    queue.add(500)
    queue.claim(NOON)
    before = queue.state()
    for n in range(5):
        queue.add(1, "till", at=NOON + timedelta(seconds=n))
        queue.claim(NOON + timedelta(seconds=n))
    assert queue.state() == before


@pytest.fixture(params=["of empty tables", "of a quiet day"])
def stale_statistics(request, queue):
    db = queue.db
    if request.param == "of a quiet day":
        queue.add(2)
        db.execute("update scheduled_messages set status = 'sent', sent_at = now(), message_id = 'm'")
        db.execute("update broadcast_jobs set status = 'completed'")
    db.execute("analyze broadcast_jobs, scheduled_messages, broadcast_messages")
    db.execute("truncate broadcast_jobs, scheduled_messages, broadcast_messages, private.connection_state")


@pytest.mark.usefixtures("stale_statistics")
def test_a_claim_reads_no_table_from_end_to_end_whatever_the_statistics_say(queue, size):
    db = queue.db
    for n in range(10):
        queue.settings(f"shop-{n}", messages=80, period_seconds=1, recipient_interval_seconds=6, daily_limit=1000)
        queue.add(size(20_000), f"shop-{n}")
    for n in range(8):  # functions change to generic plans on their sixth call
        with db.transaction():
            before = one(db, READ)
            claimed = queue.claim(NOON + timedelta(minutes=n), seats=50)
            rows = one(db, READ) - before
    assert len(claimed.jobs) == 50
    assert rows < 12_000  # a thousand rows of the waiting ones are told when


@pytest.mark.usefixtures("stale_statistics")
def test_a_claim_that_tells_nothing_reads_little(queue, size):
    db = queue.db
    for n in range(10):
        queue.add(size(20_000), f"shop-{n}")
    for n in range(8):
        with db.transaction():
            before = one(db, READ)
            claimed = queue.claim(NOON + timedelta(minutes=n), seats=50)
            rows = one(db, READ) - before
    assert len(claimed.jobs) == 50
    assert rows < 50 * 12


def test_where_another_daemon_has_every_connection_a_claim_waits_for_its_turn_to_end(queue, stack):
    """With one connection and two daemons nobody would come twice for nothing, turn after turn."""
    queue.add(20)
    for _ in range(5):  # on a busy machine it may wait for longer than it has the patience for
        if claimed_behind(queue, stack["DATABASE_URL"]):
            return
    raise AssertionError("it did not wait")


def claimed_behind(queue: Queue, url: str) -> int:
    """How many jobs a claim gets that comes while another turn lasts, which ends as soon as somebody waits for it."""
    waits = (
        "select count(*) as n from pg_stat_activity where wait_event_type = 'Lock' and query like '%%claim_broadcast%%'"
    )
    with psycopg.connect(url) as turn, psycopg.connect(url, row_factory=dict_row) as other:
        turn.execute("select from private.connection_state for update")
        with ThreadPoolExecutor(1) as pool:
            claim = pool.submit(Queue(other).claim, NOON)
            until(lambda: claim.done() or one(queue.db, waits), 10)
            turn.rollback()
            return len(claim.result().jobs)


@pytest.mark.parametrize(
    ("gateway", "seats"),
    [("waha", 4), ("evolution", 4), ("wppconnect", 4), ("cloud", 20), ("bullmq", 5), ("mock", 20)],
)
def test_a_session_that_takes_one_message_at_a_time_is_given_few_seats(queue, gateway, seats):
    queue.add(30)
    assert len(queue.claim(NOON, gateway=gateway).jobs) == seats
    queue.settings("paced", messages=100, period_seconds=1, burst=100, gateway=gateway)
    queue.add(30, "paced")
    assert len(queue.claim(NOON, gateway=gateway, busy=["shop"]).jobs) == 20
