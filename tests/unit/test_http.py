"""The HTTP side, over real sockets."""

import asyncio
import http.client
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime

import httpx
import pytest

from tests.helpers.polling import auntil
from tests.helpers.webhooks import JOB, SECRET, TOKEN, envelope, sign, status
from worker.errors import ConfigError, StoreError
from worker.http.pages import MAX_BODY, Pages, Webhook
from worker.http.server import HttpServer
from worker.http.webhook import Inbox, StatusUpdate
from worker.models import Health
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals


class Site:
    """A running server with the statuses that its main loop was given."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.vitals = Vitals(poll_interval=60, clock=lambda: self.now)
        self.metrics = Metrics()
        self.stored: list[list[StatusUpdate]] = []
        self.store_fault: Exception | None = None
        self.store_calls = 0
        self.store_waits = asyncio.Event()
        self.store_waits.set()
        self.inbox = Inbox(self.store, limit=3, patience=1.0)
        app = Pages(self.vitals, self.metrics, Webhook(SECRET, TOKEN, self.inbox)).app()
        self.server = HttpServer(app, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.client = httpx.AsyncClient(base_url=self.url, timeout=10, trust_env=False)

    async def store(self, updates: list[StatusUpdate]) -> None:
        self.store_calls += 1
        await self.store_waits.wait()
        if self.store_fault:
            raise self.store_fault
        self.stored.append(updates)

    async def post(self, body: bytes, signature: str | None = None) -> httpx.Response:
        headers = {"x-hub-signature-256": sign(body) if signature is None else signature}
        return await self.client.post("/webhook", content=body, headers=headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site, stop = Site(), asyncio.Event()
    pump = asyncio.create_task(site.inbox.run(stop))
    site.server.start()
    yield site
    stop.set()
    await asyncio.wait_for(pump, 1)
    await site.client.aclose()
    await asyncio.to_thread(site.server.stop)


async def test_health_is_200_with_the_facts_while_all_is_well(site: Site) -> None:
    site.vitals.realtime = "listening"
    site.vitals.beat("scheduler")
    site.now += 12.34
    site.vitals.polled(oldest_overdue=1.5)
    answer = await site.client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ok": True,
        "problems": [],
        "seconds_since_poll": 0.0,
        "oldest_overdue_seconds": 1.5,
        "realtime": "listening",
        "gateway": {"ok": True, "detail": ""},
        "held": [],
        "seconds_since_progress": {"scheduler": 12.3},
    }


async def test_health_is_503_with_the_reasons_when_it_is_not(site: Site) -> None:
    site.vitals.gateway = Health(ok=False, detail="session down")
    site.now += 181
    answer = await site.client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["problems"] == ["the last successful poll was 181 s ago", "gateway: session down"]


async def test_deafness_alone_is_no_illness(site: Site) -> None:
    site.vitals.realtime = "deaf"
    answer = await site.client.get("/healthz")
    assert (answer.status_code, answer.json()["realtime"]) == (200, "deaf")


async def test_metrics_are_prometheus_text(site: Site) -> None:
    site.metrics.sent.inc(20_000)
    answer = await site.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "scheduled_messages_sent_total 20000.0" in answer.text.splitlines()


async def test_it_answers_while_the_work_loop_is_stuck(site: Site) -> None:
    def block() -> list[int]:
        """Never yields to the loop that the test runs on, which is the work's here."""
        return [httpx.get(f"{site.url}{path}", trust_env=False).status_code for path in paths]

    paths = ["/healthz", "/metrics"]
    assert block() == [200, 200]


@pytest.mark.parametrize("path", ["/", "/nothing", "/healthz/x"])
async def test_other_paths_are_404(site: Site, path: str) -> None:
    assert (await site.client.get(path)).status_code == 404


async def test_preview_lists_occurrences_in_their_zone(site: Site) -> None:
    query = {"start": "2026-03-28T09:00", "pattern": "daily", "timezone": "Europe/Berlin", "count": "2"}
    answer = await site.client.get("/preview", params=query)
    assert answer.status_code == 200
    assert answer.json() == {"occurrences": ["2026-03-28T09:00:00+01:00", "2026-03-29T09:00:00+02:00"]}


async def test_preview_ends_at_end_and_never_exceeds_a_thousand(site: Site) -> None:
    query = {"start": "2026-01-01T09:00", "pattern": "daily", "timezone": "UTC", "count": "999999"}
    assert len((await site.client.get("/preview", params=query)).json()["occurrences"]) == 1000
    answer = await site.client.get("/preview", params=query | {"end": "2026-01-03T09:00"})
    assert len(answer.json()["occurrences"]) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": ""},
        {"start": "soon"},
        {"pattern": "sometimes"},
        {"timezone": "Mars/Olympus"},
        {"count": "0"},
        {"count": "-1"},
        {"count": "many"},
        {"count": "\u0663"},
        {"end": "never"},
    ],
    ids=str,
)
async def test_preview_says_what_is_wrong(site: Site, wrong: dict[str, str]) -> None:
    query = {"start": "2026-01-01T09:00", "pattern": "daily", "timezone": "UTC", "count": "2"}
    answer = await site.client.get("/preview", params=query | wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_meta_gets_its_challenge_back_for_the_right_token(site: Site) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158201444"}
    answer = await site.client.get("/webhook", params=asked)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("wrong", [{"hub.verify_token": "guess"}, {"hub.verify_token": "ü"}, {"hub.mode": "x"}])
async def test_a_wrong_token_gets_nothing_back(site: Site, wrong: dict[str, str]) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158201444"} | wrong
    answer = await site.client.get("/webhook", params=asked)
    assert answer.status_code == 403
    assert "1158201444" not in answer.text


async def test_a_status_is_stored_before_it_is_answered(site: Site) -> None:
    assert (await site.post(envelope(status()))).status_code == 200
    moment = datetime(2025, 6, 15, 23, 27, 53, tzinfo=UTC)
    assert site.stored == [[StatusUpdate(JOB, "wamid.1", "delivered", moment)]]


async def one_stored_and_three_waiting(site: Site) -> list[asyncio.Task[httpx.Response]]:
    """The store is held up with the first post while three more arrive."""
    posts = [asyncio.create_task(site.post(envelope(status(id="wamid.0"))))]
    await auntil(lambda: site.store_calls == 1)
    posts += [asyncio.create_task(site.post(envelope(status(id=f"wamid.{n}")))) for n in (1, 2, 3)]
    await auntil(lambda: site.inbox._posts.qsize() == 3)
    return posts


async def test_posts_that_wait_are_stored_in_one_call(site: Site) -> None:
    site.store_waits.clear()
    posts = await one_stored_and_three_waiting(site)
    site.store_waits.set()
    assert [answer.status_code for answer in await asyncio.gather(*posts)] == [200] * 4
    assert [len(updates) for updates in site.stored] == [1, 3]


async def test_a_full_inbox_asks_meta_to_come_again(site: Site) -> None:
    site.store_waits.clear()
    posts = await one_stored_and_three_waiting(site)
    site.inbox._patience = 60.0  # it is not for want of time
    fifth = asyncio.create_task(site.post(envelope(status(id="wamid.5"))))
    await auntil(lambda: fifth.done() or site.inbox._posts.qsize() > 3)
    site.store_waits.set()
    assert (await fifth).status_code == 503
    await asyncio.gather(*posts)
    assert sum(map(len, site.stored)) == 4


async def test_a_post_that_nobody_waits_for_any_more_comes_again_and_ends_nothing() -> None:
    stored: list[list[StatusUpdate]] = []

    async def store(updates: list[StatusUpdate]) -> None:
        stored.append(updates)

    inbox, stop = Inbox(store), asyncio.Event()
    left, kept = ([StatusUpdate(JOB, f"wamid.{n}", "delivered", datetime.now(UTC))] for n in (1, 2))
    gone = asyncio.create_task(inbox.deliver(left))
    await auntil(lambda: inbox._posts.qsize() == 1)
    gone.cancel()
    await asyncio.wait([gone])
    pump = asyncio.create_task(inbox.run(stop))
    assert await inbox.deliver(kept)
    assert stored == [kept]
    stop.set()
    await pump


async def test_a_store_that_refuses_asks_meta_to_come_again(site: Site) -> None:
    site.store_fault = StoreError("down")
    assert (await site.post(envelope(status()))).status_code == 503
    site.store_fault = None
    assert (await site.post(envelope(status()))).status_code == 200
    assert len(site.stored) == 1


async def test_a_store_that_hangs_asks_meta_to_come_again(site: Site) -> None:
    site.store_waits.clear()
    began = time.monotonic()
    assert (await site.post(envelope(status()))).status_code == 503
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=00", "sha1=x", "ü", sign(b"{}", "other")])
async def test_a_body_that_meta_did_not_sign_is_refused(site: Site, signature: str) -> None:
    body = envelope(status())
    url, headers = "/webhook", {b"x-hub-signature-256": signature.encode()}
    assert (await site.client.post(url, content=body, headers=headers)).status_code == 403  # type: ignore[arg-type]
    assert site.stored == []


async def test_a_changed_body_is_refused(site: Site) -> None:
    body = envelope(status())
    assert (await site.post(body + b" ", sign(body))).status_code == 403


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "bytes", "deep"])
async def test_a_signed_body_that_is_not_json_is_400(site: Site, body: bytes) -> None:
    assert (await site.post(body)).status_code == 400


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"entry": 1}', envelope(1, None, {}), envelope()])
async def test_signed_json_without_statuses_is_taken_and_dropped(site: Site, body: bytes) -> None:
    assert (await site.post(body)).status_code == 200
    assert site.stored == []


def weighing(size: int) -> bytes:
    """A webhook of exactly so many bytes, as one with many incoming messages in it is, with a status at its end."""
    entry = {"id": "1", "changes": [{"field": "messages", "value": {"statuses": [status()]}}]}
    padded = json.dumps({"padding": "", "entry": [entry]}).encode()
    return padded.replace(b'""', b'"%s"' % (b"x" * (size - len(padded))), 1)


@pytest.mark.parametrize("size", [1_200_000, 2_900_000, 3_000_000, 3 * 2**20])
async def test_a_webhook_as_large_as_meta_sends_them_is_stored(site: Site, size: int) -> None:
    body = weighing(size)
    assert len(body) == size
    assert (await site.post(body)).status_code == 200
    assert [[update.job_id for update in updates] for updates in site.stored] == [[JOB]]


async def test_a_webhook_larger_than_meta_sends_them_is_refused(site: Site) -> None:
    assert (await site.post(weighing(MAX_BODY + 1))).status_code == 413

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 100_000 + 1):
            yield b" " * 100_000

    signed = {"x-hub-signature-256": sign(b"")}
    assert (await site.client.post("/webhook", content=chunks(), headers=signed)).status_code == 413
    assert site.stored == []


async def test_a_client_that_leaves_in_mid_body_does_no_harm(site: Site) -> None:
    def leave() -> None:
        with closing(socket.create_connection(("127.0.0.1", site.server.port))) as connection:
            connection.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

    await asyncio.to_thread(leave)
    assert (await site.client.get("/healthz")).status_code == 200


async def test_bytes_that_are_not_http_do_no_harm(site: Site) -> None:
    def send() -> bytes:
        with closing(socket.create_connection(("127.0.0.1", site.server.port), 5)) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
            return connection.recv(100)

    assert b" 400 " in await asyncio.to_thread(send)
    assert (await site.client.get("/healthz")).status_code == 200


async def test_without_its_secrets_the_webhook_is_not_there() -> None:
    server = HttpServer(Pages(Vitals(poll_interval=60), Metrics()).app(), "127.0.0.1", 0)
    server.start()
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(f"http://127.0.0.1:{server.port}/webhook")).status_code == 404
    finally:
        await asyncio.to_thread(server.stop)


async def test_an_address_in_use_is_a_fault_of_the_configuration(site: Site) -> None:
    with pytest.raises(ConfigError, match=r"HTTP_PORT.*127\.0\.0\.1"):
        HttpServer(Pages(site.vitals, site.metrics).app(), "127.0.0.1", site.server.port)


async def test_it_stops_while_a_client_keeps_its_connection(site: Site) -> None:
    server = HttpServer(Pages(site.vitals, site.metrics).app(), "127.0.0.1", 0)
    server.start()
    idle = http.client.HTTPConnection("127.0.0.1", server.port)
    await asyncio.to_thread(idle.request, "GET", "/healthz")
    began = time.monotonic()
    await asyncio.to_thread(server.stop)
    assert time.monotonic() - began < 2
    idle.close()
