"""The dearest that a stranger can ask of HTTP_PORT: what it leaves, and what it keeps from others."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.helpers.webhooks import JOB, SECRET, TOKEN, envelope, sign, status
from worker.http import pages as pages_module
from worker.http import server as server_module
from worker.http.access import Access
from worker.http.pages import ALWAYS_READ, MAX_BODY, Pages, Webhook
from worker.http.server import HttpServer
from worker.http.webhook import Inbox
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
async def client(caplog: pytest.LogCaptureFixture) -> AsyncIterator[httpx.AsyncClient]:
    """A stranger's, with the webhook there. What the server has to say of it would be in the log."""

    async def store(_: Any) -> None:
        return None

    inbox, stop = Inbox(store), asyncio.Event()
    pump = asyncio.create_task(inbox.run(stop))
    pages = Pages(Vitals(poll_interval=60), Metrics(), Webhook(SECRET, TOKEN, inbox), Access())
    server = HttpServer(pages.app(), "127.0.0.1", 0)
    server.start()
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
        yield client
    stop.set()
    await pump
    await asyncio.to_thread(server.stop)


def said(client: httpx.AsyncClient, sent: bytes, wait: bool = True) -> bytes:
    """What comes back for some bytes, until the other side ends or says nothing more."""
    address = client.base_url.host, client.base_url.port
    with contextlib.suppress(OSError), socket.create_connection(address, 5) as connection:
        connection.sendall(sent)
        if wait:
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65_536), b""))
    return b""


@pytest.mark.parametrize("request_of", ["page", "webhook"])
async def test_who_has_left_keeps_nobody_waiting(client, monkeypatch, request_of: str) -> None:
    """A hundred who asked and left; at this pace their answers alone would take half a minute."""
    monkeypatch.setattr(server_module, "PAGES_A_SECOND", 4)
    monkeypatch.setattr(server_module, "WEBHOOKS_A_SECOND", 4)
    asked = HEALTH if request_of == "page" else b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

    await asyncio.to_thread(lambda: [said(client, asked, wait=False) for _ in range(100)])

    answer = await (client.get("/healthz") if request_of == "page" else client.post("/webhook"))
    assert answer.status_code == (200 if request_of == "page" else 403)


@pytest.mark.parametrize(
    ("status", "size", "pages"), [(200, 3_000_000, 0), (403, 0, 1), (403, 70_000, 2), (413, 1_000_000, 16), (503, 9, 0)]
)
async def test_a_webhook_that_is_refused_takes_the_turns_of_pages_and_meta_s_do_not(
    monkeypatch, status: int, size: int, pages: int
) -> None:
    """What an answer took is told by how long those that came after it are asked to wait, in all."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async def chunk() -> Any:
        left[0] -= (taken := min(left[0], 60_000))
        return {"type": "http.request", "body": b" " * taken, "more_body": left[0] > 0}

    async def nothing(_: Any) -> None:
        return None

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    now, left = [1000.0], [0]
    monkeypatch.setattr(server_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(server_module, "asyncio", SimpleNamespace(sleep=sleep, Lock=asyncio.Lock))
    pace = server_module.Pace(app)
    for _ in range(1000):
        left[0] = size
        await pace({"path": "/webhook"}, chunk, nothing)
    turns = now[0] - 1000 + 0.5  # half of a second's may come at once
    assert turns == pytest.approx(1000 * (1 / 1000 + pages / 100), rel=0.02)


NO_HTTP = {
    "nonsense": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no end of a line": b"G" * 100_000,
    "a header without end": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000 + b"\r\n\r\n",
    "headers without end": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 50_000 + b"\r\n",
    "a path without end": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{",
    "a length below nothing": b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length of thousands of digits": b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: "
    + b"9" * 9_000
    + b"\r\n\r\n",
    "a chunk of no number": b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "a NUL in the path": b"GET /healthz\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_gets_an_error_at_most_and_no_line_in_the_log(client, caplog, sent: bytes) -> None:
    answers = await asyncio.to_thread(lambda: {said(client, sent)[:12] for _ in range(3)})
    assert answers <= {b"", b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 403"}
    assert (await client.get("/healthz")).status_code == 200
    assert caplog.records == []


PATHS = ["/healthz", "/metrics", "/preview", "/webhook", "/", "/docs", "/openapi.json", "/healthz/", "//healthz",
         "/../etc/passwd", "/%2e%2e/etc/passwd", "/webhook/x", "/" + "a/" * 2_000, "/%00", "/%ff"]  # fmt: skip
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "QUERY"]
FORWARDED = [
    {"x-forwarded-for": "127.0.0.1"},
    {"forwarded": "for=127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"via": "1.1 proxy"},
    {"host": "evil.test"},
    {"host": "[::1"},
]
TOKENS = [{"authorization": f"Bearer {'a' * 30_000}"}, {"authorization": "Bearer"}, {"authorization": "Basic OnA="},
          {"authorization": "Bearer eyJ.e.x"}, {"cookie": "a=" * 10_000},
          {"x-http-method-override": "POST"}]  # fmt: skip


async def test_each_path_with_each_method_and_header_is_refused_or_says_whether_all_is_well(
    client, caplog, unpaced
) -> None:
    """No answer is a fault of ours, none is long, and none tells a stranger anything."""
    for path, method in itertools.product(PATHS, METHODS):
        answer = await client.request(method, path, headers=FORWARDED[0])
        assert answer.status_code in (200, 307, 400, 401, 403, 404, 405), (method, path, answer.text)
        assert not (answer.is_success and answer.content) or answer.json() == {"ok": True}
        assert len(answer.content) < 500
    for headers, path in itertools.product(FORWARDED + TOKENS, ["/healthz", "/metrics", "/preview"]):
        strange = headers if headers in FORWARDED else headers | FORWARDED[0]
        answer = await client.get(path, headers=strange)
        assert answer.status_code == (200 if path == "/healthz" else 403) or answer.status_code == 400
        assert answer.is_error or answer.json() == {"ok": True}
    assert caplog.records == []


STARTS = ["2026-01-01T09:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59",
          "0001-01-01", "2026-W01-1", "١٩٩٩-01-01", "2026-01-01T09:00+00:00:00.000001", "1" * 10_000,
          "\x00", "NaN"]  # fmt: skip
PATTERNS = ["daily", "FREQ=YEARLY;INTERVAL=200", "FREQ=SECONDLY", "FREQ=DAILY;INTERVAL=" + "9" * 4_000,
            "FREQ=DAILY;" * 900,
            "FREQ=YEARLY;BYDAY=" + ",".join(f"{n}MO" for n in range(1, 54)) + ";BYMONTHDAY=31;BYMONTH=2",
            "FREQ=MINUTELY;BYSETPOS=-366;BYHOUR=" + ",".join(map(str, range(24))), "RRULE:", "𝟙" * 1_000,
            "FREQ=DAILY;UNTIL=99999999T999999Z", "FREQ=DAILY;COUNT=0", "FREQ=DAILY;BYMONTHDAY=" + "-1," * 5_000 + "1",
            "\ud800", "FREQ=MONTHLY;BYDAY=5FR;BYMONTHDAY=1"]  # fmt: skip
ZONES = [
    "UTC",
    "America/New_York",
    "../../etc/passwd",
    "/dev/zero",
    "posixrules",
    "UTC\x00",
    "a" * 10_000,
    "\u202eCTU",
    ".",
]


@pytest.fixture
def unpaced(monkeypatch) -> None:
    """As fast as it can: the pace is another test's."""
    monkeypatch.setattr(server_module, "PAGES_A_SECOND", 100_000)


def shown(start: str, pattern: str, zone: str, **more: str) -> str:
    return "/preview?" + urlencode({"start": start, "pattern": pattern, "timezone": zone, **more}, errors="replace")


async def test_the_strangest_previews_are_shown_or_refused_in_a_line(client, caplog, unpaced) -> None:
    asked = [shown(start, "daily", zone) for start in STARTS for zone in ZONES[:2]]
    asked += [shown(STARTS[0], "daily", zone) for zone in ZONES]
    asked += [shown(STARTS[0], pattern, zone, count="1000") for pattern in PATTERNS for zone in ZONES[1:2]]
    asked += [shown(start, pattern, "Europe/Lisbon", end=STARTS[2]) for start in STARTS for pattern in PATTERNS[:2]]
    asked += [
        shown(STARTS[0], "daily", "UTC", count=count) for count in ("0", "-1", "1e9", "9" * 9, "9" * 5_000, "٣", " 3")
    ]
    asked += ["/preview?start=%ff%fe&pattern=%ed%a0%80&timezone=%00", "/preview?" + "start=1&" * 5_000]
    for url in asked:
        answer = await client.get(url)
        assert answer.status_code in (200, 400), (url[:200], answer.text[:200])
        assert answer.is_success or "\n" not in answer.json()["error"]
        assert len(answer.content) < 50_000 if answer.is_success else len(answer.content) < 500
    assert caplog.records == []


def upload(size: int) -> bytes:
    """The beginning of a body of the greatest size, with a signature that is none of Meta's."""
    head = (
        f"POST /webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: {sign(b'')}\r\nContent-Length: {MAX_BODY}\r\n\r\n"
    )
    return head.encode() + b"x" * size


async def test_bodies_that_never_end_are_few_at_a_time_and_meta_s_are_read_beside_them(client, monkeypatch) -> None:
    most = 4 * ALWAYS_READ
    monkeypatch.setattr(pages_module, "MOST_READ", most)
    with ExitStack() as uploads:
        address = (client.base_url.host, client.base_url.port)
        stalled = [uploads.enter_context(socket.create_connection(address, 5)) for _ in range(8)]
        for connection in stalled:
            with contextlib.suppress(OSError):  # it may have been told not to go on
                await asyncio.to_thread(connection.sendall, upload(2 * ALWAYS_READ))
        body = envelope(status(), {"id": "x" * 1_000})
        answer = await client.post("/webhook", content=body, headers={"x-hub-signature-256": sign(body)})
        assert (answer.status_code, JOB in body.decode()) == (200, True)
        for connection in stalled:
            connection.settimeout(0.3)
        refused = [c for c in stalled if await asyncio.to_thread(answered, c)]
    assert len(refused) >= 4


def answered(connection: socket.socket) -> bool:
    try:
        return b" 503 " in connection.recv(100)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("signature", [None, "sha256=" + "0" * 63, "sha256=" + "g" * 64, "sha1=" + "0" * 40])
async def test_a_body_without_a_signature_is_not_even_read(client, signature: str | None) -> None:
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for n in range(1_000):
            read.append(n)
            yield b"x" * 65_536
            await asyncio.sleep(0)

    headers = {"x-hub-signature-256": signature} if signature else {}
    with contextlib.suppress(httpx.HTTPError):
        assert (await client.post("/webhook", content=body(), headers=headers)).status_code == 403
    assert len(read) < 1_000


STRANGE = [{"statuses": [status(timestamp="9" * 400), status(id="\ud800\0")]}, {"statuses": [1] * 100_000}]
BODIES = [b"[" * 900 + b"]" * 900, b'{"entry":' * 5_000, b"1e400", b"9" * 5_000, b'"\\ud800"', b"NaN",
          b"\xef\xbb\xbf{}",
          *(json.dumps({"entry": [{"changes": [{"value": value}]}]}).encode() for value in STRANGE)]  # fmt: skip


async def test_signed_json_of_the_strangest_kinds_is_no_fault_of_ours(client, caplog) -> None:
    """As the holder of the app's secret, or Meta on a bad day."""
    for body in BODIES:
        answer = await client.post("/webhook", content=body, headers={"x-hub-signature-256": sign(body)})
        assert answer.status_code in (200, 400), (body[:50], answer.status_code)
    assert caplog.records == []
