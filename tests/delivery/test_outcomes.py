"""What a row says after each class of answer, through the real stack; every pass is a daemon that has just started."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from local.postgres import free_port
from tests.delivery.cloud_stub import CloudStub, refusal
from tests.delivery.jobs import end_leases, end_waits, job
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.http_server import Reply
from tests.helpers.nouns import settlement
from tests.helpers.polling import auntil
from tests.helpers.rows import Database, add_connections, message, one, schedule
from tests.sql.states import answered, job_of, row_in
from worker.daemon import Parts

Pass = Callable[..., Awaitable[None]]
# whatsmeow/send.go: WhatsApp's own refusal, with which nothing went out.
PASSING = Reply(500, {"exception": {"message": "2 UNKNOWN: server returned error 479"}})
WHY = (
    "WhatsApp refused the message: if it refuses others too, restart the session (2 UNKNOWN: server returned error 479)"
)


def waits(db: Database, row: str) -> float:
    """Seconds from now until the row's job may be tried."""
    sql = "select extract(epoch from available_at - now()) from broadcast_jobs where scheduled_message_id = %s"
    return float(one(db, sql, row))


async def test_an_accepted_message_is_sent_with_the_gateways_id(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    row = schedule(db, contact_id="+919876543210")
    before = one(db, "select clock_timestamp()")
    await by_waha()
    after = message(db, row)
    assert (after["status"], after["message_id"]) == ("sent", "true_919876543210@c.us_00000000")
    assert before < after["sent_at"] < one(db, "select clock_timestamp()")
    assert (after["error"], after["waiting_reason"], after["waiting_until"]) == (None, None, None)


async def test_a_passing_fault_is_tried_again_later_and_a_restart_forgets_nothing(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    waha.behaviour = lambda n, _: PASSING if n < 2 else None
    row = schedule(db)
    for attempt in (1, 2):
        await by_waha()
        after = message(db, row)
        # With its day where that is not today's any more (see test_result.py).
        expected = rf"try {attempt + 1} of 3 at (\d{{4}}-\d\d-\d\d )?\d\d:\d\d UTC: {re.escape(WHY)}"
        assert after["status"] == "processing"
        assert re.fullmatch(expected, after["error"]), after["error"]
        assert 55 < waits(db, row) < 76
        await by_waha()  # too early
        assert (job(db, row)["attempts"], len(waha.received)) == (attempt, attempt)
        end_waits(db)
    await by_waha()
    assert (message(db, row)["status"], message(db, row)["error"]) == ("sent", None)


async def test_the_last_try_that_fails_fails_the_row(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    waha.behaviour = lambda *_: PASSING
    row = schedule(db)
    for _ in range(4):
        await by_waha(retry_attempts=3, retry_delay_seconds=0)
        end_waits(db)
    after = message(db, row)
    assert (after["status"], after["error"]) == ("failed", f"{WHY} (given up after 3 tries)")
    assert len(waha.received) == 3


async def test_a_gateway_that_is_not_there_is_tried_again(db: Database, shop: str, one_pass: Pass) -> None:
    row = schedule(db)
    await one_pass(gateway="waha", waha_url=f"http://127.0.0.1:{free_port()}")
    assert message(db, row)["status"] == "processing"
    assert "The gateway cannot be reached" in message(db, row)["error"]


async def test_what_can_never_go_out_fails_at_once(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    waha.behaviour = lambda *_: Reply(500, {"exception": {"message": "The number does not exist"}})
    row = schedule(db)
    await by_waha()
    after = message(db, row)
    assert after["status"] == "failed"
    assert after["error"] == "No WhatsApp account has this number (The number does not exist)"


async def test_too_fast_slows_the_connection_down_and_costs_no_try(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    add_connections(db, "other")
    waha.behaviour = lambda _, one: Reply(429, {}, {"retry-after": "30"}) if one.session == "shop" else None
    row, other = schedule(db), schedule(db, connection_id="other", contact_id="+919876543211")
    await by_waha(retry_attempts=1)
    after = message(db, row)
    assert (after["status"], after["error"]) == ("processing", None)
    assert "slow down" in after["waiting_reason"]
    assert timedelta(seconds=25) < after["waiting_until"] - after["updated_at"] <= timedelta(seconds=30)
    assert job(db, row)["attempts"] == 0
    assert message(db, other)["status"] == "sent"
    waha.behaviour = None
    end_waits(db)
    await by_waha(retry_attempts=1)
    assert message(db, row)["status"] == "sent"
    assert message(db, row)["waiting_reason"] is None


async def test_the_pair_limit_puts_the_recipient_off_by_powers_of_four(
    db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda n, body: refusal(131056) if body["to"] == "+919876543210" and n < 5 else None
    row, other = schedule(db, contact_id="+919876543210"), schedule(db, contact_id="+919876543211")
    for seconds in (1, 4, 16, 64):
        await by_cloud()
        assert seconds - 1 < waits(db, row) <= seconds
        assert (job(db, row)["attempts"], message(db, row)["status"]) == (0, "processing")
        assert message(db, row)["waiting_reason"].startswith("Too many messages to this recipient")
        end_waits(db)
    assert message(db, other)["status"] == "sent"
    await by_cloud()
    assert message(db, row)["status"] == "sent"
    assert cloud.counts == {"+919876543210": 5, "+919876543211": 1}


async def test_a_stopped_connection_keeps_its_messages_and_goes_on_when_it_is_back(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass, parts: Callable[..., Awaitable[Parts]]
) -> None:
    add_connections(db, "other")
    waha.behaviour = lambda _, one: (
        Reply(422, {"error": "Session status is not as expected"}) if one.session == "shop" else None
    )
    rows = [schedule(db, contact_id=f"+91987654321{n}") for n in range(3)]
    other = schedule(db, connection_id="other", contact_id="+919876543219")
    await by_waha(retry_attempts=1)
    stopped = "The WAHA session is not connected to WhatsApp (Session status is not as expected)"
    for row in rows:
        assert message(db, row)["status"] == "processing"
        assert stopped in message(db, row)["waiting_reason"]
        assert job(db, row)["attempts"] == 0
    assert message(db, other)["status"] == "sent"
    dialled = len(waha.received)
    await by_waha(retry_attempts=1)
    assert len(waha.received) == dialled
    waha.behaviour = None
    db.execute("update private.connection_state set probe_at = now()")
    daemon = await parts(gateway="waha", waha_url=waha.url)
    await daemon.probe.probe()
    await daemon.dispatcher.send_all()
    assert {message(db, row)["status"] for row in rows} == {"sent"}
    assert {message(db, row)["waiting_reason"] for row in rows} == {None}


async def test_an_answer_that_never_comes_leaves_the_row_unconfirmed(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    waha.behaviour = lambda n, _: [Reply(cut=0), Reply(delay=60), Reply(200, "<html>Welcome</html>"), Reply(504)][n]
    rows = [schedule(db, contact_id=f"+91987654321{n}") for n in range(4)]
    await by_waha(lease_seconds=5)
    errors = {message(db, row)["error"] for row in rows}
    assert {message(db, row)["status"] for row in rows} == {"unconfirmed"}
    assert errors == {
        "It may have been sent: The gateway did not answer (RemoteProtocolError)",
        "It may have been sent: The gateway did not answer (TimeoutError)",
        "It may have been sent: The gateway accepted the request, but its answer cannot be read",
        "It may have been sent: The gateway reports a fault and does not tell whether the message went out",
    }
    end_waits(db)
    end_leases(db)
    await by_waha()
    assert len(waha.received) == 4


async def test_an_answer_after_the_lease_settles_the_row(
    db: Database, shop: str, waha: CountingGateway, parts: Callable[..., Awaitable[Parts]]
) -> None:
    waha.delay = 1.0
    accepted, refused = schedule(db), schedule(db, contact_id="+919876543211")
    waha.behaviour = lambda _, one: Reply(400, {"message": ["no"]}) if one.chat_id == "919876543211@c.us" else None
    slow, quick = await parts(gateway="waha", waha_url=waha.url), await parts()
    await slow.scheduler.poll()
    async with asyncio.TaskGroup() as group:
        group.create_task(slow.dispatcher.send_all())
        await auntil(lambda: len(waha.received) == 1)
        end_leases(db)
        await quick.rescue.rescue()
        for row in (accepted, refused):
            assert message(db, row)["status"] == "unconfirmed"
            assert "the sender stopped while it was sending" in message(db, row)["error"]
    assert message(db, accepted)["status"] == "sent"
    assert message(db, accepted)["error"] is None
    assert message(db, refused)["status"] == "failed"


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (131050, "failed", "The recipient has opted out of these messages (131050: why)"),
        (131026, "failed", r"WhatsApp cannot deliver to this number: it may have no WhatsApp account (131026: why)"),
        (131047, "failed", "only a template may be sent (131047: why)"),
        (132001, "failed", "WhatsApp has no approved template of this name"),
        (131000, "processing", "of 3 at"),
        (131049, "processing", "try 2 of 3 at"),
    ],
)
async def test_whatsapps_reasons_are_told_apart(
    code: int, status: str, error: str, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda *_: refusal(code, "why", 500 if code == 131000 else 400)
    row = schedule(db, contact_id="+919876543210")
    await by_cloud(retry_attempts=3)
    assert message(db, row)["status"] == status
    assert error in message(db, row)["error"]
    assert (waits(db, row) > 86_000) == (code == 131049)


async def test_the_request_is_the_cloud_apis(db: Database, shop: str, cloud: CloudStub, by_cloud: Pass) -> None:
    row = schedule(db, contact_id="+919876543210")
    await by_cloud()
    job_id: Any = str(message(db, row)["broadcast_job_id"])
    assert cloud.received == [
        (
            "/1066/messages",
            {
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+919876543210", "type": "text",
                "text": {"body": "Hello", "preview_url": False}, "biz_opaque_callback_data": job_id,
            },
        )
    ]  # fmt: skip
    assert (message(db, row)["status"], message(db, row)["message_id"]) == ("sent", "wamid.0")


@pytest.mark.parametrize("outcome", ["sent", "failed"])
async def test_what_can_be_written_down_only_later_ended_when_the_gateway_answered(
    db: Database, shop: str, parts: Callable[..., Awaitable[Parts]], outcome: str
) -> None:
    """After an hour in which Supabase was away."""
    row = row_in(db, "sending", shop, None)
    held = job_of(db, row)
    an_hour_ago = time.monotonic() - 3600
    words = {"message_id": "true_1", "error": "why", "answered_at": an_hour_ago}
    answer = settlement(str(held["id"]), outcome, str(held["lease_token"]), **words)
    await (await parts()).store.record([answer])
    ended = [job_of(db, row)["completed_at"], message(db, row)["sent_at"] if outcome == "sent" else None]
    age = [one(db, "select now()") - instant for instant in ended if instant]
    assert len(age) == (2 if outcome == "sent" else 1)
    assert all(timedelta(minutes=59) < one_age < timedelta(minutes=61) for one_age in age)


@pytest.mark.parametrize(
    ("outcome", "becomes"),
    [("sent", "sent"), ("failed", "failed"), ("unconfirmed", "unconfirmed"),
     *((late, "failed") for late in ("retry", "stopped", "released", "throttled_recipient", "throttled_connection"))],
)  # fmt: skip
def test_a_late_answer_to_what_is_unconfirmed_settles_it_and_never_sends_it_again(
    db: Database, shop: str, outcome: str, becomes: str
) -> None:
    row = row_in(db, "unconfirmed", shop, None)
    answered(db, row, outcome)
    after, ended = message(db, row), job_of(db, row)
    assert (after["status"], ended["status"]) == (becomes, {"sent": "completed"}.get(becomes, becomes))
    if becomes == "failed" != outcome:
        assert after["error"].startswith("Not sent, and not tried again, because the worker was held up for too long")


async def test_whose_job_is_gone_or_has_another_token_is_told_so(
    db: Database, shop: str, parts: Callable[..., Awaitable[Parts]]
) -> None:
    jobs = [job_of(db, row_in(db, "sending", shop, None)) for _ in range(3)]
    ours, gone, another = (str(one_job["id"]) for one_job in jobs)
    db.execute("delete from broadcast_jobs where id = %s", (gone,))
    db.execute("update broadcast_jobs set lease_token = null where id = %s", (another,))
    told = [settlement(str(j["id"]), "sent", str(j["lease_token"]), message_id="true_1") for j in jobs]
    assert sorted((await (await parts()).store.record(told)).ids) == sorted([gone, another])
    assert one(db, "select status from broadcast_jobs where id = %s", ours) == "completed"
