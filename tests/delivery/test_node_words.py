"""What the Node worker says of a message, and what is made of it: never sent twice, never failed in doubt."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from tests.delivery.conftest import Pass
from tests.delivery.jobs import end_leases, end_waits, job
from tests.delivery.node_worker import NodeWorker
from tests.helpers.calls import record
from tests.helpers.foreign import having
from tests.helpers.polling import until
from tests.helpers.rows import Database, message, one, schedule, statuses

Node = Callable[..., NodeWorker]

# Server/src of edivianika/wa-nexus at 489193e; the file that says it, or under which it is said.
STOPPED = [
    "CONNECTION_NOT_READY",  # broadcast/broadcastWorker.js
    "Connection shop recently failed: Request timeout after 15000ms",  # utils/broadcastConnectionFactory.js
    "Connection shop recently failed: Connection shop not found",
    "Connection shop is in cooldown. Will retry in 9 seconds.",
    "Koneksi shop tidak dapat diakses: permission denied for table connections",
    "Koneksi shop tidak dapat diakses: TypeError: fetch failed",
    "Koneksi shop tidak ditemukan",
    "Data koneksi shop tidak valid dari database",
    "Too many pending requests (101), try again later",
    "Connection shop not found",  # utils/whatsappMessageHandler.js
    "Socket.IO instance is required",  # utils/connectionManagerSingleton.js
    "ConnectionManager belum diinisialisasi. Gunakan initialize() terlebih dahulu.",  # connections/ConnectionManager.js
]
RETRIED = [
    "MEDIA_NOT_FOUND",  # broadcast/broadcastWorker.js
    "ENOENT: no such file or directory, open '/tmp/whatsapp-media-cache/url_1.png'",
    # utils/whatsappMessageHandler.js
    "Media file not accessible: ENOENT: no such file or directory, open '/tmp/a.png'",
]
FAILED = [
    "EMPTY_MESSAGE",  # broadcast/broadcastWorker.js
    "Cannot read properties of undefined (reading 'startsWith')",
    "Missing media path for image",  # utils/whatsappMessageHandler.js
    "Unknown action: sendSticker",
    "connectionId diperlukan",  # utils/broadcastConnectionFactory.js
]
DOUBTFUL = [
    "Request timeout after 15000ms",  # utils/broadcastConnectionFactory.js
    "Request timeout after 600ms",
    "Connection is closed.",  # ioredis, while it publishes the request
    "Reached the max retries per request limit (which is 3). Refer to \"maxRetriesPerRequest\" option for details.",
    "Failed to send message via fallback: timeout of 15000ms exceeded",  # utils/whatsappMessageHandler.js
    "Failed to send message via fallback: Connection shop not found",
    "Unknown error",  # broadcast/broadcastWorker.js
    "Timed Out",  # what nobody has listed
    "",
]  # fmt: skip


@pytest.fixture
def told(db: Database, shop: str, hand_over: Pass) -> Callable[..., Any]:
    """await told("EMPTY_MESSAGE"): the row of a message of which the Node worker says so, in all its writes."""

    async def tell(error: str, status: str = "failed", **settings: Any) -> dict[str, Any]:
        row = schedule(db)
        await hand_over(**settings)
        by = job(db, row)["id"]
        db.execute("update broadcast_jobs set status = 'active' where id = %s", (by,))
        db.execute("update broadcast_messages set status = %s, error = %s where job_id = %s", (status, error, by))
        db.execute("update broadcast_jobs set status = 'failed', progress = 100 where id = %s", (by,))
        db.execute("update broadcast_jobs set sent_count = 0, failed_count = 1 where id = %s", (by,))
        return message(db, row)

    return tell


@pytest.mark.parametrize("words", DOUBTFUL)
async def test_words_in_doubt_leave_the_row_unconfirmed(words: str, told: Callable[..., Any], db: Database) -> None:
    row = await told(words)
    assert row["status"] == "unconfirmed"
    assert row["error"].startswith("It may have been sent: ")
    assert words in row["error"]
    assert one(db, "select count(*) from broadcast_jobs") == 1


async def test_what_it_skips_is_judged_by_its_words_too(told: Callable[..., Any]) -> None:
    assert (await told("Timed Out", "skipped"))["status"] == "unconfirmed"
    assert (await told("CONNECTION_NOT_READY", "skipped"))["status"] == "processing"


@pytest.mark.parametrize("around", ["Failed to send message via fallback: {}", "{}, after it was sent"])
def test_known_words_within_others_prove_nothing(around: str, db: Database) -> None:
    """After them the message may go out again, or has failed for good."""
    begins = ("CONNECTION_NOT_READY", "MEDIA_NOT_FOUND", "EMPTY_MESSAGE", "Connection shop not found", "Socket.IO")
    whole = around.startswith("{}")
    for words in (*STOPPED, *RETRIED, *FAILED):
        if not whole or words.startswith(begins):
            assert one(db, "select private.meaning_of(%s)", around.format(words)) == "unconfirmed", words


@pytest.mark.parametrize("words", FAILED)
async def test_what_can_never_go_out_fails_with_the_workers_words(words: str, told: Callable[..., Any]) -> None:
    row = await told(words, "skipped" if words == "EMPTY_MESSAGE" else "failed")
    assert (row["status"], row["error"]) == ("failed", words)


@pytest.mark.parametrize("words", STOPPED)
async def test_words_about_the_connection_pause_it_and_cost_no_attempt(
    words: str, told: Callable[..., Any], db: Database
) -> None:
    row = await told(words, retry_attempts=1)
    assert row["status"] == "processing"
    assert words in row["waiting_reason"]
    assert job(db, row["id"])["attempts"] == 0
    paused = one(db, "select paused_reason from private.connection_state where connection_id = 'shop'")
    assert paused == f"the broadcast worker says: {words}"


@pytest.mark.parametrize("words", RETRIED)
async def test_what_was_certainly_not_sent_is_tried_as_often_as_the_settings_say(
    words: str, told: Callable[..., Any], db: Database
) -> None:
    row = await told(words, retry_attempts=2)
    assert row["status"] == "processing"
    assert row["error"].startswith("try 2 of 2 at ")
    assert row["error"].endswith(words)
    assert one(
        db,
        "select available_at - now() between interval '40 s' and interval '76 s' from broadcast_jobs"
        " where status = 'queued'",
    )
    assert not one(db, "select paused_reason is not null from private.connection_state where connection_id = 'shop'")
    row = await told(words, retry_attempts=1)
    assert (row["status"], row["error"]) == ("failed", f"{words} (given up after 1 try)")


async def test_a_retry_really_runs_again(db: Database, shop: str, node: Node, hand_over: Pass) -> None:
    row = schedule(db, message="ONCE MEDIA_NOT_FOUND")
    worker = node(PAUSE="1500")  # its last word on the first try comes when the second is under way
    await hand_over(retry_delay_seconds=0)
    first = job(db, row)["id"]
    until(lambda: job(db, row)["id"] != first, of="the second try")
    await hand_over(retry_delay_seconds=0)
    until(lambda: message(db, row)["status"] == "sent")
    until(lambda: len(worker.told("completed")) == 2)
    assert worker.told("refused") == []
    assert (message(db, row)["status"], message(db, row)["error"]) == ("sent", None)
    assert len(worker.sent) == 1
    assert job(db, row)["attempts"] == 2
    tries = db.execute("select status, message, contact from broadcast_messages order by created_at").fetchall()
    assert [t["status"] for t in tries] == ["failed", "sent"]
    assert (tries[0]["message"], tries[0]["contact"]) == (None, "")  # text and number stay in one place


async def test_a_connection_that_was_not_ready_goes_on_when_it_is(
    db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    rows = [schedule(db, contact_id=f"+91987654321{n}", message="ONCE") for n in range(3)]
    worker = node()
    await hand_over(retry_attempts=1)
    until(lambda: len(worker.told("failed")) == 3)
    until(lambda: one(db, "select count(*) from broadcast_jobs where status = 'queued'") == 3)
    assert statuses(db) == {"processing": 3}
    await hand_over(retry_attempts=1)
    assert len(worker.told("data")) == 3  # it waits
    # The phone seems well, but three were refused in a row: one is tried, and when it got through the others go.
    while statuses(db) != {"sent": 3}:
        db.execute("select finish_probes('{shop}', '{}')")
        end_waits(db)
        await hand_over(retry_attempts=1)
        until(
            lambda: not one(db, "select exists (select from broadcast_jobs where status in ('handed_over', 'active'))")
        )
    assert sorted(worker.sent) == [f"91987654321{n}" for n in range(3)]
    assert all(message(db, row)["error"] is None for row in rows)


async def test_a_row_cancelled_meanwhile_is_not_tried_again(db: Database, shop: str, hand_over: Pass) -> None:
    row = schedule(db)
    await hand_over()
    db.execute("update scheduled_messages set status = 'cancelled' where id = %s", (row,))
    db.execute("update broadcast_messages set status = 'failed', error = 'CONNECTION_NOT_READY'")
    assert message(db, row)["status"] == "cancelled"
    assert one(db, "select count(*) from broadcast_jobs") == 1


@pytest.mark.parametrize("text", ["THROW", "LOST"])
async def test_a_job_that_ends_without_a_word_after_it_began_is_unconfirmed(
    text: str, db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    row = schedule(db, message=text)
    node("bullmq5")
    await hand_over()
    until(lambda: message(db, row)["status"] != "processing")
    assert message(db, row)["status"] == "unconfirmed"
    assert "without a word" in message(db, row)["error"]


@pytest.mark.parametrize(
    ("began", "ended", "words", "status"),
    [
        ("handed_over", "failed", None, "processing"),
        ("handed_over", "failed", "Timed Out", "processing"),
        ("handed_over", "failed", "Contacts data is not an array.", "failed"),
        ("handed_over", "cancelled", None, "failed"),
        ("active", "failed", None, "unconfirmed"),
        ("active", "failed", "Timed Out", "unconfirmed"),
        ("active", "failed", "Connection shop is in cooldown. Will retry in 9 seconds.", "processing"),
        ("active", "failed", "Contacts data is not an array.", "failed"),
        ("active", "cancelled", None, "unconfirmed"),
        ("delayed", "failed", None, "processing"),
        ("handed_over", "completed", None, "sent"),
        ("active", "completed", None, "sent"),
    ],
)
async def test_how_a_job_ends_of_whose_message_nothing_was_said(
    began: str, ended: str, words: str | None, status: str, db: Database, shop: str, hand_over: Pass
) -> None:
    row = schedule(db)
    await hand_over()
    if began != "handed_over":
        db.execute("update broadcast_jobs set status = %s", (began,))
    db.execute("update broadcast_jobs set status = %s, error_message = %s", (ended, words))
    assert message(db, row)["status"] == status


@pytest.mark.parametrize(
    ("column", "told", "kept"),
    [
        ("text[]", "array['true_1', 'true_2']", "true_1"), ("text[]", "'{}'", None), ("text[]", "null", None),
        ("text", "'true_1'", "true_1"), ("jsonb", "'[\"true_1\"]'", "true_1"),
    ],
)  # fmt: skip
async def test_the_first_of_the_ids_that_the_worker_lists_is_the_rows(
    column: str, told: str, kept: str | None, db: Database, shop: str, hand_over: Pass
) -> None:
    """Its versions have had a column of texts, and a text."""
    change = "alter table broadcast_messages alter column message_ids type {} using null"
    with having(db, change.format(column), change.format("text[]")):
        row = schedule(db)
        await hand_over()
        db.execute(f"update broadcast_messages set status = 'sent', message_ids = {told}")
        assert message(db, row)["message_id"] == (kept or str(job(db, row)["id"]))


async def test_a_late_word_settles_what_was_in_doubt_and_nothing_else_does(
    db: Database, shop: str, hand_over: Pass
) -> None:
    told = "update broadcast_messages set status = %s, error = %s"
    row = schedule(db)
    await hand_over()
    db.execute("update broadcast_jobs set status = 'active'")
    db.execute("update broadcast_jobs set status = 'failed'")
    assert message(db, row)["status"] == "unconfirmed"
    db.execute(told, ("failed", "Request timeout after 15000ms"))
    assert message(db, row)["status"] == "unconfirmed"
    db.execute(told, ("failed", "CONNECTION_NOT_READY"))
    assert (message(db, row)["status"], one(db, "select count(*) from broadcast_jobs")) == ("failed", 1)
    db.execute(told, ("sent", None))
    assert message(db, row)["status"] == "failed"  # its owner may have sent it anew meanwhile


async def test_what_may_have_been_sent_is_not_sent_again_though_its_row_could_not_be_told_yet(
    db: Database, shop: str, hand_over: Pass
) -> None:
    """Somebody held the row while its job became unconfirmed: it still says that it is under way."""
    row = schedule(db)
    await hand_over()
    db.execute("update broadcast_jobs set status = 'active'")
    db.execute("update broadcast_jobs set status = 'failed'")
    db.execute("set session_replication_role = replica")
    db.execute("update scheduled_messages set status = 'processing' where id = %s", (row,))
    db.execute("set session_replication_role = origin")
    db.execute("update broadcast_messages set status = 'failed', error = 'CONNECTION_NOT_READY'")
    assert one(db, "select count(*) from broadcast_jobs") == 1


# A job of which the outcome is known does not run again.


async def test_a_worker_that_ends_in_its_pause_has_nothing_sent_twice(
    db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    rows = [schedule(db, contact_id=f"+91987654321{n}") for n in range(3)]
    first = node(PAUSE="600000")
    await hand_over()
    until(lambda: statuses(db) == {"sent": 3})
    first.kill()
    second = node()  # finds the three stalled
    until(lambda: len(second.told("completed")) == 3, 30, "the stalled jobs having ended")
    assert (len(first.sent), second.sent) == (3, [])
    assert len(second.told("refused")) == 3
    assert [message(db, row)["status"] for row in rows] == ["sent"] * 3
    assert one(db, "select count(*) from broadcast_jobs where status = 'completed'") == 3


async def test_a_worker_killed_while_the_phone_sends_leaves_it_unconfirmed(
    db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    row = schedule(db)
    first = node(SILENT="1", PAUSE="600000")
    await hand_over()
    until(lambda: first.sent)
    db.execute("update broadcast_jobs set status = 'active'")  # the one word that arrived
    first.kill()
    second = node()
    until(lambda: second.told("completed"), 30)
    assert second.sent == []
    assert message(db, row)["status"] == "unconfirmed"


@pytest.mark.parametrize("outcome", ["sent", "failed", "resend"])
async def test_what_the_operator_has_settled_is_not_sent_by_the_worker(
    outcome: str, db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    row = schedule(db)
    await hand_over()
    db.execute("select resolve_scheduled_message(%s, %s)", (row, outcome))
    worker = node()
    until(lambda: worker.told("completed"))
    assert worker.sent == []
    assert message(db, row)["status"] == {"resend": "pending"}.get(outcome, outcome)
    if outcome == "resend":
        await hand_over()
        until(lambda: message(db, row)["status"] == "sent")
        assert len(worker.sent) == 1


@pytest.mark.parametrize("status", ["sending", "handed_over"])
async def test_what_nobody_has_begun_may_begin(status: str, db: Database, shop: str, hand_over: Pass) -> None:
    schedule(db)
    await hand_over()
    db.execute("update broadcast_jobs set status = %s, lease_token = gen_random_uuid()", (status,))
    db.execute("update broadcast_jobs set status = 'active'")
    assert one(db, "select status from broadcast_jobs") == "active"


async def test_a_record_that_comes_after_the_workers_doubt_does_not_hand_over_anew(
    db: Database, shop: str, redis: "Redis[str]", hand_over: Pass
) -> None:
    row = schedule(db)
    await hand_over()
    token = job(db, row)["lease_token"]
    db.execute("update broadcast_messages set status = 'failed', error = 'Request timeout after 15000ms'")
    record(db, {"job_id": job(db, row)["id"], "token": token, "verdict": "handed_over", "wait": 600})
    assert job(db, row)["status"] == "unconfirmed"
    redis.flushall()
    end_leases(db)
    end_waits(db)
    await hand_over()
    assert redis.keys("*prioritized*") == []


@pytest.mark.parametrize("outcome", ["sent", "failed", "resend"])
async def test_what_is_settled_leaves_the_queue_and_what_is_being_run_stays(
    outcome: str, db: Database, shop: str, redis: "Redis[str]", node: Node, hand_over: Pass
) -> None:
    row = schedule(db)
    await hand_over()
    old = str(job(db, row)["id"])
    db.execute("select resolve_scheduled_message(%s, %s)", (row, outcome))
    db.execute("update scheduled_messages set status = 'cancelled' where status = 'pending'")
    await hand_over()
    assert redis.zcard("bull:broadcast:prioritized") == 0
    assert not redis.exists(f"bull:broadcast:{old}")

    running = schedule(db, message="Slowly")
    worker = node(SILENT="1", PAUSE="600000")
    await hand_over()
    until(lambda: worker.sent)
    db.execute("select resolve_scheduled_message(%s, %s)", (running, outcome))
    key = f"bull:broadcast:{one(db, 'select id from broadcast_jobs where scheduled_message_id = %s', running)}"
    db.execute("update scheduled_messages set status = 'cancelled' where status = 'pending'")
    await hand_over()
    assert redis.exists(key)
    worker.kill()  # it would end its rest first


async def test_hundreds_of_messages_of_a_phone_are_handed_over_as_its_worker_takes_them(
    db: Database, shop: str, redis: "Redis[str]", hand_over: Pass
) -> None:
    for n in range(40):
        schedule(db, contact_id=f"+9198765432{n:02}")
    await hand_over()
    assert redis.zcard("bull:broadcast:prioritized") == 5
    assert (
        one(db, "select count(*) from scheduled_messages where waiting_reason = 'its turn: at most 48 in 60 s'") == 35
    )
    for _ in range(3):  # its pace allows more, its queue does not
        end_waits(db)
        await hand_over()
    assert redis.zcard("bull:broadcast:prioritized") == 10
    db.execute("update broadcast_jobs set send_at = send_at - interval '11 minutes'")  # the worker died with them
    end_waits(db)
    await hand_over()
    assert redis.zcard("bull:broadcast:prioritized") > 10
    db.execute(
        "insert into connection_settings (connection_id, messages, period_seconds, burst) values ('shop', 600, 1, 600)"
    )
    end_waits(db)
    await hand_over()
    assert redis.zcard("bull:broadcast:prioritized") == 40


@pytest.mark.parametrize("kind", ["text", "media"])
async def test_placeholders_go_out_as_they_were_written(
    kind: str, db: Database, shop: str, node: Node, hand_over: Pass
) -> None:
    text = "Hi {{contact_name}}, {{phone_number}}, {{ phone_number }}, {{email}}"
    media = {"media_url": "https://e.com/a.png", "caption": text} if kind == "media" else {}
    row = schedule(db, message=text, type=kind, contact_id="+919876543210", **media)
    worker = node()
    await hand_over()
    until(lambda: message(db, row)["status"] == "sent")
    assert worker.sent == ["919876543210"]
    assert worker.told("text") == [text]


# What is one try's own; all else of a job goes into the next.
OF_ONE_TRY = {
    "id", "created_at", "updated_at", "status", "available_at", "attempts", "send_at", "send_until", "lease_token",
    "lease_until", "gateway", "retry_attempts", "retry_delay_seconds", "progress", "completed_at", "sent_count",
    "failed_count", "skipped_count", "refusal",
}  # fmt: skip


@pytest.mark.parametrize(("words", "attempts"), [("MEDIA_NOT_FOUND", 1), ("CONNECTION_NOT_READY", 0)])
async def test_the_next_try_is_the_same_job_in_every_column(
    words: str, attempts: int, db: Database, shop: str, hand_over: Pass
) -> None:
    row = schedule(db, type="image", media_url="https://e.com/a.png", caption="At this")
    await hand_over()
    db.execute(
        """
        update broadcast_jobs set series_id = gen_random_uuid(), user_id = gen_random_uuid(),
            asset_id = gen_random_uuid(),
            contact_id = 'Asha', media = '[{"url": "https://e.com/b.png"}]', schedule = now() - interval '1 min',
            expires_at = now() + interval '1 h', throttled = 2, refusals = 3, refused_at = now() - interval '1 min',
            broadcast_name = 'ours'
        """
    )
    before = job(db, row)
    db.execute("update broadcast_messages set status = 'failed', error = %s", (words,))
    after = job(db, row)
    same = set(before) - OF_ONE_TRY
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    written = {"series_id", "user_id", "asset_id", "contact_id", "media", "schedule", "expires_at", "refused_at"}
    assert written <= same
    assert None not in [after[name] for name in written]
    assert (after["id"] != before["id"], after["status"], after["attempts"]) == (True, "queued", attempts)
    told = db.execute("select * from broadcast_messages where job_id = %s", (after["id"],)).fetchone()
    assert told is not None
    assert [told[name] for name in ("contact", "message", "type", "media_url", "caption", "status")] == [
        "919876500000", "Hello", "image", "https://e.com/a.png", "At this", "waiting",
    ]  # fmt: skip


@pytest.mark.parametrize("was", ["handed_over", "active", "delayed"])
@pytest.mark.parametrize(
    ("word", "becomes"),
    [("delayed", "delayed"), ("completed", "completed"), ("waiting", None), ("queued", None), ("stalled", None)],
)
async def test_a_job_becomes_what_a_node_worker_knows_a_word_for_and_nothing_else(
    was: str, word: str, becomes: str | None, db: Database, shop: str, hand_over: Pass
) -> None:
    schedule(db)
    await hand_over()
    if was != "handed_over":
        db.execute("update broadcast_jobs set status = %s", (was,))
    db.execute("update broadcast_jobs set status = %s", (word,))
    assert one(db, "select status from broadcast_jobs") == (becomes or was)
