"""Deletion means deletion: with a scheduled row, its text and number go from everywhere."""

from typing import Any

import psycopg
import pytest

from tests.helpers.calls import record, tell
from tests.helpers.rows import Database, message, one
from tests.sql.states import STATES, job_of, row_in, status

SECRET, NUMBER = "A confidential text", "+919876500000"
IN_FLIGHT = {"sending", "handed over", "active"}
TABLES = (
    "scheduled_messages",
    "broadcast_jobs",
    "broadcast_messages",
    "recipient_state",
    "connection_state",
    "erasures",
)


def traces(db: Database) -> list[str]:
    """The tables in which a text or a number is left."""
    found = []
    for table in TABLES:
        schema = one(db, "select schemaname from pg_tables where tablename = %s", table)
        sql = f"select exists (select 1 from {schema}.{table} as t where to_jsonb(t)::text ~ '{SECRET}|919876500000')"
        found += [table] if one(db, sql) else []
    return found


def secret(db: Database, tenants: Any, state: str, gateway: str = "mock", **columns: Any) -> str:
    """A row in that state whose job and message hold the text and the number wherever they can."""
    row = row_in(
        db, state, tenants[0].connection_id, tenants[0].id,
        message=SECRET, caption=SECRET, media_url=f"https://example.com/{SECRET}", contact_id=NUMBER, **columns,
    )  # fmt: skip
    db.execute(
        """
        update broadcast_jobs set message = %(s)s, caption = %(s)s, media_url = %(s)s, media = %(s)s, recipient = %(n)s,
            contacts = array[%(n)s], contact_id = %(n)s, variables = jsonb_build_object('name', %(s)s::text),
            template = jsonb_build_object('name', %(s)s::text),
            gateway = coalesce(nullif(gateway, 'mock'), %(g)s)
        where scheduled_message_id = %(row)s
        """,
        {"s": SECRET, "n": NUMBER, "g": gateway, "row": row},
    )
    db.execute(
        """
        update broadcast_messages set message = %(s)s, caption = %(s)s, media_url = %(s)s, contact = %(n)s,
            data = jsonb_build_object('text', %(s)s::text), error = %(n)s
        where scheduled_message_id = %(row)s
        """,
        {"s": SECRET, "n": NUMBER, "row": row},
    )
    return row


@pytest.mark.parametrize("gateway", ["waha", "bullmq"])
@pytest.mark.parametrize("state", sorted(set(STATES) - IN_FLIGHT))
def test_as_the_owner_a_deleted_message_leaves_neither_text_nor_number(db, tenants, state, gateway):
    row = secret(db, tenants, state, gateway)
    assert traces(db)

    tenants[0].delete(row)

    assert traces(db) == []


@pytest.mark.parametrize("gateway", ["waha", "bullmq"])
@pytest.mark.parametrize("outcome", ["sent", "failed", "unconfirmed", "retry", "released"])
def test_what_is_being_sent_when_the_service_deletes_it_is_settled_first_and_then_gone(
    db, tenants, service, gateway, outcome
):
    row = secret(db, tenants, "sending", gateway)
    job = job_of(db, row)
    assert service.delete("/scheduled_messages", params={"id": f"eq.{row}"}).is_success
    db.execute("select rescue_broadcast_jobs()")
    assert job_of(db, row)["message"] == SECRET, "whoever sends it may ask for it again"

    told = {"verdict": outcome, "message_id": "true_1", "error": "Busy.", "wait": 0}
    record(db, {"job_id": job["id"], "token": job["lease_token"], **told})
    if (gateway, outcome) == ("bullmq", "unconfirmed"):  # it stays handed over, until its worker tells
        assert job_of(db, row)["message"] == SECRET
        db.execute("update broadcast_messages set status = 'sent' where job_id = %s", (job["id"],))
        db.execute("update broadcast_jobs set status = 'completed' where id = %s", (job["id"],))
    assert one(db, "select next_expiry_at <= now() from get_agenda(60)"), "the daemon comes for it at once"
    db.execute("select rescue_broadcast_jobs()")

    assert traces(db) == []
    assert one(db, "select count(*) from private.erasures") == 0


def test_what_is_deleted_by_a_cascade_of_the_projects_own_is_gone_too(db, tenants):
    db.execute("create table own_campaigns (id integer primary key); insert into own_campaigns values (7)")
    db.execute("alter table scheduled_messages add column campaign integer references own_campaigns on delete cascade")
    try:
        for state in ("sent", "waiting", "failed"):
            row = secret(db, tenants, state)
            db.execute("update scheduled_messages set campaign = 7 where id = %s", (row,))
        db.execute("delete from own_campaigns")
        assert traces(db) == []
    finally:
        db.execute("alter table scheduled_messages drop column campaign; drop table own_campaigns")


@pytest.mark.parametrize("state", ["waiting", "failed", "cancelled"])
def test_an_edit_leaves_nothing_of_the_former_text_and_number(db, tenants, state):
    row = secret(db, tenants, state)

    tenants[0].update(
        row, message="New", caption=None, media_url=None, contact_id="+15550100", type="text", status="pending"
    )

    assert traces(db) == []
    assert status(db, row) == "pending"


def test_a_deleted_message_is_not_in_what_the_limiter_remembers(db, tenants):
    row = secret(db, tenants, "sent")
    db.execute("insert into private.recipient_state values ('x', %s, now() - interval '2 minutes')", (NUMBER,))
    tenants[0].delete(row)

    db.execute("select rescue_broadcast_jobs()")

    assert traces(db) == []


def test_when_the_messages_are_emptied_no_text_is_left(db, tenants):
    for state in ("sent", "waiting", "failed", "unconfirmed"):
        secret(db, tenants, state)
    db.execute("truncate scheduled_messages")
    assert traces(db) == []


def test_a_message_that_is_kept_keeps_its_job(db, tenants):
    """A cancelled row, and one whose connection or user is gone, is history."""
    row = secret(db, tenants, "sent")
    other = secret(db, tenants, "waiting")
    db.execute("delete from connections where id = %s", (tenants[0].connection_id,))

    assert job_of(db, row)["message"] == SECRET
    assert (job_of(db, other)["status"], message(db, other)["message"]) == ("cancelled", SECRET)


def test_one_job_in_other_hands_does_not_hold_up_the_deletion_of_its_row(db, tenants, stack, service):
    row, next_row = secret(db, tenants, "sent"), secret(db, tenants, "sent")
    with psycopg.connect(stack["DATABASE_URL"]) as other:
        other.execute("select from broadcast_jobs where scheduled_message_id = %s for update", (row,))
        for one_row in (row, next_row):
            assert service.delete("/scheduled_messages", params={"id": f"eq.{one_row}"}).is_success
        assert (job_of(db, row) == {}, job_of(db, next_row) == {}) == (False, True)
        other.rollback()
    db.execute("select rescue_broadcast_jobs()")

    assert traces(db) == []


def test_a_late_answer_to_what_is_gone_says_that_nobody_wants_it(db, tenants):
    row = secret(db, tenants, "unconfirmed")
    job = job_of(db, row)
    tenants[0].delete(row)

    record(db, {"job_id": job["id"], "token": job["lease_token"], "verdict": "sent", "message_id": "true_1"})
    tell(db, {"job_id": job["id"], "message_id": "true_1", "status": "read"})

    assert traces(db) == []
