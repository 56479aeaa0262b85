"""Jobs and messages that somebody else deletes, empties or marks: no row is stuck, none goes out twice."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.helpers.calls import record
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import STATES, answered, job_of, row_in, status
from worker.daemon import Parts

OVER = ("sent", "failed", "unconfirmed", "cancelled", "in_queue", "pending")
LOST = {
    "jobs deleted": "delete from broadcast_jobs",
    "messages deleted": "delete from broadcast_messages",
    "messages, then jobs": "delete from broadcast_messages; delete from broadcast_jobs",
    "jobs, then messages": "delete from broadcast_jobs; delete from broadcast_messages",
    "jobs emptied": "truncate broadcast_jobs",
    "messages emptied": "truncate broadcast_messages",
    "both emptied": "truncate broadcast_jobs, broadcast_messages",
    "as a replica": (
        "set session_replication_role = replica; delete from broadcast_jobs; set session_replication_role = origin"
    ),
}  # fmt: skip
CASCADE = (
    "alter table broadcast_messages add constraint of_job"
    " foreign key (job_id) references broadcast_jobs on delete cascade"
)
BACK = "pending"
ASHA = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def cascade(db: Database) -> Iterator[None]:
    """The upstream application's own foreign key."""
    db.execute(CASCADE)
    yield
    db.execute("alter table broadcast_messages drop constraint of_job")


def in_every_state(db: Database) -> dict[str, str]:
    add_connections(db, "shop")
    return {state: row_in(db, state, "shop", None) for state in STATES}


@pytest.mark.parametrize("how", LOST)
def test_what_had_not_begun_is_pending_again_and_what_was_being_sent_is_unconfirmed(how: str, db: Database) -> None:
    rows = in_every_state(db)
    db.execute(LOST[how])
    found = {state: status(db, row) for state, row in rows.items()}
    assert found == {state: state for state in OVER} | {
        "waiting": "pending", "sending": "unconfirmed", "handed over": "unconfirmed", "active": "unconfirmed",
    }  # fmt: skip
    waiting, sending = message(db, rows["waiting"]), message(db, rows["sending"])
    assert (waiting["broadcast_job_id"], waiting["error"], waiting["revision"]) == (None, None, 1)
    assert sending["error"].startswith("It may have been sent: ")
    assert not one(db, "select exists (select from broadcast_jobs where status = 'queued')")


@pytest.mark.usefixtures("cascade")
@pytest.mark.parametrize("how", ["delete from broadcast_jobs", "truncate broadcast_jobs cascade"])
def test_the_same_where_jobs_take_their_messages_with_them(how: str, db: Database) -> None:
    rows = in_every_state(db)
    db.execute(how)
    assert status(db, rows["waiting"]) == "pending"
    assert {status(db, rows[state]) for state in ("sending", "handed over", "active")} == {"unconfirmed"}
    assert {status(db, rows[state]) for state in OVER} == set(OVER)


@pytest.mark.parametrize("how", [*LOST.values(), "update broadcast_jobs set status = 'draft'"])
async def test_a_message_that_waits_for_its_phone_is_sent_once_after_its_job_was_lost(
    how: str, db: Database, parts: Callable[..., Awaitable[Parts]]
) -> None:
    add_connections(db, "shop")
    db.execute("update connections set connected = false")
    with CountingGateway() as waha:
        daemon = await parts(gateway="waha", waha_url=waha.url)
        row = row_in(db, "pending", "shop", None)
        await daemon.scheduler.poll()
        await daemon.dispatcher.send_all()
        assert "not connected" in message(db, row)["waiting_reason"]
        db.execute(how)
        db.execute("update connections set connected = true")
        for _ in range(2):
            await daemon.scheduler.poll()
            await daemon.dispatcher.send_all()
        assert status(db, row) == "sent"
        assert len(waha.received) == 1


@pytest.mark.parametrize("outcome", ["sent", "failed", "unconfirmed"])
def test_an_answer_still_settles_a_row_whose_message_was_deleted_meanwhile(outcome: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "sending", "shop", None)
    job = job_of(db, row)
    db.execute("delete from broadcast_messages")
    assert status(db, row) == "unconfirmed"
    told = {"verdict": outcome, "message_id": "true_1", "error": "Busy.", "wait": 0}
    record(db, {"job_id": job["id"], "token": job["lease_token"], **told})
    assert status(db, row) == outcome


@pytest.mark.parametrize(("says", "becomes"), [("completed", "sent"), ("failed", "unconfirmed")])
def test_so_does_what_the_node_worker_says_of_its_job(says: str, becomes: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "active", "shop", None)
    db.execute("delete from broadcast_messages")
    db.execute("update broadcast_jobs set status = %s", (says,))
    assert status(db, row) == becomes


@pytest.mark.parametrize("outcome", ["sent", "failed", "resend"])
@pytest.mark.parametrize("how", [*LOST.values()])
def test_an_operator_settles_what_was_lost(how: str, outcome: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "sending", "shop", None)
    db.execute(how)
    assert db.execute("select * from resolve_scheduled_message(%s, %s)", (row, outcome)).fetchall()
    assert status(db, row) == {"resend": BACK}.get(outcome, outcome)


@pytest.mark.parametrize(
    ("state", "marked", "becomes"),
    [
        ("waiting", "cancelled", "cancelled"),
        ("waiting", "failed", "failed"),
        ("waiting", "completed", "unconfirmed"),
        ("waiting", "active", BACK),
        ("waiting", "paused", BACK),
        ("sending", "cancelled", "unconfirmed"),
        ("sending", "failed", "unconfirmed"),
        ("sending", "completed", "unconfirmed"),
        ("sending", "queued", "unconfirmed"),
        ("handed over", "paused", "processing"),
        ("active", "queued", "processing"),
        ("active", "draft", "processing"),
    ],
)
def test_a_job_that_is_marked_by_hand(state: str, marked: str, becomes: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, state, "shop", None)
    db.execute("update broadcast_jobs set status = %s", (marked,))
    assert status(db, row) == becomes
    if becomes == "processing":
        assert job_of(db, row)["status"] == STATES[state][1]
    assert not one(db, "select exists (select from broadcast_jobs where status = 'queued')")


def test_the_answer_to_what_was_marked_while_it_was_being_sent_still_counts(db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "sending", "shop", None)
    db.execute("update broadcast_jobs set status = 'cancelled'")
    answered(db, row, "sent")
    assert status(db, row) == "sent"


@pytest.mark.parametrize(
    ("marked", "becomes"),
    [("failed", "failed"), ("sent", "sent"), ("cancelled", "cancelled"), ("skipped", "failed")],
)
def test_a_message_that_is_marked_by_hand_while_its_job_waits_is_not_sent(
    marked: str, becomes: str, db: Database
) -> None:
    add_connections(db, "shop")
    row = row_in(db, "waiting", "shop", None)
    db.execute("update broadcast_messages set status = %s", (marked,))
    assert (status(db, row), job_of(db, row)["status"]) == (becomes, "cancelled")


def test_when_the_messages_themselves_are_emptied_nothing_of_them_is_sent(db: Database) -> None:
    add_connections(db, "shop")
    row_in(db, "waiting", "shop", None)
    db.execute("truncate scheduled_messages")
    assert not one(db, "select exists (select from broadcast_jobs where status = 'queued')")


@pytest.mark.parametrize("how", ["delete from connections", "truncate connections"])
def test_connections_that_are_emptied_cancel_what_waits_as_those_that_are_deleted(how: str, db: Database) -> None:
    rows = in_every_state(db)
    db.execute(how)
    cancelled = {"pending", "waiting", "sending", "handed over", "active", "in_queue"}
    assert {state for state, row in rows.items() if status(db, row) == "cancelled"} == cancelled | {"cancelled"}
    assert "was deleted" in message(db, rows["waiting"])["error"]
    assert job_of(db, rows["waiting"])["status"] == "cancelled"
    answered(db, rows["sending"], "sent")
    assert status(db, rows["sending"]) == "sent", "it was, all the same"


@pytest.mark.parametrize("how", ["delete from connections", "truncate connections"])
def test_an_id_stays_its_owners_when_the_connections_are_emptied(how: str, db: Database) -> None:
    db.execute("insert into connections (id, name, user_id) values ('shop', 'shop', 'asha')")
    db.execute("insert into connection_settings (connection_id, enabled) values ('shop', true)")
    db.execute(how)
    db.execute("insert into connections (id, name, user_id) values ('shop', 'shop', 'vikram')")
    assert one(db, "select is_held from private.connection_owners where connection_id = 'shop'")


@pytest.mark.parametrize("how", ["delete from contacts", "truncate contacts"])
async def test_without_its_contact_a_message_that_has_a_job_goes_out_and_another_says_so(
    how: str, db: Database, parts: Callable[..., Awaitable[Parts]]
) -> None:
    add_connections(db, "shop")
    db.execute("update connections set user_id = %s", (ASHA,))
    contact = one(
        db, "insert into contacts (owner_id, phone_number) values (%s, '919876543210') returning id::text", ASHA
    )
    waiting, pending = (schedule(db, contact_id=contact, message=name) for name in ("waiting", "pending"))
    daemon = await parts()
    db.execute("update scheduled_messages set scheduled_at = now() + interval '1 hour' where id = %s", (pending,))
    await daemon.scheduler.poll()
    db.execute(how)
    db.execute("update scheduled_messages set scheduled_at = now() where id = %s", (pending,))
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert (status(db, waiting), status(db, pending)) == ("sent", "failed")
    assert "neither a contact nor" in message(db, pending)["error"]
