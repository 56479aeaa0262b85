"""Messages that stop a connection which its probe finds well: whose fault it is, who waits, who goes out meanwhile."""

from datetime import timedelta

import pytest

from tests.helpers.rows import one
from tests.pacing.limiter import Queue

WORDS = "The gateway does not know this session"


class Phone:
    """One connection's jobs, claimed and answered one claim after the other. Recipients in `bad` are refused."""

    def __init__(self, queue: Queue, *bad: str, is_well: bool = True) -> None:
        self.queue, self.db, self.bad, self.is_well = queue, queue.db, set(bad), is_well
        self.dialled: list[str] = []
        self.is_dead = False

    def add(self, *recipients: str) -> None:
        for name in recipients:
            self.queue.add(1, at=one(self.db, "select clock_timestamp()"), recipient=name)

    def claim(self, seats: int = 1) -> int:
        """Claims what there is and answers it; returns how many it was."""
        claimed = self.queue.claim(one(self.db, "select clock_timestamp()"), seats)
        if claimed.jobs:
            names = [job["recipient"] for job in claimed.jobs]
            self.dialled += names
            outcomes = ["stopped" if self.is_dead or name in self.bad else "sent" for name in names]
            self.queue.record(claimed, *outcomes, error=WORDS)
        return len(claimed.jobs)

    def claim_all(self, seats: int = 1) -> None:
        for _ in range(500):
            if not self.claim(seats):
                return
        raise AssertionError("it would be dialled again and again")

    def probe(self) -> None:
        """As soon as one is due: the time until then is not waited for."""
        self.db.execute("update private.connection_state set probe_at = now() where probe_at is not null")
        self.db.execute("update broadcast_jobs set available_at = now() where available_at > now()")
        self.db.execute("update private.connection_state set ready_at = now()")
        taken = "select json_agg(p ->> 'connection_id') from take_probes(), json_array_elements(probes) as p"
        found = one(self.db, taken)
        told = (found or [], []) if self.is_well else ([], found or [])
        self.db.execute("select finish_probes(%s::text[], %s::text[])", told)

    def drain(self, probes: int = 50, seats: int = 1) -> int:
        """Until nothing is left to do, or so many probes were made. Returns how many."""
        for made in range(probes):
            self.claim_all(seats)
            if not self.is_paused and not self.queue.waiting():
                return made
            self.probe()
        return probes

    @property
    def is_paused(self) -> bool:
        return self.queue.state()["paused_reason"] is not None

    def row(self, recipient: str) -> dict:
        found = self.db.execute("select * from scheduled_messages where contact_id = %s", (recipient,)).fetchone()
        assert found
        return found

    def statuses(self, *recipients: str) -> set[str]:
        return {self.row(name)["status"] for name in recipients}


PEOPLE = tuple(f"+9198000000{n:02d}" for n in range(20))


@pytest.mark.parametrize("seats", [1, 20])
@pytest.mark.parametrize("place", ["first", "middle", "last", "scattered"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_everybody_else_is_written_to_and_what_is_refused_twice_fails(queue, count, place, seats):
    groups = tuple(f"group-{n}@g.us" for n in range(count))
    where = {"first": 0, "middle": 10, "last": 20}.get(place)
    order = list(PEOPLE)
    for n, group in enumerate(groups):
        order.insert(where if where is not None else 1 + 4 * n, group)
    phone = Phone(queue, *groups)
    phone.add(*order)
    phone.drain(6, seats)
    phone.add("+919811111111")  # where they were last, somebody has to get through after them
    phone.drain(40, seats)
    assert phone.statuses(*PEOPLE, "+919811111111") == {"sent"}
    assert all(phone.dialled.count(name) == 1 for name in PEOPLE)
    assert phone.statuses(*groups) == {"failed"}
    assert all(2 <= phone.dialled.count(group) <= 8 for group in groups)
    assert not phone.is_paused
    for group in groups:
        assert phone.row(group)["error"] == (
            f"{WORDS}. But the connection is well, and others got through on it since this message was first refused: "
            "it is this message that the gateway does not take."
        )
        assert phone.row(group)["waiting_reason"] is None


def test_after_a_refusal_on_a_well_connection_the_others_go_first_and_the_row_says_so(queue):
    phone = Phone(queue, "group@g.us")
    phone.add("group@g.us", *PEOPLE)
    phone.claim()
    assert phone.is_paused
    phone.probe()
    assert not phone.is_paused
    row = phone.row("group@g.us")
    assert row["status"] == "processing"
    assert row["waiting_reason"].startswith(f"{WORDS}. But the connection seems well: the others go first")
    phone.claim_all()
    assert phone.dialled == ["group@g.us", *PEOPLE, "group@g.us"]
    assert phone.statuses("group@g.us") == {"processing"}  # the connection may have stopped just then
    phone.probe()
    assert phone.statuses("group@g.us") == {"failed"}


def test_what_stops_a_connection_that_is_really_stopped_keeps_its_place_and_its_tries(queue):
    phone = Phone(queue, is_well=False)
    phone.add(*PEOPLE)
    phone.is_dead = True
    for _ in range(10):
        assert phone.claim() <= 1
        phone.probe()
    assert phone.dialled == [PEOPLE[0]]
    phone.is_dead, phone.is_well = False, True
    phone.drain()
    assert phone.dialled == [PEOPLE[0], *PEOPLE]
    assert phone.statuses(*PEOPLE) == {"sent"}
    assert one(queue.db, "select max(attempts) from broadcast_jobs") == 1


def test_a_dead_session_whose_probe_says_well_is_dialled_once_a_probe_and_nothing_fails(queue):
    phone = Phone(queue)
    phone.add(*PEOPLE)
    phone.claim(5)
    phone.is_dead = True
    for _ in range(12):
        phone.claim_all(20)
        phone.probe()
    tries = len(phone.dialled) - 5
    assert 10 < tries <= 5 + 12 + 10  # one claim's at first, then one for each probe
    assert phone.statuses(*PEOPLE) == {"sent", "processing"}
    assert phone.is_paused
    # Of all but the one that was tried last, whoever that is.
    paused = f"the connection is paused: {WORDS}. Two messages in a row were refused so%"
    told = one(queue.db, "select count(*) from scheduled_messages where waiting_reason like %s", paused)
    assert told == one(queue.db, "select count(*) from scheduled_messages where status = 'processing'") - 1
    assert one(queue.db, "select max(attempts) from broadcast_jobs where status = 'queued'") == 0
    phone.is_dead = False
    phone.drain()
    assert phone.statuses(*PEOPLE) == {"sent"}


def test_in_doubt_one_message_is_tried_at_a_time_and_the_pauses_grow(queue):
    phone = Phone(queue)
    phone.is_dead = True
    phone.add(*PEOPLE)
    pauses = []
    for _ in range(9):
        phone.claim_all(20)
        sql = "select extract(epoch from probe_at - now())::float8 from private.connection_state"
        pauses.append(round(float(one(queue.db, sql))))
        before = len(phone.dialled)
        phone.probe()
        phone.claim(20)
        assert len(phone.dialled) - before <= 20 if before < 21 else 1
    assert pauses[-3:] == [128, 256, 300]


def test_who_is_tried_in_doubt_is_one_that_was_not_refused_yet(queue):
    phone = Phone(queue, "a@g.us", "b@g.us")
    phone.add("a@g.us", "b@g.us")
    for _ in range(6):
        phone.claim()
        phone.probe()
    assert phone.statuses("a@g.us", "b@g.us") == {"processing"}
    phone.claim()
    phone.add(PEOPLE[0])
    before = len(phone.dialled)
    phone.probe()
    phone.claim(20)
    assert phone.dialled[before:] == [PEOPLE[0]]
    assert not phone.is_paused


def test_alone_it_is_tried_again_at_growing_intervals_and_a_new_message_need_not_wait_for_it(queue):
    phone = Phone(queue, "group@g.us")
    phone.add("group@g.us")
    waits = []
    for _ in range(6):
        phone.claim()
        phone.probe()
        assert not phone.is_paused
        available = "select extract(epoch from available_at - now())::float8 from broadcast_jobs"
        waits.append(round(float(one(queue.db, available))))
        queue.db.execute("update broadcast_jobs set available_at = now()")
    assert waits == [0, 4, 8, 16, 32, 64]
    queue.db.execute("update broadcast_jobs set available_at = now() + interval '300 s'")
    phone.add(PEOPLE[0])
    phone.claim()
    assert phone.statuses(PEOPLE[0]) == {"sent"}
    phone.drain()
    assert phone.statuses("group@g.us") == {"failed"}


def test_what_was_on_its_way_before_the_refusal_does_not_prove_that_the_connection_is_well(queue):
    """The session died between two answers of the same claim."""
    phone = Phone(queue)
    phone.add(*PEOPLE[:4])
    early = queue.claim(one(queue.db, "select clock_timestamp()"), 2)
    late = queue.claim(one(queue.db, "select clock_timestamp()"), 1)
    queue.record(late, "stopped", error=WORDS)
    phone.probe()
    queue.record(early, "sent")
    assert queue.state()["through_at"] is None
    phone.is_dead = True
    for _ in range(3):
        phone.claim()
        phone.probe()
    assert "failed" not in phone.statuses(*PEOPLE[:4])


def test_what_its_owner_holds_is_judged_another_time_and_holds_nobody_up(queue, stack):
    import psycopg

    phone = Phone(queue, "group@g.us")
    phone.add("group@g.us", *PEOPLE)
    phone.claim()
    with psycopg.connect(stack["DATABASE_URL"]) as editor:
        editor.execute("select from scheduled_messages where contact_id = 'group@g.us' for update")
        queue.db.execute("set lock_timeout = '1s'")
        phone.probe()
        assert not phone.is_paused
    phone.drain()
    assert phone.statuses(*PEOPLE) == {"sent"}
    assert phone.statuses("group@g.us") == {"failed"}


def test_a_refused_message_that_is_cancelled_meanwhile_stays_cancelled(queue):
    phone = Phone(queue, "group@g.us")
    phone.add("group@g.us", *PEOPLE)
    phone.claim()
    queue.db.execute("update scheduled_messages set status = 'cancelled' where contact_id = 'group@g.us'")
    phone.drain()
    assert phone.statuses(*PEOPLE) == {"sent"}
    assert phone.statuses("group@g.us") == {"cancelled"}


@pytest.mark.parametrize("outcome", ["failed", "unconfirmed", "retry", "throttled_recipient", "released"])
def test_in_doubt_any_answer_but_another_stop_has_the_next_tried_at_once(queue, outcome):
    phone = Phone(queue)
    phone.is_dead = True
    phone.add(*PEOPLE)
    for _ in range(4):
        phone.claim()
        phone.probe()
    for _ in range(3):
        claimed = queue.claim(one(queue.db, "select clock_timestamp()"), 20)
        assert len(claimed.jobs) == 1
        queue.record(claimed, outcome, error="why", wait=60)
    assert phone.is_paused
    phone.is_dead = False
    phone.claim()
    assert not phone.is_paused


def test_a_try_whose_daemon_dies_is_made_again_after_its_lease(queue):
    phone = Phone(queue)
    phone.is_dead = True
    phone.add(*PEOPLE)
    for _ in range(4):
        phone.claim()
        phone.probe()
    assert len(queue.claim(one(queue.db, "select clock_timestamp()"), 20).jobs) == 1
    assert queue.claim(one(queue.db, "select clock_timestamp()"), 20).jobs == []
    left = "select probe_at - now() from private.connection_state"
    assert timedelta(seconds=55) < one(queue.db, left) <= timedelta(seconds=60)
    phone.is_dead = False
    phone.drain()
    assert not phone.is_paused


def test_a_change_of_the_settings_is_a_new_beginning(queue):
    phone = Phone(queue)
    phone.is_dead = True
    phone.add(*PEOPLE)
    for _ in range(4):
        phone.claim()
        phone.probe()
    assert phone.is_paused
    phone.is_dead = False
    queue.settings(sender="another")
    phone.probe()
    assert not phone.is_paused


def test_a_refused_try_does_not_count_for_the_day_and_takes_its_slot_alone(queue):
    queue.settings(daily_limit=20, messages=1, period_seconds=0.1)
    phone = Phone(queue, "group@g.us")
    phone.add("group@g.us", *PEOPLE)
    for _ in range(100):
        queue.db.execute("update private.connection_state set arrival_at = now() - interval '1 hour'")
        if not phone.claim() and not phone.is_paused:
            break
        if phone.is_paused:
            phone.probe()
    assert phone.statuses(*PEOPLE) == {"sent"}
    assert queue.state()["sent_today"] == 20


@pytest.mark.parametrize("outcome", ["throttled_recipient", "throttled_connection"])
def test_who_is_written_to_too_fast_is_not_first_again_at_once(queue, outcome):
    phone = Phone(queue)
    phone.add(*PEOPLE[:3])
    queue.record(queue.claim(one(queue.db, "select clock_timestamp()"), 1), outcome, error="too fast", wait=0)
    queue.db.execute("update private.connection_state set arrival_at = now(), throttled_until = null")
    claimed = queue.claim(one(queue.db, "select clock_timestamp()"), 20)
    assert [job["recipient"] for job in claimed.jobs] == list(PEOPLE[1:3])


@pytest.mark.parametrize("is_ill", [False, True], ids=["no", "yes"])
def test_what_was_refused_before_the_connection_was_really_ill_is_not_held_against_it(queue, is_ill):
    """Two in a row are doubt; where its gateway was away between the two they are no row."""
    phone = Phone(queue, "a@g.us", "b@g.us")
    phone.add("a@g.us")
    phone.claim()
    phone.probe()
    assert not phone.is_paused
    queue.db.execute("update broadcast_jobs set available_at = now() + interval '1 h' where status = 'queued'")
    if is_ill:
        phone.is_dead, phone.is_well = True, False
        phone.add(PEOPLE[0])
        phone.claim()
        phone.probe()
        phone.is_dead, phone.is_well = False, True
        phone.probe()
        queue.db.execute("update broadcast_jobs set available_at = now() + interval '1 h' where status = 'queued'")
    phone.add("b@g.us")
    phone.claim()
    assert phone.is_paused
    phone.probe()
    assert phone.is_paused == (not is_ill)
