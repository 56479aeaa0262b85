"""What WhatsApp tells later, through a real daemon's webhook."""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb

from local.postgres import free_port
from tests.delivery.cloud_stub import CloudStub, refusal
from tests.delivery.jobs import end_waits, job
from tests.helpers.calls import p_rows
from tests.helpers.http_server import Reply
from tests.helpers.polling import until
from tests.helpers.process import Worker, environment
from tests.helpers.rows import Database, message, schedule
from tests.sql.states import row_in

Pass = Callable[..., Awaitable[None]]
SECRET = "app-secret"
HTTP_TOKEN = "a-token-that-only-the-operator-knows"


class Meta:
    """What Meta posts. `url`: the daemon's webhook."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False)

    def post(self, body: bytes, secret: str = SECRET) -> int:
        """Returns the answer's status."""
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"x-hub-signature-256": f"sha256={signature}", "content-type": "application/json"}
        return self.http.post("/webhook", content=body, headers=headers).status_code

    def tell(self, job_id: object, *statuses: str, secret: str = SECRET, error: dict[str, Any] | None = None) -> int:
        """One post with these statuses of one message, in this order."""
        told = [
            {
                "id": "wamid.told", "status": status, "timestamp": "1750030073", "recipient_id": "919876543210",
                "biz_opaque_callback_data": str(job_id), **({"errors": [error]} if error else {}),
            }
            for status in statuses
        ]  # fmt: skip
        change = {"field": "messages", "value": {"messaging_product": "whatsapp", "statuses": told}}
        body = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
        return self.post(json.dumps(body).encode(), secret)


@pytest.fixture(scope="module")
def meta(stack: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meta]:
    """A daemon that listens, and looks for work only once, before there is any."""
    port, directory = free_port(), tmp_path_factory.mktemp("webhook")
    given = {
        "GATEWAY": "mock", "REALTIME": "off", "POLL_INTERVAL_SECONDS": "3600", "HTTP_PORT": str(port),
        "WHATSAPP_APP_SECRET": SECRET, "WHATSAPP_VERIFY_TOKEN": "token", "HTTP_TOKEN": HTTP_TOKEN,
    }  # fmt: skip
    worker = Worker("run", environment(stack, given), Path(directory))
    try:
        meta = Meta(f"http://127.0.0.1:{port}")
        worker.until_said("started")
        until(lambda: is_idle(meta.http), 15, "the daemon having looked for work")
        yield meta
    finally:
        worker.kill()


def is_idle(http: httpx.Client) -> bool:
    """Whether it has looked once, so that it leaves the rows of the tests alone."""
    try:
        token = {"authorization": f"Bearer {HTTP_TOKEN}"}
        looked = 'rpc_seconds_count{rpc="get_agenda"} 1.0' in http.get("/metrics", headers=token).text
        return looked and http.get("/healthz", headers=token).json()["seconds_since_progress"]["dispatcher"] > 0.5
    except httpx.TransportError:
        return False


@pytest.fixture
async def sent(db: Database, shop: str, by_cloud: Pass) -> str:
    """A row that WhatsApp has accepted."""
    row = schedule(db, contact_id="+919876543210")
    await by_cloud()
    assert message(db, row)["status"] == "sent"
    return row


@pytest.fixture
async def unconfirmed(db: Database, shop: str, cloud: CloudStub, by_cloud: Pass) -> str:
    """A row whose request was taken and never answered."""
    cloud.behaviour = lambda *_: Reply(cut=0)
    row = schedule(db, contact_id="+919876543210")
    await by_cloud()
    assert message(db, row)["status"] == "unconfirmed"
    return row


def test_meta_can_set_the_webhook_up(meta: Meta, db: Database) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "token", "hub.challenge": "1158201444"}
    assert meta.http.get("/webhook", params=asked).text == "1158201444"
    assert meta.http.get("/webhook", params={**asked, "hub.verify_token": "other"}).status_code == 403


@pytest.mark.parametrize("told", ["sent", "delivered", "read"])
def test_word_of_a_message_settles_what_was_unconfirmed(told: str, meta: Meta, db: Database, unconfirmed: str) -> None:
    assert meta.tell(message(db, unconfirmed)["broadcast_job_id"], told) == 200
    after = message(db, unconfirmed)
    assert (after["status"], after["message_id"], after["delivery_status"]) == ("sent", "wamid.told", told)
    assert after["sent_at"] is not None
    assert after["error"] is None
    assert job(db, unconfirmed)["status"] == "completed"


def test_word_that_it_failed_settles_what_was_unconfirmed(meta: Meta, db: Database, unconfirmed: str) -> None:
    error = {"code": 131026, "title": "Message undeliverable", "error_data": {"details": "Not on WhatsApp"}}
    assert meta.tell(message(db, unconfirmed)["broadcast_job_id"], "failed", error=error) == 200
    after = message(db, unconfirmed)
    assert (after["status"], after["error"], after["delivery_status"]) == (
        "failed",
        "131026: Not on WhatsApp",
        "failed",
    )


def test_news_may_come_twice_and_in_any_order(meta: Meta, db: Database, sent: str) -> None:
    job_id = message(db, sent)["broadcast_job_id"]
    for told, shown in [("sent", "sent"), ("delivered", "delivered"), ("delivered", "delivered"), ("read", "read")]:
        assert meta.tell(job_id, told) == 200
        assert message(db, sent)["delivery_status"] == shown
    for told in ("sent", "delivered", "failed"):
        assert meta.tell(job_id, told, error={"code": 1}) == 200
    assert meta.tell(job_id, "read", "sent", "delivered") == 200
    after = message(db, sent)
    assert (after["status"], after["delivery_status"], after["error"]) == ("sent", "read", None)
    assert after["message_id"] == "wamid.0"


@pytest.mark.parametrize("told", [*permutations(("sent", "failed", "delivered", "read"), 2)], ids="-".join)
@pytest.mark.parametrize("state", ["sent", "unconfirmed"])
def test_of_what_is_told_in_one_call_the_best_holds_in_any_order(
    db: Database, shop: str, service: httpx.Client, state: str, told: tuple[str, str]
) -> None:
    row = row_in(db, state, "shop", None)
    of = {"job_id": job(db, row)["id"], "message_id": "wamid.1"}
    words = [{**of, "status": status, "error": error} for status, error in zip(told, ("5: No", None), strict=True)]
    answer = service.post("/rpc/record_deliveries", json={"p_rows": p_rows(*words)})
    assert answer.is_success, answer.text
    best = max(told, key=["sent", "failed", "delivered", "read"].index)
    after = message(db, row)
    assert after["delivery_status"] == best
    assert after["status"] == ("failed" if (state, best) == ("unconfirmed", "failed") else "sent")
    assert (after["error"] is None) == (best != "failed")


def test_what_was_accepted_and_not_delivered_says_so(meta: Meta, db: Database, sent: str) -> None:
    error = {"code": 131049, "error_data": {"details": "Healthy ecosystem"}}
    assert meta.tell(message(db, sent)["broadcast_job_id"], "failed", error=error) == 200
    after = message(db, sent)
    assert (after["status"], after["delivery_status"]) == ("sent", "failed")
    assert after["error"] == "Accepted, but not delivered: 131049: Healthy ecosystem"


def test_delivered_after_failed_is_good_news(meta: Meta, db: Database, sent: str) -> None:
    job_id = message(db, sent)["broadcast_job_id"]
    meta.tell(job_id, "failed", error={"code": 1})
    meta.tell(job_id, "delivered")
    assert (message(db, sent)["delivery_status"], message(db, sent)["error"]) == ("delivered", None)


def test_a_forged_post_changes_nothing(meta: Meta, db: Database, unconfirmed: str) -> None:
    job_id = message(db, unconfirmed)["broadcast_job_id"]
    assert meta.tell(job_id, "read", secret="guessed") == 403
    assert meta.http.post("/webhook", content=b"{}").status_code == 403
    assert message(db, unconfirmed)["status"] == "unconfirmed"


def test_news_of_strangers_is_taken_and_forgotten(meta: Meta, db: Database, sent: str) -> None:
    assert meta.tell("00000000-0000-4000-8000-000000000000", "read") == 200
    assert meta.tell("not-one-of-our-ids", "read") == 200
    assert meta.post(b'{"entry": [{"changes": [{"value": {"messages": [{"id": "wamid.in"}]}}]}]}') == 200
    assert message(db, sent)["delivery_status"] is None


async def test_word_may_come_before_the_answer(
    meta: Meta, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    row = schedule(db, contact_id="+919876543210")
    cloud.behaviour = lambda _, body: meta.tell(body["biz_opaque_callback_data"], "delivered") and None
    await by_cloud()
    after = message(db, row)
    assert (after["status"], after["message_id"], after["delivery_status"]) == ("sent", "wamid.told", "delivered")


async def test_word_of_another_attempt_does_not_touch_the_edited_row(
    meta: Meta, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda *_: refusal(131026)
    row = schedule(db, contact_id="+919876543210")
    await by_cloud()
    old = message(db, row)["broadcast_job_id"]
    db.execute(
        "update scheduled_messages set status = 'pending', scheduled_at = now() + interval '1 day' where id = %s",
        (row,),
    )
    assert meta.tell(old, "read") == 200
    assert (message(db, row)["status"], message(db, row)["delivery_status"]) == ("pending", None)


@pytest.mark.parametrize("told", ["sent", "delivered", "read"])
async def test_word_of_a_message_that_waits_for_another_try_ends_it_and_no_second_copy_follows(
    told: str, meta: Meta, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    """Meta answered with a fault, and the message was under way all the same."""
    cloud.behaviour = lambda n, _: refusal(131000, status=500) if n == 0 else None
    row = schedule(db, contact_id="+919876543210")
    await by_cloud(retry_attempts=3)
    assert message(db, row)["status"] == "processing"
    assert meta.tell(message(db, row)["broadcast_job_id"], told) == 200
    end_waits(db)
    await by_cloud(retry_attempts=3)
    after = message(db, row)
    assert (after["status"], after["delivery_status"], after["message_id"]) == ("sent", told, "wamid.told")
    assert (after["error"], after["waiting_reason"]) == (None, None)
    assert len(cloud.received) == 1


async def test_word_that_a_try_failed_takes_no_other_away(
    meta: Meta, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda n, _: refusal(131000, status=500) if n == 0 else None
    row = schedule(db, contact_id="+919876543210")
    await by_cloud(retry_attempts=3)
    assert meta.tell(message(db, row)["broadcast_job_id"], "failed", error={"code": 131000}) == 200
    end_waits(db)
    await by_cloud(retry_attempts=3)
    assert (message(db, row)["status"], message(db, row)["message_id"]) == ("sent", "wamid.1")


async def test_word_of_one_part_while_all_wait_for_another_try_leaves_doubt_and_no_second_copy_follows(
    meta: Meta, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda *_: refusal(131000, status=500)
    media = [{"url": f"https://e.com/{n}.jpg", "type": "image"} for n in (1, 2)]
    row = schedule(db, contact_id="+919876543210", type="image", message="", media=Jsonb(media))
    await by_cloud(retry_attempts=3)
    assert message(db, row)["status"] == "processing"
    job_id = message(db, row)["broadcast_job_id"]
    assert meta.tell(f"{job_id}:1/2", "delivered") == 200
    end_waits(db)
    await by_cloud(retry_attempts=3)
    after = message(db, row)
    assert (after["status"], len(cloud.received)) == ("unconfirmed", 1)
    assert after["error"].startswith("It may have been sent: WhatsApp told of a part")
    assert meta.tell(f"{job_id}:2/2", "read") == 200
    assert (message(db, row)["status"], message(db, row)["delivery_status"]) == ("sent", "delivered")
