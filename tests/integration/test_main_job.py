"""From a row to its outcome, through the real API and a daemon of its own process."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.polling import until
from tests.helpers.rows import add_connections, message, one, schedule, schedule_many, settled, statuses

HERE = Path(__file__).parent


def test_rows_of_supabase_js_with_the_documents_and_with_the_dialogs_columns_are_sent(stack, db, daemon):
    environment = {**os.environ, **stack}
    done = subprocess.run(
        ["node", str(HERE / "write_as_front_end.mjs")], env=environment, capture_output=True, text=True, check=True
    )
    documented, dialogs = json.loads(done.stdout)

    worker = daemon()

    until(
        lambda: message(db, documented)["status"] == message(db, dialogs)["status"] == "sent", 20, lambda: worker.text
    )
    for row in (message(db, documented), message(db, dialogs)):
        assert row["message_id"].startswith("mock-")
        assert row["sent_at"] >= row["scheduled_at"]
        assert row["error"] is None
        assert row["created_by"] == row["owner_id"] is not None


def test_a_row_is_sent_at_its_instant_and_not_at_the_next_poll(db, daemon):
    add_connections(db, "shop")
    row = schedule(db, scheduled_at=one(db, "select now() + interval '4 seconds'"))

    worker = daemon(POLL_INTERVAL_SECONDS=60)

    until(lambda: message(db, row)["status"] == "sent", 20, lambda: worker.text)
    late = one(db, "select extract(epoch from sent_at - scheduled_at)::float as late from scheduled_messages")
    assert 0 <= late < 30  # the next poll would be a minute away; how exact it is, ./scripts/bench measures


def test_a_row_that_is_written_while_the_daemon_sleeps_is_found_by_the_poll(db, daemon):
    add_connections(db, "shop")
    worker = daemon(POLL_INTERVAL_SECONDS=1)
    worker.until_said("started")

    row = schedule(db)

    until(lambda: message(db, row)["status"] == "sent", 10, lambda: worker.text)


def test_the_gateway_gets_each_text_verbatim_and_its_id_lands_on_the_row(db, daemon):
    add_connections(db, "shop")
    text = '  Zwei\nZeilen, {{name}}, "Anführung" & 😀 \\ \t'
    row = schedule(db, message=text, contact_id="+49 151 23456789")
    with CountingGateway() as gateway:
        worker = daemon(GATEWAY="waha", WAHA_URL=gateway.url)
        until(lambda: message(db, row)["status"] == "sent", 15, lambda: worker.text)

    [received] = gateway.received
    assert (received.text, received.chat_id, received.session) == (text, "4915123456789@c.us", "shop")
    assert message(db, row)["message_id"].startswith("true_4915123456789@c.us_")


def test_more_rows_than_one_answer_holds_are_all_sent(db, daemon):
    schedule_many(db, 1500)

    worker = daemon(CONCURRENCY=200, BATCH_SIZE=1000)

    until(lambda: settled(db), 60, lambda: worker.text)
    assert statuses(db) == {"sent": 1500}
    assert one(db, "select count(distinct message_id) from scheduled_messages") == 1500


def test_once_sends_what_is_due_leaves_the_rest_and_exits_0(db, daemon):
    add_connections(db, "shop")
    due = [schedule(db) for _ in range(3)]
    later = schedule(db, scheduled_at=one(db, "select now() + interval '1 hour'"))

    worker = daemon("once")

    assert worker.wait() == 0, worker.text
    assert [message(db, row)["status"] for row in due] == ["sent"] * 3
    assert message(db, later)["status"] == "pending"


def test_once_exits_1_when_supabase_does_not_answer(daemon):
    worker = daemon("once", SUPABASE_URL="http://127.0.0.1:9")

    assert worker.wait(60) == 1
    assert "error:" in worker.text


@pytest.mark.parametrize("message_id", [None, "from-the-node-worker"])
def test_a_row_follows_whoever_settles_its_broadcast_message(db, daemon, message_id):
    """The upstream Node worker updates broadcast_messages itself, and knows no message id."""
    add_connections(db, "shop")
    row = schedule(db)
    job = one(db, "select gen_random_uuid()")
    db.execute("update scheduled_messages set status = 'processing', broadcast_job_id = %s", (job,))
    db.execute(
        "insert into broadcast_messages (job_id, scheduled_message_id, contact) values (%s, %s, '919876500000')",
        (job, row),
    )

    db.execute("update broadcast_messages set status = 'sent', message_id = %s, sent_at = now()", (message_id,))

    found = message(db, row)
    assert (found["status"], found["message_id"]) == ("sent", message_id or str(job))
    assert found["sent_at"] is not None
