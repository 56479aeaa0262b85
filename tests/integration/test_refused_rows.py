"""A row that the database refuses is found in the call that meets it: it alone fails or waits, all others go on."""

import psycopg
import pytest

from tests.helpers.calls import p_rows, record
from tests.helpers.foreign import having, lift, refusing
from tests.helpers.rows import add_connections, message, one, schedule, schedule_many, statuses
from tests.sql.states import job_of, row_in
from tests.sql.test_lost_rights import enqueue

POISON = "Poison"
DAILY = {"is_recurring": True, "recurrence_pattern": "daily"}
# What a trigger of a project's own may raise: without a code, with one of our style, one of its own, a constraint's.
FAULTS = ["P0001", "PT409", "U0001", "23514", "22000"]
# What is not the row's fault, though it is met with one row alone.
CIRCUMSTANCES = ["42501", "42703", "55000", "0A000", "XX000"]
STATUS_CHECK = """
alter table scheduled_messages add constraint own_status
check (status in ('pending', 'processing', 'sent', 'failed')) not valid
"""


async def go(parts) -> None:
    """One pass, as `once` makes it."""
    await parts.rescue.rescue()
    await parts.scheduler.poll()
    await parts.dispatcher.send_all()


def calls(proxy, name: str) -> int:
    return proxy.calls[f"/rest/v1/rpc/{name}"]


@pytest.mark.parametrize("code", FAULTS)
async def test_what_may_not_be_sent_fails_with_the_projects_own_words(db, parts, proxy, code):
    schedule_many(db, 20, connections=4)
    poison = [schedule(db, connection_id=f"shop-{n}", message=POISON) for n in range(3)]
    daemon = await parts(supabase_url=proxy.url)

    with refusing(db, "scheduled_messages", "new.message = 'Poison' and new.status = 'processing'", code):
        await go(daemon)

    assert calls(proxy, "enqueue_broadcast_jobs") == 1
    assert statuses(db) == {"sent": 20, "failed": 3}
    for row in poison:
        assert message(db, row)["error"] == "The database refused to schedule this message: our own rule"


@pytest.mark.parametrize("code", [*FAULTS, *CIRCUMSTANCES])
async def test_what_can_not_even_fail_is_put_aside_and_shown_and_tried_again(db, parts, proxy, code):
    schedule_many(db, 10, connections=4)
    poison = schedule(db, connection_id="shop-0", message=POISON, **DAILY)
    daemon = await parts(supabase_url=proxy.url)

    with refusing(db, "scheduled_messages", "new.message = 'Poison'", code, on="update"):
        await go(daemon)
        before = calls(proxy, "enqueue_broadcast_jobs")
        await go(daemon)
        assert statuses(db) == {"sent": 10, "pending": 1}
        assert calls(proxy, "enqueue_broadcast_jobs") - before <= 1
        [shown] = (await daemon.store.get_status(600)).refused
    assert shown.id == poison
    assert (shown.step, shown.code, shown.reason, shown.tries) == ("enqueue", code, "our own rule", 1)

    db.execute("update private.refused_rows set again_at = now()")
    await go(daemon)
    assert message(db, poison)["status"] == "sent"
    await daemon.rescue.rescue()
    assert not (await daemon.store.get_status(600)).refused


async def test_it_is_told_when_it_is_tried_again_and_that_is_ever_later(db, parts):
    add_connections(db, "shop")
    schedule(db, message=POISON)
    daemon = await parts()
    waits = []
    with refusing(db, "scheduled_messages", "new.message = 'Poison'", on="update"):
        for _ in range(12):
            await daemon.scheduler.poll()
            waits.append(round(one(db, "select extract(epoch from again_at - now()) from private.refused_rows")))
            db.execute("update private.refused_rows set again_at = now()")

    assert waits == sorted(waits)
    assert waits[:3] == [10, 20, 40]
    assert waits[-1] == 3600


async def test_a_series_whose_next_message_is_refused_says_so_on_the_last_one_which_is_sent(db, parts):
    add_connections(db, "shop")
    row = schedule(db, **DAILY)
    daemon = await parts()

    with refusing(db, "scheduled_messages", "new.is_recurring", on="insert"):
        await go(daemon)

    assert statuses(db) == {"sent": 1}
    assert message(db, row)["error"].startswith("The series ends with this message")
    assert message(db, row)["error"].endswith("our own rule")


async def test_half_a_batch_of_poison_is_found_in_one_call(db, parts, proxy, size):
    number = size(1000) // 2
    schedule_many(db, 2 * number, connections=10)
    db.execute(
        "update scheduled_messages set message = 'Poison' where id in (select id from scheduled_messages limit %s)",
        (number,),
    )
    daemon = await parts(supabase_url=proxy.url, batch_size=1000)

    with refusing(db, "scheduled_messages", "new.message = 'Poison' and new.status = 'processing'"):
        await daemon.scheduler.poll()

    assert calls(proxy, "enqueue_broadcast_jobs") == 1
    assert statuses(db) == {"processing": number, "failed": number}


@pytest.mark.parametrize("code", [*FAULTS, *CIRCUMSTANCES])
async def test_a_job_that_cannot_be_taken_is_passed_over(db, parts, code):
    add_connections(db, "shop", "other")
    for n in range(6):
        schedule(db, connection_id="other" if n == 5 else "shop")
        schedule(db, connection_id="shop", message=POISON if n == 1 else "Hello")
    daemon = await parts()

    with refusing(db, "broadcast_jobs", "new.message = 'Poison' and new.status = 'sending'", code):
        await go(daemon)
        assert statuses(db) == {"sent": 11, "processing": 1}
        [shown] = (await daemon.store.get_status(600)).refused
        assert (shown.step, shown.code) == ("claim", code)
        told = "select next_ready_at from claim_broadcast_jobs(gen_random_uuid(), 20, 60)"
        assert one(db, told) == one(db, "select again_at from private.refused_rows"), "a daemon comes for it then"

    db.execute("update private.refused_rows set again_at = now()")
    db.execute("update private.connection_state set ready_at = now()")
    await go(daemon)
    assert statuses(db) == {"sent": 12}


async def test_rows_that_refuse_to_be_told_why_they_wait_are_sent_all_the_same(db, parts):
    add_connections(db, "shop")
    db.execute("insert into connection_settings (connection_id, messages, period_seconds) values ('shop', 1, 0.2)")
    for _ in range(3):
        schedule(db)
    daemon = await parts()

    with refusing(db, "scheduled_messages", "new.waiting_reason is not null", on="update"):
        await go(daemon)
        while statuses(db) != {"sent": 3}:
            db.execute("update private.connection_state set arrival_at = now()")
            await daemon.dispatcher.send_all()


@pytest.mark.parametrize("table", ["broadcast_jobs", "broadcast_messages"])
@pytest.mark.parametrize("code", ["P0001", "42501"])
async def test_an_outcome_that_cannot_be_written_is_kept_until_it_can_and_the_message_goes_out_once(
    db, parts, table, code
):
    schedule_many(db, 10, connections=1)
    poison = schedule(db, connection_id="shop-0", message=POISON)
    daemon = await parts()

    with refusing(db, table, "new.message = 'Poison' and new.status in ('completed', 'sent', 'unconfirmed')", code):
        await go(daemon)
        db.execute("update broadcast_jobs set lease_until = now() - interval '1 s' where status = 'sending'")
        await go(daemon)
        assert statuses(db) == {"sent": 10, "processing": 1}
        assert [(r.step, r.id) for r in (await daemon.store.get_status(600)).refused] == [("record", poison)]
        db.execute("update private.refused_rows set again_at = now()")
        await go(daemon)
        again = (await daemon.store.get_status(600)).refused
        assert [(r.step, r.id, r.tries) for r in again] == [("record", poison, 2)], "it is tried, and kept"

    db.execute("update private.refused_rows set again_at = now()")
    await go(daemon)
    assert message(db, poison)["status"] == "sent"
    assert job_of(db, poison)["attempts"] == 1
    assert not one(db, "select count(*) from private.refused_rows")


async def test_a_status_that_the_projects_check_does_not_know_stops_no_rescue(db, parts):
    add_connections(db, "shop")
    with having(db, STATUS_CHECK, "alter table scheduled_messages drop constraint own_status"):
        late = [row_in(db, "sending", "shop", None) for _ in range(3)]
        expired = row_in(db, "waiting", "shop", None)
        db.execute("update broadcast_jobs set lease_until = now() - interval '1 s' where status = 'sending'")
        db.execute("update broadcast_jobs set expires_at = now() - interval '1 s' where status = 'queued'")
        daemon = await parts()

        await daemon.rescue.rescue()

        assert {job_of(db, row)["status"] for row in late} == {"unconfirmed"}
        assert message(db, expired)["status"] == "failed"
        shown = (await daemon.store.get_status(600)).refused
        assert [(row.step, row.code) for row in shown] == [("settle", "23514")] * 3

        db.execute("alter table scheduled_messages drop constraint own_status")
        db.execute("update private.refused_rows set again_at = now()")
        await daemon.rescue.rescue()
        assert {message(db, row)["status"] for row in late} == {"unconfirmed"}
        assert not one(db, "select count(*) from private.refused_rows")
        db.execute(STATUS_CHECK)


async def test_an_error_that_the_projects_check_finds_too_long_is_shortened(db, parts):
    add_connections(db, "shop")
    check = "alter table scheduled_messages add constraint own_length check (length(error) <= 100) not valid"
    with having(db, check, "alter table scheduled_messages drop constraint own_length"):
        row = row_in(db, "sending", "shop", None)
        db.execute("update broadcast_jobs set lease_until = now() - interval '1 s'")

        await (await parts()).rescue.rescue()

        assert message(db, row)["status"] == "unconfirmed"
        assert message(db, row)["error"].startswith("It may have been sent")


async def test_a_connection_that_cannot_be_reckoned_with_stops_itself_alone(db, parts):
    add_connections(db, "shop", "other")
    try:
        db.execute("set session_replication_role = replica")  # the server knew the zone when it was written
        db.execute("insert into connection_settings (connection_id, timezone) values ('shop', 'Mars/Olympus')")
        db.execute("set session_replication_role = origin")
        ours, theirs = row_in(db, "waiting", "shop", None), schedule(db, connection_id="other")
        db.execute("insert into private.connection_state (connection_id, ready_at) values ('shop', now())")
        daemon = await parts()
        await go(daemon)
        assert message(db, theirs)["status"] == "sent"
        assert message(db, ours)["status"] == "processing"
        [shown] = (await daemon.store.get_status(600)).connections
        assert "Mars/Olympus" in shown.state

        db.execute("update connection_settings set timezone = null")
        await go(daemon)
        assert message(db, ours)["status"] == "sent"
    finally:
        db.execute("truncate connection_settings")


async def test_receipts_of_others_are_written(db, parts, service):
    add_connections(db, "shop")
    rows = [row_in(db, "sent", "shop", None, message=POISON if n == 1 else "Hello") for n in range(3)]
    jobs = [str(job_of(db, row)["id"]) for row in rows]
    told = {"p_rows": p_rows(*({"job_id": job, "message_id": job, "status": "read"} for job in jobs))}

    with refusing(db, "scheduled_messages", "new.message = 'Poison'", on="update"):
        [answer] = service.post("/rpc/record_deliveries", json=told).raise_for_status().json()

    assert [message(db, row)["delivery_status"] for row in rows] == ["read", None, "read"]
    assert [row["id"] for row in answer["refused"]] == [jobs[1]]


def test_lifting_a_rule_that_is_not_there_does_nothing(db):
    lift(db)


# Classes of PostgreSQL's appendix A that say something of the whole call: a connection, a read-only database, a
# deadlock, a want of resources, an administrator, a disk.
EVERYBODYS = ["08006", "25006", "40P01", "40001", "53200", "57014", "58030"]


@pytest.mark.parametrize("code", EVERYBODYS)
@pytest.mark.parametrize("call", ["enqueue", "claim", "record", "rescue"])
def test_what_stops_everybody_is_no_rows_fault_and_nothing_is_put_aside(db, code, call):
    """It is said of the whole call, which the daemon makes again."""
    add_connections(db, "shop")
    state = {"enqueue": "pending", "claim": "waiting"}.get(call, "sending")
    poison, other = (row_in(db, state, "shop", None, message=text) for text in (POISON, "Hello"))
    jobs = [job_of(db, row) for row in (poison, other)]
    db.execute("select private.announce_work(array['shop'], array[now()])")
    db.execute("update broadcast_jobs set lease_until = now() - interval '1 s' where status = 'sending'")
    told = [
        {"job_id": job.get("id"), "token": job.get("lease_token"), "verdict": "sent", "message_id": "m"} for job in jobs
    ]
    made = {
        "enqueue": lambda: enqueue(db, poison, other),
        "claim": lambda: db.execute("select claim_broadcast_jobs(gen_random_uuid(), 10, 60)"),
        "record": lambda: record(db, *told),
        "rescue": lambda: db.execute("select rescue_broadcast_jobs()"),
    }[call]
    table = "scheduled_messages" if call == "enqueue" else "broadcast_jobs"
    before = statuses(db)
    with refusing(db, table, "new.message = 'Poison'", code, on="update"), pytest.raises(psycopg.Error) as raised:
        made()
    assert raised.value.sqlstate == code
    assert (statuses(db), one(db, "select count(*) from private.refused_rows")) == (before, 0)
    made()
    assert one(db, "select count(*) from private.refused_rows") == 0


@pytest.mark.parametrize("code", CIRCUMSTANCES)
def test_what_all_of_them_meet_and_is_none_of_theirs_is_said_of_the_call(db, code):
    """A privilege that is missing, say: the operator hears of it, and no row is put aside for it."""
    add_connections(db, "shop")
    due, sent = ([row_in(db, state, "shop", None) for _ in range(3)] for state in ("pending", "sent"))
    read = [{"job_id": str(job_of(db, row)["id"]), "status": "read"} for row in sent]
    made = {
        "enqueue": lambda: enqueue(db, *due),
        "deliver": lambda: db.execute("select record_deliveries(%s)", (p_rows(*read),)),
    }
    with refusing(db, "scheduled_messages", "true", code, on="update"):
        for call in made.values():
            with pytest.raises(psycopg.Error) as raised:
                call()
            assert raised.value.sqlstate == code
    assert (statuses(db), one(db, "select count(*) from private.refused_rows")) == ({"pending": 3, "sent": 3}, 0)
    made["enqueue"]()
    assert statuses(db) == {"processing": 3, "sent": 3}


def test_a_rescue_comes_when_what_is_put_aside_is_to_be_tried_again(db):
    """Of every step that it tries again itself."""
    for step in ("record", "settle", "rescue", "announce", "note", "tend"):
        again_at = one(
            db,
            "insert into private.refused_rows (step, id, code, reason, again_at)"
            " values (%s, gen_random_uuid(), '55P03', 'held', now() + interval '1 minute') returning again_at",
            step,
        )
        assert one(db, "select next_expiry_at from rescue_broadcast_jobs()") == again_at, step
        db.execute("delete from private.refused_rows")


async def test_a_row_that_fails_for_a_reason_of_its_own_says_that_one_though_its_next_one_is_refused(db, parts):
    add_connections(db, "shop")
    row = schedule(db, contact_id="nobody", **DAILY)
    daemon = await parts()

    with refusing(db, "scheduled_messages", "new.is_recurring", on="insert"):
        await go(daemon)

    failed = message(db, row)
    assert (failed["status"], failed["next_id"]) == ("failed", None)
    assert "our own rule" not in failed["error"]
    assert failed["error"] == (await why_it_fails(db, daemon))


async def why_it_fails(db, daemon) -> str:
    alone = schedule(db, contact_id="nobody")
    await go(daemon)
    return message(db, alone)["error"]
