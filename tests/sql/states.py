"""Rows of scheduled_messages in every state, with the job that belongs to it."""

from typing import Any
from uuid import uuid4

from tests.helpers.calls import record
from tests.helpers.rows import Database, message, one

# The state of a row and of its job: "processing" is three different things.
STATES = {
    "pending": ("pending", None),
    "waiting": ("processing", "queued"),
    "sending": ("processing", "sending"),
    "handed over": ("processing", "handed_over"),
    "active": ("processing", "active"),
    "sent": ("sent", "completed"),
    "failed": ("failed", "failed"),
    "unconfirmed": ("unconfirmed", "unconfirmed"),
    "cancelled": ("cancelled", "cancelled"),
    "in_queue": ("in_queue", None),
}
COMPLETE: dict[str, dict[str, Any]] = {
    "sent": {"sent_at": "2026-01-01", "message_id": "true_1"},
    "failed": {"error": "No such number."},
    "unconfirmed": {"error": "It may have been sent."},
}


def row_in(db: Database, state: str, connection: str, user: str | None, **columns: Any) -> str:
    """A row in one of STATES. Returns its id."""
    status, job_status = STATES[state]
    columns = {
        "connection_id": connection, "contact_id": "+919876500000", "message": "Hello", "scheduled_at": "2026-01-01",
        "created_by": user, "owner_id": user, "status": status, **COMPLETE.get(status, {}), **columns,
    }  # fmt: skip
    if job_status:
        columns["broadcast_job_id"] = str(uuid4())
    job = columns.get("broadcast_job_id")
    if status == "processing":  # as the daemon makes it
        del columns["broadcast_job_id"]
        columns["status"] = "pending"
    names, places = ", ".join(columns), ", ".join(["%s"] * len(columns))
    sql = f"insert into scheduled_messages ({names}) values ({places}) returning id::text"
    row = str(one(db, sql, *columns.values()))
    if status == "processing":
        db.execute("update scheduled_messages set status = %s, broadcast_job_id = %s where id = %s", (status, job, row))
    if job_status:
        add_job(db, str(job), row, job_status)
    return row


def add_job(db: Database, job: str, row: str, status: str) -> None:
    """A job of this row and its message, as the daemon makes them."""
    gateway = "bullmq" if status in ("handed_over", "active") else "mock"
    db.execute(
        """
        insert into broadcast_jobs (
            id, scheduled_message_id, connection_id, status, gateway, recipient, message, available_at,
            send_at, lease_token, lease_until
        )
        select %s, id, connection_id, %s, %s, contact_id, message, now(), now(), id, now() + interval '1 minute'
        from scheduled_messages where id = %s
        """,
        (job, status, gateway, row),
    )
    db.execute(
        """
        insert into broadcast_messages (id, job_id, scheduled_message_id, contact, status)
        values (%s, %s, %s, '919876500000', 'waiting')
        """,
        (job, job, row),
    )


def job_of(db: Database, row: str) -> dict[str, Any]:
    """The newest job that was ever made for a row, with its message's status."""
    sql = """
        select j.*, m.status as message_status from broadcast_jobs as j join broadcast_messages as m on m.job_id = j.id
        where j.scheduled_message_id = %s order by j.created_at desc limit 1
    """
    return db.execute(sql, (row,)).fetchone() or {}


def answered(db: Database, row: str, outcome: str) -> None:
    """The daemon that sends this row records what the gateway said."""
    job = job_of(db, row)
    told = {"verdict": outcome, "message_id": "true_1", "error": "Busy.", "wait": 0}
    record(db, {"job_id": job["id"], "token": job["lease_token"], **told})


def status(db: Database, row: str) -> str:
    return str(message(db, row)["status"])
