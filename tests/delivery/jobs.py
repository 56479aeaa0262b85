"""The jobs behind the rows, and the time that a test need not wait for."""

from typing import Any

from tests.helpers.rows import Database


def job(db: Database, row: str) -> dict[str, Any]:
    """The current job of a row of scheduled_messages."""
    sql = (
        "select j.* from broadcast_jobs as j join scheduled_messages as s on s.broadcast_job_id = j.id where s.id = %s"
    )
    found = db.execute(sql, (row,)).fetchone()
    assert found is not None, "it has no job"
    return found


def end_leases(db: Database) -> None:
    """Every claim and hand-over has run out."""
    db.execute("update broadcast_jobs set lease_until = now() - interval '1 second' where lease_until is not null")


def end_waits(db: Database) -> None:
    """Whatever was put off may be tried now."""
    db.execute("update broadcast_jobs set available_at = now() where status = 'queued'")
    db.execute("update private.recipient_state set free_at = now()")
    db.execute("update private.connection_state set ready_at = now(), arrival_at = now()")
