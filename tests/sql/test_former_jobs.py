"""A row hears of its current job alone: whatever becomes of one that it had before says nothing of it any more."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.helpers.rows import Database, message, one
from tests.pacing.limiter import Queue
from tests.sql.states import STATES, add_job, row_in

OUTCOMES = ("sent", "failed", "unconfirmed", "retry", "stopped", "released", "throttled_recipient")
WORDS = ("CONNECTION_NOT_READY", "MEDIA_NOT_FOUND", "EMPTY_MESSAGE", "Request timeout after 15000ms")
MESSAGE_GONE = (
    "set session_replication_role = replica; delete from broadcast_messages where job_id = %(old)s; "
    "set session_replication_role = origin"
)


def told(name: str, **fields: str) -> str:
    """A call with one row of these fields, as SQL."""
    given = ", ".join(f"'{field}', {value}" for field, value in {"job_id": "%(old)s::uuid", **fields}.items())
    return f"select {name}(json_build_array(json_build_object({given}))::text)"


def record(outcome: str, parts: str = "null") -> str:
    words = {"message_id": "'true_1'", "error": "'Busy'", "wait": "5", "parts": f"{parts}::text"}
    return told("record_outcomes", token="%(token)s::uuid", verdict=f"'{outcome}'", **words)


def deliver(status: str, part: str = "null, null") -> str:
    one_part, parts = (f"{each}::integer" for each in part.split(", "))
    words = {"message_id": "'true_1'", "error": "'Busy'", "part": one_part, "parts": parts}
    return told("record_deliveries", status=f"'{status}'", **words)


SAID = "update broadcast_messages set status = '{}', error = '{}' where job_id = %(old)s"
MARKED = "update broadcast_jobs set status = '{}' where id = %(old)s"
LATE = "update broadcast_jobs set {} = now() - interval '1 s' where id = %(old)s; select rescue_broadcast_jobs()"
TWO = "'" + json.dumps({"of": 2, "ids": ["a", "b"]}) + "'"
# In which state the former job is, and what happens to it then.
DEEDS: list[tuple[str, str]] = [
    *(("sending", record(outcome)) for outcome in OUTCOMES),
    *(("sending", f"{MESSAGE_GONE}; {record(outcome)}") for outcome in OUTCOMES),
    *(("unconfirmed", record(outcome)) for outcome in ("sent", "failed")),
    *(("unconfirmed", f"{MESSAGE_GONE}; {record(outcome)}") for outcome in ("sent", "failed")),
    ("sending", record("sent", TWO)),
    *((state, deliver(told)) for state in ("sending", "unconfirmed", "sent") for told in ("read", "failed")),
    ("sending", deliver("read", "1, 1")),
    ("sent", f"{record('sent', TWO)}; {deliver('read', '1, 2')}; {deliver('failed', '2, 2')}"),
    *((state, SAID.format("failed", words)) for state in ("handed over", "active") for words in WORDS),
    *(("active", SAID.format(status, "")) for status in ("sent", "skipped")),
    *(
        (state, MARKED.format(end))
        for state in ("handed over", "active")
        for end in ("completed", "failed", "cancelled")
    ),
    *(("active", f"{MESSAGE_GONE}; {MARKED.format(end)}") for end in ("completed", "failed")),
    *(("waiting", MARKED.format(mark)) for mark in ("failed", "cancelled", "completed", "paused")),
    *(("sending", MARKED.format(mark)) for mark in ("failed", "cancelled", "completed")),
    *(("waiting", SAID.format(mark, "")) for mark in ("failed", "cancelled", "sent")),
    *(
        (state, f"delete from {table} where {key} = %(old)s")
        for state in ("waiting", "sending", "active")
        for table, key in (("broadcast_jobs", "id"), ("broadcast_messages", "job_id"))
    ),
    ("waiting", LATE.format("expires_at")),
    *((state, LATE.format("lease_until")) for state in ("sending", "handed over")),
]


@pytest.fixture
def renewed(db: Database, tenants: Any) -> Any:
    """renewed("sending"): a row, and the id and token of the job that it had before, which is in that state."""

    def make(state: str) -> tuple[str, dict[str, Any]]:
        row, old = row_in(db, "sending", tenants[0].connection_id, tenants[0].id), str(uuid4())
        add_job(db, old, row, STATES[state][1] or "")
        if state == "sent":
            db.execute("update broadcast_messages set status = 'sent', message_id = 'true_1' where job_id = %s", (old,))
        return row, {"old": old, "token": one(db, "select lease_token from broadcast_jobs where id = %s", old)}

    return make


def seen(db: Database, row: str, old: str) -> tuple[Any, Any, Any]:
    """The row, its current job and that one's message."""
    job = one(db, "select to_jsonb(j) from broadcast_jobs as j where scheduled_message_id = %s and id <> %s", row, old)
    told = one(db, "select to_jsonb(m) from broadcast_messages as m where job_id = %s", job["id"])
    return message(db, row), job, told


@pytest.mark.parametrize(("state", "deed"), DEEDS)
def test_nothing_that_becomes_of_a_former_job_changes_the_row(db, renewed, state, deed):
    row, former = renewed(state)
    before = seen(db, row, former["old"])
    first = one(db, "select to_jsonb(j) from broadcast_jobs as j where id = %s", former["old"])

    for statement in deed.split("; "):
        db.execute(statement, former if "%(" in statement else None)

    assert seen(db, row, former["old"]) == before
    left = db.execute("select to_jsonb(j) as job from broadcast_jobs as j where id = %s", (former["old"],)).fetchone()
    told = db.execute("select status from broadcast_messages where job_id = %s", (former["old"],)).fetchone()
    assert (left and left["job"]) != first or told != {"status": "waiting"}, "nothing happened at all"
    assert left is None or left["job"]["status"] != "queued", "it would be sent beside the other"


@pytest.mark.parametrize(("state", "deed"), [(state, deed) for state, deed in DEEDS if "deliver" in deed])
def test_what_was_delivered_of_a_former_job_is_not_said_of_the_one_that_went_out(db, renewed, state, deed):
    row, former = renewed(state)
    sql = "update broadcast_messages set status = 'sent', message_id = 'true_2' where job_id <> %s"
    db.execute(sql, (former["old"],))
    db.execute("update broadcast_jobs set status = 'completed' where id <> %s", (former["old"],))
    before = seen(db, row, former["old"])
    assert before[0]["status"] == "sent"

    for statement in deed.split("; "):
        db.execute(statement, former)

    assert seen(db, row, former["old"]) == before


@pytest.mark.parametrize("why", ["its connection", "its recipient"])
def test_a_row_is_not_told_why_its_former_job_waits(db, renewed, why):
    row, former = renewed("waiting")
    connection = message(db, row)["connection_id"]
    if why == "its connection":
        db.execute("insert into connection_settings (connection_id, enabled) values (%s, false)", (connection,))
    else:
        db.execute(
            "insert into private.recipient_state (connection_id, recipient, free_at)"
            " values (%s, '+919876500000', now() + interval '5 s')", (connection,)
        )  # fmt: skip
    db.execute("select private.announce_work(array[%s], array[now() - interval '1 s'])", (connection,))
    before = seen(db, row, former["old"])

    assert Queue(db).claim(one(db, "select clock_timestamp()"), gateway="cloud").jobs == []

    assert seen(db, row, former["old"]) == before
    waits = "select waiting_reason is not null or ready_at > now() from private.connection_state"
    assert one(db, waits)
