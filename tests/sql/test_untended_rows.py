"""Rows that somebody else has written as `processing`: none stays so, and none goes out because of it."""

import pytest

from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import STATES, job_of, row_in, status

DAEMONS_OWN = {"waiting": "processing", "sending": "processing", "handed over": "processing", "active": "processing"}
# One table comes from an older copy, and the others do not: what is left of a row's job.
RESTORED = {
    "its job is gone": ("delete from broadcast_messages; delete from broadcast_jobs", "unconfirmed"),
    "its job has ended and was told": ("", "sent"),
    "its job was withdrawn": (
        "update broadcast_messages set status = 'cancelled'; update broadcast_jobs set status = 'cancelled'",
        "unconfirmed",
    ),
    "its job had failed": (
        "update broadcast_messages set status = 'failed', error = 'Busy.'; update broadcast_jobs set status = 'failed'",
        "failed",
    ),
}
MODES = {
    "with triggers": ("", ""),
    "as a replica": ("set session_replication_role = replica", "set session_replication_role = origin"),
    "with triggers off": (
        "alter table scheduled_messages disable trigger user",
        # As they were: those that are always on stay so.
        """
        alter table scheduled_messages enable trigger user;
        alter table scheduled_messages enable always trigger zz_set_due_at;
        alter table scheduled_messages enable always trigger lose_truncated;
        alter table scheduled_messages enable always trigger note_inserted;
        alter table scheduled_messages enable always trigger note_updated;
        """,
    ),
}

# As where a restore writes them before their jobs.
NOTED = """
    insert into private.refused_rows (step, id, code, reason, again_at)
    select 'tend', id, '', '', now() + interval '1 minute' from scheduled_messages
"""


def a_minute_later(db: Database) -> None:
    db.execute("update private.refused_rows set again_at = again_at - interval '1 minute'")
    assert one(db, "select next_expiry_at <= now() from get_agenda(60)"), "the daemon comes for it"
    db.execute("select rescue_broadcast_jobs()")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", RESTORED)
def test_a_row_from_a_copy_of_its_table_becomes_what_its_job_says(how: str, mode: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "sent", "shop", None)
    db.execute("update broadcast_messages set status = 'sent', message_id = 'true_1', sent_at = '2026-01-01'")
    sql, becomes = RESTORED[how]
    if mode == "with triggers":
        becomes = "unconfirmed"  # its job went with the row that was deleted
    db.execute(sql)
    before, after = MODES[mode]
    db.execute(before)
    db.execute("create temporary table copy as table scheduled_messages; delete from scheduled_messages")
    db.execute("update copy set status = 'processing', sent_at = null, message_id = null")
    db.execute("insert into scheduled_messages table copy; drop table copy")
    db.execute(after)
    if mode == "with triggers off":
        [found] = db.execute("select * from diagnose() where what like '%no job is at work%'").fetchall()
        assert found["level"] == "failure"
        db.execute(found["remedy"])
        db.execute("update private.refused_rows set again_at = again_at + interval '1 minute'")

    a_minute_later(db)

    assert status(db, row) == becomes
    assert one(db, "select count(*) from private.refused_rows") == 0
    if becomes == "unconfirmed":
        assert message(db, row)["error"].startswith("It may have been sent: ")
        assert db.execute("select * from resolve_scheduled_message(%s, 'resend')", (row,)).fetchall()
        assert status(db, row) == "pending"


@pytest.mark.parametrize("state", sorted(set(STATES) - set(DAEMONS_OWN)))
def test_a_row_that_somebody_marks_as_processing_is_unconfirmed_or_what_its_job_says(state: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, state, "shop", None)
    db.execute("update broadcast_messages set status = %s", (STATES[state][0],))
    db.execute("update scheduled_messages set status = 'processing'")

    a_minute_later(db)

    told = state if state in ("sent", "failed", "unconfirmed") else "unconfirmed"
    assert status(db, row) == told
    assert not one(db, "select exists (select from broadcast_jobs where status in ('queued', 'sending'))")


@pytest.mark.parametrize("state", DAEMONS_OWN)
def test_what_the_daemon_is_at_work_on_stays_as_it_is(state: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, state, "shop", None)
    assert one(db, "select count(*) from private.refused_rows") == 0, "nor is it looked at"
    db.execute(NOTED)
    a_minute_later(db)
    assert (status(db, row), job_of(db, row)["status"]) == STATES[state]


def test_a_live_job_without_its_entry_is_lost(db: Database) -> None:
    add_connections(db, "shop")
    rows = {state: row_in(db, state, "shop", None) for state in DAEMONS_OWN}
    db.execute(NOTED)
    db.execute("alter table broadcast_messages disable trigger user")
    db.execute("delete from broadcast_messages")
    db.execute("alter table broadcast_messages enable trigger user")
    db.execute("alter table broadcast_messages enable always trigger lose_deleted_message")
    db.execute("alter table broadcast_messages enable always trigger lose_truncated")
    a_minute_later(db)
    assert {state: status(db, row) for state, row in rows.items()} == {
        "waiting": "pending", "sending": "unconfirmed", "handed over": "unconfirmed", "active": "unconfirmed",
    }  # fmt: skip


def test_a_row_that_refuses_to_be_told_holds_up_nobody(db: Database) -> None:
    add_connections(db, "shop")
    db.execute("alter table scheduled_messages add constraint own check (message <> 'odd' or status <> 'unconfirmed')")
    try:
        odd, other = schedule(db, message="odd", status="processing"), schedule(db, status="processing")
        a_minute_later(db)
        assert (status(db, odd), status(db, other)) == ("processing", "unconfirmed")
        assert one(db, "select code from private.refused_rows") == "23514"
    finally:
        db.execute("alter table scheduled_messages drop constraint own")


def test_a_series_that_something_else_continues_too_is_told_of(db: Database) -> None:
    add_connections(db, "shop")
    warned = "select what from diagnose() where what ~ 'wait twice'"
    day = {"is_recurring": True, "recurrence_pattern": "daily", "scheduled_at": "2099-01-02", "message": "Good day"}
    schedule(db, **day)
    schedule(db, **day)
    assert db.execute(warned).fetchall() == [], "their author's own business"
    series = {"series_id": "00000000-0000-4000-8000-000000000001", "occurrence_at": "2099-01-02"}
    schedule(db, **day, **series, series_anchor="2099-01-02 00:00")
    assert one(db, warned).startswith("1 message(s) of a series wait twice")


@pytest.mark.parametrize("change", ["delete from scheduled_messages", "update scheduled_messages set message = 'New'"])
def test_what_was_said_of_a_row_goes_with_what_it_said_it_of(change: str, db: Database) -> None:
    add_connections(db, "shop")
    row = row_in(db, "failed", "shop", None)
    pending = schedule(db)
    for step, known in [("enqueue", pending), ("settle", job_of(db, row)["id"]), ("record", job_of(db, row)["id"])]:
        db.execute(
            "insert into private.refused_rows (step, id, code, reason, again_at) values (%s, %s, 'P0001', 'Hello', %s)",
            (step, known, "2099-01-01"),
        )
    db.execute(f"{change}, status = 'pending'" if change.startswith("update") else change)
    assert one(db, "select count(*) from private.refused_rows where reason like '%%Hello%%'") == 0
    kept = ["record"] if change.startswith("delete") else ["record", "settle"]
    assert one(db, "select array_agg(step order by step) from private.refused_rows") == kept, "what was sent is told"
