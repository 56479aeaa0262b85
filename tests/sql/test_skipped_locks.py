"""What somebody else holds is passed over: every call of the daemon's goes on with the rest, and waits for nobody.

Here a call that waits at all would wait for ever, since its `lock_timeout` is taken away.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.rows import Database, message, one
from tests.integration.test_locks import holding
from tests.pacing.limiter import NOON, Queue
from tests.sql.states import job_of, row_in, status
from tests.sql.test_lost_rights import enqueue

PATIENCE = """
select p.oid::regprocedure::text as name, substr(c.setting, 14) as timeout
from pg_proc as p cross join unnest(p.proconfig) as c (setting)
where p.pronamespace = 'public'::regnamespace and c.setting like 'lock_timeout=%'
"""


@pytest.fixture(autouse=True)
def patience(db: Database) -> Iterator[None]:
    """A statement that is ended after ten seconds has waited: that is no row's fault, and nothing hides it."""
    found = db.execute(PATIENCE).fetchall()
    assert found
    for call in found:
        db.execute(f"alter function {call['name']} set lock_timeout = 0")
    db.execute("set lock_timeout = 0; set statement_timeout = '10s'")
    yield
    for call in found:
        db.execute(f"alter function {call['name']} set lock_timeout = '{call['timeout']}'")


@pytest.fixture
def queue(db: Database) -> Queue:
    return Queue(db)


@pytest.fixture
def hold(stack: dict[str, str]) -> Any:
    """with hold("broadcast_jobs", "status = 'queued'"): a transaction that stays open has locked those."""
    return lambda table, where: holding(stack, f"select from {table} where {where} for update")


def ready(queue: Queue) -> None:
    queue.db.execute("update private.connection_state set ready_at = %s", (NOON,))


@pytest.mark.parametrize("seats", [1, 2, 20])
def test_a_claim_goes_on_with_the_other_connections(queue, hold, seats):
    for name in ("held", "free", "third"):
        queue.add(2, name)
    with hold("private.connection_state", "connection_id = 'held'"):
        names = list[str]()
        while len(names) < 4:  # one that finds nothing else waits for its turn
            jobs = queue.claim(NOON, seats=seats).jobs
            assert jobs
            names += [job["connection_id"] for job in jobs]
    assert sorted(names) == ["free"] * 2 + ["third"] * 2


def test_a_claim_with_few_seats_that_looks_for_others_passes_over_whom_somebody_holds(queue, hold):
    for name, owner in (("shop", None), ("held", "4c6fe6f0-1b47-4ba1-9d4e-2a3d7e1a1111"), ("free", None)):
        queue.add(3, name, owner=owner)
    queue.db.execute(
        "update private.connection_state set ready_at = ready_at - interval '1 s' where connection_id = 'shop'"
    )
    with hold("private.connection_state", "connection_id = 'held'"):
        claims = [queue.claim(NOON, seats=1).jobs for _ in range(4)]
    assert {job["connection_id"] for jobs in claims for job in jobs} == {"shop", "free"}


def test_a_claim_goes_on_with_the_other_jobs(queue, hold):
    queue.add(3)
    held = queue.rows()[1]["broadcast_job_id"]
    with hold("broadcast_jobs", f"id = '{held}'"):
        found = {job["id"] for job in queue.claim(NOON).jobs}
        assert len(found) == 2
        assert str(held) not in found
    ready(queue)
    assert [job["id"] for job in queue.claim(NOON).jobs] == [str(held)]


@pytest.mark.parametrize("why", ["its recipient", "its connection"])
def test_a_row_that_cannot_be_told_why_it_waits_is_left_untold(queue, hold, why):
    gateway = "cloud" if why == "its recipient" else "mock"
    if why == "its connection":
        queue.settings(enabled=False)
    queue.add(3, recipient="+919876500000")
    held = queue.rows()[1]["id"]
    with hold("scheduled_messages", f"id = '{held}'"):
        queue.claim(NOON, gateway=gateway)
    told = [row["waiting_reason"] is not None for row in queue.rows() if row["job_status"] == "queued"]
    assert told.count(False) == 1
    assert told.count(True) == (1 if why == "its recipient" else 2)


@pytest.mark.parametrize("call", ["a claim", "the rescue"])
def test_recipients_of_long_ago_that_somebody_holds_are_forgotten_another_time(queue, hold, call):
    old = "insert into private.recipient_state (connection_id, recipient, free_at) values ('x', %s, '2026-01-01')"
    for recipient in ("held", "free"):
        queue.db.execute(old, (recipient,))
    queue.add(1)
    with hold("private.recipient_state", "recipient = 'held'"):
        queue.claim(NOON) if call == "a claim" else queue.db.execute("select rescue_broadcast_jobs()")
    assert one(queue.db, "select array_agg(recipient) from private.recipient_state") == ["held"]


def test_beyond_a_limit_the_others_fail(queue, hold):
    queue.settings(daily_limit=0, at_daily_limit="fail")
    queue.add(3)
    held = queue.rows()[1]["broadcast_job_id"]
    with hold("broadcast_jobs", f"id = '{held}'"):
        queue.claim(NOON)
    assert [row["broadcast_job_id"] for row in queue.rows() if row["job_status"] == "queued"] == [held]


def test_an_answer_frees_what_waits_for_its_recipient_unless_somebody_holds_it(queue, hold):
    now = one(queue.db, "select now()")
    queue.add(2, at=now, recipient="+919876500000")
    claimed = queue.claim(now, gateway="cloud")
    [held] = [row["broadcast_job_id"] for row in queue.rows() if row["job_status"] == "queued"]
    with hold("broadcast_jobs", f"id = '{held}'"):
        queue.record(claimed, "failed", error="why")
    waits = "select available_at > now() from broadcast_jobs where id = %s"
    assert one(queue.db, waits, held)
    assert {row["status"] for row in queue.rows()} == {"failed", "processing"}


def test_due_rows_that_nobody_holds_are_enqueued(db, tenants, hold):
    mine = tenants[0]
    rows = [row_in(db, "pending", mine.connection_id, mine.id) for _ in range(3)]
    with hold("scheduled_messages", f"id = '{rows[1]}'"):
        enqueue(db, *rows)
    assert [status(db, row) for row in rows] == ["processing", "pending", "processing"]


@pytest.mark.parametrize("table", ["broadcast_jobs", "scheduled_messages", "broadcast_messages"])
def test_an_earlier_occurrence_that_somebody_holds_is_not_superseded_and_the_next_goes_out(db, tenants, hold, table):
    mine = tenants[0]
    found, last = {}, {"occurrence_at": "2026-01-01T00:00:00Z"}
    for name in ("held", "free"):
        series = {"series_id": one(db, "select gen_random_uuid()::text"), "series_anchor": "2025-12-31"}
        series |= {"is_recurring": True, "recurrence_pattern": "daily", "timezone": "UTC"}
        earlier = row_in(db, "waiting", mine.connection_id, mine.id, **series, occurrence_at="2025-12-31T00:00:00Z")
        db.execute(
            "update broadcast_jobs set series_id = %s where scheduled_message_id = %s", (series["series_id"], earlier)
        )
        found[name] = earlier, row_in(db, "pending", mine.connection_id, mine.id, **series | last)
    key = "id" if table == "scheduled_messages" else "scheduled_message_id"
    with hold(table, f"{key} = '{found['held'][0]}'"):
        enqueue(db, *(later for _, later in found.values()))
        assert [status(db, later) for _, later in found.values()] == ["processing"] * 2
        assert [job_of(db, earlier)["status"] for earlier, _ in found.values()] == ["queued", "cancelled"]
    assert message(db, found["free"][0])["error"].startswith("Superseded")


LATE = {
    "a lease that has ended": ("sending", "lease_until = now() - interval '1 s'", "unconfirmed"),
    "a job that is too late": ("waiting", "expires_at = now() - interval '1 s'", "failed"),
}


@pytest.mark.parametrize("what", LATE)
def test_the_rescue_goes_on_with_the_other_jobs(db, tenants, hold, what):
    state, change, becomes = LATE[what]
    held, free = (row_in(db, state, tenants[0].connection_id, tenants[0].id) for _ in range(2))
    db.execute(f"update broadcast_jobs set {change}")
    with hold("broadcast_jobs", f"scheduled_message_id = '{held}'"):
        db.execute("select rescue_broadcast_jobs()")
        assert [status(db, row) for row in (held, free)] == ["processing", becomes]
    db.execute("select rescue_broadcast_jobs()")
    assert status(db, held) == becomes


@pytest.mark.parametrize("step", ["note", "enqueue"])
def test_the_rescue_goes_on_with_what_was_put_aside(db, hold, step):
    """Two daemons that look at once share them."""
    db.execute(
        "insert into private.refused_rows (step, id, code, reason, again_at, connection_id, outcome)"
        " select %s, gen_random_uuid(), '55P03', reason, now(), 'x', '[]' from unnest(array['held', 'free']) as reason",
        (step,),
    )
    with hold("private.refused_rows", "reason = 'held'"):
        db.execute("select rescue_broadcast_jobs()")
        assert one(db, "select array_agg(reason) from private.refused_rows") == ["held"]
    db.execute("select rescue_broadcast_jobs()")
    assert one(db, "select count(*) from private.refused_rows") == 0


@pytest.mark.parametrize("table", ["private.erasures", "broadcast_jobs", "broadcast_messages"])
def test_the_rescue_erases_the_others(db, tenants, service, hold, table):
    rows = [row_in(db, "sending", tenants[0].connection_id, tenants[0].id) for _ in range(2)]
    held, free = (job_of(db, row)["id"] for row in rows)
    for row in rows:
        service.delete("/scheduled_messages", params={"id": f"eq.{row}"}).raise_for_status()
    db.execute("update broadcast_jobs set status = 'completed', completed_at = now()")
    key = "id" if table == "broadcast_jobs" else "job_id"
    with hold(table, f"{key} = '{held}'"):
        db.execute("select rescue_broadcast_jobs()")
        assert one(db, "select array_agg(id) from broadcast_jobs") == [held]
    db.execute("update private.erasures set again_at = now()")
    db.execute("select rescue_broadcast_jobs()")
    assert one(db, "select count(*) from broadcast_jobs") == 0
    assert free != held


@pytest.mark.parametrize("table", ["broadcast_jobs", "broadcast_messages"])
@pytest.mark.parametrize("how", ["a deletion", "an edit"])
def test_a_row_goes_though_somebody_holds_what_its_job_leaves_behind(db, tenants, hold, table, how):
    mine = tenants[0]
    row = row_in(db, "failed", mine.connection_id, mine.id, message="Secret")
    key = "id" if table == "broadcast_jobs" else "job_id"
    job = job_of(db, row)["id"]
    with hold(table, f"{key} = '{job}'"):
        if how == "a deletion":
            mine.delete(row)
        else:
            mine.update(row, status="pending")
        assert one(db, "select job_id from private.erasures") == job
    db.execute("update private.erasures set again_at = now()")
    db.execute("select rescue_broadcast_jobs()")
    assert one(db, "select count(*) from broadcast_jobs") == 0


def test_withdrawn_jobs_that_nobody_holds_are_told(db, tenants, hold):
    rows = [row_in(db, "cancelled", tenants[0].connection_id, tenants[0].id) for _ in range(2)]
    db.execute("update broadcast_jobs set gateway = 'bullmq', lease_until = now() - interval '1 s'")
    held, free = (job_of(db, row)["id"] for row in rows)
    taken = "select array(select t.id from take_withdrawn_jobs() as t)"
    with hold("broadcast_jobs", f"id = '{held}'"):
        assert one(db, taken) == [free]
    assert one(db, taken) == [held]


# Probes.


def stopped(queue: Queue, *connections: str) -> None:
    """Each has been stopped by a message; their probes are due."""
    now = one(queue.db, "select now()")
    for connection in connections:
        queue.add(1, connection, at=now)
        queue.record(queue.claim(now), "stopped", error="away", wait=0)
    queue.db.execute("update private.connection_state set probe_at = now() - interval '1 s'")


def guilty(queue: Queue) -> None:
    """Each of those messages had been refused before, and others got through since."""
    queue.db.execute("update broadcast_jobs set refused_at = now() - interval '1 min', refusals = 1")
    queue.db.execute("update private.connection_state set through_at = now()")


def paused(db: Database) -> list[str]:
    sql = "select coalesce(array_agg(connection_id order by 1), '{}') from private.connection_state"
    return list(one(db, f"{sql} where paused_reason is not null"))


TAKEN = "select array(select p ->> 'connection_id' from take_probes(), json_array_elements(probes) as p)"


def test_a_connection_that_another_daemon_is_taking_is_left_to_it(queue, stack):
    stopped(queue, "held", "free")
    with holding(stack, "select take_probes(1)"):
        assert len(one(queue.db, TAKEN)) == 1
    assert len(one(queue.db, TAKEN)) == 1
    assert one(queue.db, TAKEN) == []


def test_a_connection_that_is_well_but_held_is_looked_at_again_and_the_others_go_on(queue, hold):
    stopped(queue, "held", "free", "not asked")
    guilty(queue)
    with hold("private.connection_state", "connection_id = 'held'"):
        back = one(queue.db, "select back from finish_probes(array['free', 'held'], '{}')")
    assert (back, paused(queue.db)) == (["free"], ["held", "not asked"])
    judged = [queue.rows(name)[0]["job_status"] for name in ("held", "free", "not asked")]
    assert judged == ["queued", "failed", "queued"]


@pytest.mark.parametrize("table", ["broadcast_jobs", "scheduled_messages", "broadcast_messages"])
def test_a_message_that_cannot_be_judged_now_is_tried_once_more_and_its_connection_goes_on(queue, hold, table):
    stopped(queue, "held", "free")
    others = {}
    for name in ("held", "free"):
        [row] = queue.rows(name)
        others[name] = row["broadcast_job_id"]
    guilty(queue)
    key = {"broadcast_jobs": "id", "scheduled_messages": "broadcast_job_id", "broadcast_messages": "job_id"}[table]
    with hold(table, f"{key} = '{others['held']}'"):
        back = one(queue.db, "select back from finish_probes(array['free', 'held'], '{}')")
        assert (sorted(back), paused(queue.db)) == (["free", "held"], [])
    assert [queue.rows(name)[0]["job_status"] for name in ("held", "free")] == ["queued", "failed"]


def test_a_new_message_is_announced_to_all_connections_but_the_one_that_is_held(queue, hold):
    """That one hears of it within a second, when nobody holds it any more."""
    queue.add(1, "held", at=NOON), queue.add(1, "free", at=NOON)
    queue.db.execute("update private.connection_state set ready_at = 'infinity'")
    queue.db.execute("set lock_timeout = '50ms'")
    with hold("private.connection_state", "connection_id = 'held'"):
        queue.db.execute("select private.announce_work(array['held', 'free'], array[now(), now()])")
    found = "select connection_id from private.connection_state where ready_at < 'infinity'"
    assert one(queue.db, found) == "free"
    assert one(queue.db, "select next_expiry_at - now() between '0 s' and '1 s' from get_agenda(60)")
    queue.db.execute("update private.refused_rows set again_at = now()")
    queue.db.execute("select rescue_broadcast_jobs()")
    assert len(queue.db.execute(found).fetchall()) == 2
