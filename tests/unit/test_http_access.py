"""Who may read what at HTTP_PORT, and that nobody can take more of the process than its share."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from local.postgres import free_port
from tests.gateways.server import Server, answer
from tests.helpers.loops import settings
from worker import daemon
from worker.http import pages as pages_module
from worker.http import server as server_module
from worker.http.access import Access, Users, asking, is_loopback
from worker.http.operators import Figures, OperatorsPage
from worker.http.pages import Pages, Webhook
from worker.http.server import HttpServer
from worker.http.webhook import Inbox
from worker.models import Health
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

TOKEN = "an operator's token"
USER = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PREVIEW = "/preview?start=2026-01-01T09:00&pattern=daily&timezone=UTC"


class AuthServer:
    """Stands for GET /auth/v1/user: knows one token."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fault: Exception | None = None

    async def __call__(self, token: str) -> str | None:
        self.asked.append(token)
        await asyncio.sleep(0)
        if self.fault:
            raise self.fault
        return "user-1" if token == USER else None


async def no_figures() -> dict[str, Any]:
    return {}


@asynccontextmanager
async def serving(access: Access, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    vitals = Vitals(poll_interval=60)
    vitals.gateway = Health(ok=False, detail="the session of +4915112345678 is down")
    operating = OperatorsPage(vitals, Metrics(), access, Figures(no_figures), {})
    app = Pages(vitals, Metrics(), access=access, operators=operating, **more).app()
    server = HttpServer(app, "127.0.0.1", 0)
    server.start()
    try:
        url = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            yield client
    finally:
        await asyncio.to_thread(server.stop)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


NEAR = Access()
GUARDED = Access(guarded=True)
KNOWN = Access(TOKEN, guarded=True)
CLOSED = {"/metrics", "/status.json", PREVIEW}


@pytest.mark.parametrize(
    ("access", "headers", "code"),
    [
        (NEAR, {}, 200),
        (NEAR, {"forwarded": "for=192.0.2.1"}, 403),
        (NEAR, {"x-forwarded-for": "192.0.2.1"}, 403),
        (NEAR, {"x-forwarded-host": "example.com"}, 403),
        (NEAR, {"via": "1.1 proxy"}, 403),
        (NEAR, {"x-real-ip": "192.0.2.1"}, 403),
        (NEAR, {"cf-connecting-ip": "192.0.2.1"}, 403),
        (NEAR, {"host": "rebound.example.com"}, 403),
        (NEAR, {"host": "[nonsense"}, 403),
        (NEAR, {"host": "localhost:8080"}, 200),
        (GUARDED, {}, 403),
        (GUARDED, bearer("none"), 403),
        (KNOWN, {}, 401),
        (KNOWN, bearer("guess"), 401),
        (KNOWN, bearer("\xfc"), 401),
        (KNOWN, {"authorization": f"Basic {TOKEN}"}, 401),
        (KNOWN, bearer(TOKEN), 200),
        (KNOWN, bearer(TOKEN) | {"x-forwarded-for": "192.0.2.1"}, 200),
        (Access(TOKEN), {}, 401),
    ],
)
async def test_who_may_read_the_pages_of_operators(access: Access, headers: dict[str, str], code: int) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    async with serving(access) as client:
        for path in CLOSED:
            answer = await client.get(path, headers=sent)  # type: ignore[arg-type]
            assert answer.status_code == code, path
            if code == 403:
                assert "HTTP_TOKEN" in answer.json()["error"]
        health = await client.get("/healthz", headers=sent)  # type: ignore[arg-type]
    assert health.status_code == 503
    assert (health.json() == {"ok": False}) is (code != 200)
    assert ("12345678" in health.text) is (code == 200)


async def test_the_token_may_stand_in_the_address() -> None:
    async with serving(KNOWN) as client:
        assert (await client.get("/metrics", params={"token": TOKEN})).status_code == 200
        assert (await client.get("/metrics", params={"token": "x"})).status_code == 401


async def test_a_user_sees_previews_and_nothing_else() -> None:
    auth = AuthServer()
    async with serving(Access(guarded=True, users=Users(auth))) as client:
        assert (await client.get(PREVIEW, headers=bearer(USER))).status_code == 200
        assert (await client.get("/metrics", headers=bearer(USER))).status_code == 403
        assert (await client.get("/status.json", headers=bearer(USER))).status_code == 403
        assert (await client.get("/healthz", headers=bearer(USER))).json() == {"ok": False}
        assert (await client.get(PREVIEW, headers=bearer("a.b.c"))).status_code == 401
        assert (await client.get(PREVIEW, headers=bearer("no-jwt"))).status_code == 403
    assert auth.asked == [USER, "a.b.c"]


async def test_the_auth_server_is_asked_once_a_minute_and_a_user_may_call_five_times_a_second() -> None:
    auth, now = AuthServer(), [100.0]
    users = Users(auth, clock=lambda: now[0])
    codes = [refusal and refusal.status for refusal in await asyncio.gather(*(users.refusal(USER) for _ in range(8)))]
    assert codes == [None] * 5 + [429] * 3
    now[0] += 1.1
    assert await users.refusal(USER) is None
    assert len(auth.asked) == 1
    now[0] = 159.0  # a minute after the first question, a token may have been withdrawn
    assert await users.refusal(USER) is None
    assert len(auth.asked) == 1
    now[0] = 160.0
    assert await users.refusal(USER) is None
    assert len(auth.asked) == 2


async def test_guesses_cost_the_auth_server_and_us_little() -> None:
    auth, now = AuthServer(), [100.0]
    users = Users(auth, clock=lambda: now[0])
    codes = [(await users.refusal(f"a.b.{n}")).status for n in range(100)]  # type: ignore[union-attr]
    assert (codes.count(401), codes.count(503)) == (20, 80)
    for _ in range(200):
        now[0] += 1.1
        for n in range(20):
            await users.refusal(f"a.{now[0]}.{n}")
    assert len(users._known) <= 1000


@pytest.mark.parametrize("fault", [httpx.ConnectError("down"), ValueError("500"), OSError(24, "EMFILE")])
async def test_an_auth_server_that_is_away_is_asked_again(fault: Exception) -> None:
    auth = AuthServer()
    users = Users(auth)
    auth.fault = fault
    assert (await users.refusal(USER)).status == 503  # type: ignore[union-attr]
    auth.fault = None
    assert await users.refusal(USER) is None


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, {"id": "user-1"}, "user-1"),
        (200, {}, None),
        (200, [], None),
        (401, {}, None),
        (403, {"code": 403, "error_code": "bad_jwt"}, None),
        (404, {}, None),
        (429, {"error_code": "over_request_rate_limit"}, "nothing"),  # it has enough of us, and says nothing of them
        (500, {}, "nothing"),
        (503, {}, "nothing"),
    ],
)
async def test_what_the_auth_server_says_of_a_token(status: int, body: object, told: str | None) -> None:
    """GET /auth/v1/user: https://github.com/supabase/auth/blob/master/internal/api/user.go, errors.go."""
    async with Server([answer(status, body)]) as server:
        ask = asking(server.url, "the service's key")
        if told == "nothing":
            with pytest.raises(ValueError, match="does not say"):
                await ask(USER)
        else:
            assert await ask(USER) == told
        [asked] = server.received
    assert (asked.path, asked.headers["authorization"]) == ("/auth/v1/user", f"Bearer {USER}")
    assert asked.headers["apikey"] == "the service's key"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, 200),
        ({"HTTP_HOST": "0.0.0.0"}, 403),
        ({"WHATSAPP_APP_SECRET": "secret"}, 403),
        ({"WHATSAPP_VERIFY_TOKEN": "verify"}, 403),
        ({"WHATSAPP_APP_SECRET": "secret", "WHATSAPP_VERIFY_TOKEN": "verify"}, 403),
        ({"HTTP_TOKEN": TOKEN}, 401),
        ({"HTTP_TOKEN": TOKEN, "HTTP_HOST": "0.0.0.0"}, 401),
    ],
    ids=str,
)
async def test_who_is_near_is_trusted_where_nothing_makes_the_port_public(given: dict[str, str], code: int) -> None:
    parts: Any = SimpleNamespace(vitals=Vitals(poll_interval=60), metrics=Metrics())

    async def store(_: Any) -> None:
        return None

    server = daemon._listen(parts, settings(http_port=free_port(), **given), Inbox(store))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            assert (await client.get("/metrics")).status_code == code
    finally:
        await asyncio.to_thread(server.stop)


async def test_only_named_origins_may_ask_from_a_browser() -> None:
    asked = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    async with serving(Access(guarded=True, users=Users(AuthServer())), origins=["https://app.test"]) as client:
        ours = {"origin": "https://app.test"}
        allowed = await client.options("/preview", headers=asked | ours)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.test"
        answer = await client.get(PREVIEW, headers=bearer(USER) | ours)
        assert answer.headers["access-control-allow-origin"] == "https://app.test"
        other = await client.options("/preview", headers=asked | {"origin": "https://evil.test"})
        assert "access-control-allow-origin" not in other.headers
        metrics = await client.get("/healthz", headers=ours)
        assert "access-control-allow-origin" not in metrics.headers


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
        ("0.0.0.0", False), ("::", False), ("192.168.1.1", False), ("example.com", False), ("127.0.0.1.nip.io", False),
    ],
)  # fmt: skip
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


# --- Shares ------------------------------------------------------------------------------------------------------


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


async def test_silent_connections_leave_room_for_who_asks_and_for_the_process() -> None:
    """Three times as many as are let in; the ones that came last stay."""
    most = server_module.most_connections()
    with ExitStack() as open_sockets:
        async with serving(NEAR) as client:
            address = (client.base_url.host, client.base_url.port)
            silent = [open_sockets.enter_context(socket.create_connection(address, 5)) for _ in range(3 * most)]
            assert (await client.get("/metrics")).status_code == 200
            assert all(await asyncio.to_thread(lambda: [ended(s) for s in silent[: 2 * most]]))


@pytest.mark.parametrize(("descriptors", "connections"), [(1024, 100), (256, 25), (20, 4), (10**6, 100)])
def test_connections_are_a_tenth_of_the_descriptors_at_most(monkeypatch, descriptors, connections) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert server_module.most_connections() == connections


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /heal",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["silent", "cut", "slow headers", "slow body", "idle after an answer"],
)
async def test_no_connection_outlives_its_seconds(monkeypatch, sent: bytes) -> None:
    monkeypatch.setattr(server_module, "LIFE_SECONDS", 0.2)
    monkeypatch.setattr(server_module, "FINISH_SECONDS", 0.1)

    async def store(_: Any) -> None:
        return None

    async with serving(NEAR, webhook=Webhook("a", "b", Inbox(store))) as client:

        def use() -> None:
            with socket.create_connection((client.base_url.host, client.base_url.port), 5) as connection:
                connection.sendall(sent)
                while not ended(connection):
                    pass

        await asyncio.wait_for(asyncio.to_thread(use), 5)


async def test_previews_are_made_one_at_a_time_and_few_may_wait(monkeypatch) -> None:
    at_once: list[int] = []
    inside = 0
    lines = pages_module.preview_lines

    def counting(*arguments: Any) -> list[str]:
        nonlocal inside
        inside += 1
        at_once.append(inside)
        try:
            return lines(*arguments)
        finally:
            inside -= 1

    monkeypatch.setattr(pages_module, "preview_lines", counting)
    monkeypatch.setattr(pages_module, "MOST_PREVIEWS", 3)
    dear = "/preview?start=2026-01-01T09:00&pattern=FREQ=YEARLY;INTERVAL=7;COUNT=2000&timezone=UTC&count=1000"
    async with serving(NEAR) as client:
        answers = await asyncio.gather(*(client.get(dear) for _ in range(40)))
    assert max(at_once) == 1
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(at_once) == sum(answer.status_code == 200 for answer in answers)


async def test_requests_are_answered_at_a_pace() -> None:
    """Beyond the first half second's worth, each waits for its turn: the waits are asked for, not measured."""
    waits: list[float] = []

    async def app(*_: Any) -> None:
        return None

    async def note(seconds: float) -> None:
        waits.append(seconds)

    pace = server_module.Pace(app)
    real, asyncio.sleep = asyncio.sleep, note  # type: ignore[assignment]
    try:
        for _ in range(150):
            await pace({"path": "/healthz"}, None, None)  # type: ignore[arg-type]
        pages = len(waits)
        for _ in range(150):
            await pace({"path": "/webhook"}, None, None)  # type: ignore[arg-type]
    finally:
        asyncio.sleep = real
    assert 90 <= pages <= 101
    assert len(waits) == pages
