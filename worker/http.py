"""/healthz, /metrics, /preview and the WhatsApp webhook, served by a thread with a loop of its own.

So they answer, and tell what is wrong, even when the loop that does the work is stuck.
"""

import asyncio
import contextlib
import socket
import threading

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from worker.errors import ConfigError, WorkerError
from worker.metrics import Metrics
from worker.preview import preview_lines
from worker.vitals import Vitals
from worker.webhook import Inbox, is_signed, is_token, parse_statuses

MAX_BODY = 4_000_000  # bytes of one webhook; Meta: "up to 3 MB" (Webhooks, Overview), which may mean 3 x 1,048,576
MAX_PREVIEW = 1000
BODY_SECONDS = 10


class Webhook:
    """The WhatsApp Cloud API's calls. The two secrets are those of the Meta app's settings."""

    def __init__(self, app_secret: str, verify_token: str, inbox: Inbox) -> None:
        self._app_secret, self._verify_token, self._inbox = app_secret, verify_token, inbox

    async def verify(self, request: Request) -> Response:
        """Meta asks once, when the webhook is set up; the answer is its challenge."""
        given = request.query_params
        ours = is_token(given.get("hub.verify_token", ""), self._verify_token)
        if given.get("hub.mode") != "subscribe" or not ours:
            return PlainTextResponse("the verify token is not ours", 403)
        return PlainTextResponse(given.get("hub.challenge", ""))

    async def receive(self, request: Request) -> Response:
        """200 once the statuses in it are stored; 503 when they could not be, so that they come again."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except (TimeoutError, ClientDisconnect):
            return PlainTextResponse("the body did not arrive", 408)
        if body is None:
            return PlainTextResponse("too large", 413)
        if not is_signed(body, request.headers.get("x-hub-signature-256", ""), self._app_secret):
            return PlainTextResponse("the signature is not Meta's", 403)
        return await self._accept(body)

    async def _accept(self, body: bytes) -> Response:
        try:
            updates = parse_statuses(body)
        except ValueError:
            return PlainTextResponse("not JSON", 400)
        if updates and not await self._inbox.deliver(updates):
            return PlainTextResponse("not now", 503)
        return PlainTextResponse("ok")


class Pages:
    """What anybody may read. `webhook` is None where its two secrets are not set; then it is not mounted."""

    def __init__(self, vitals: Vitals, metrics: Metrics, webhook: Webhook | None = None) -> None:
        self._vitals, self._metrics, self._webhook = vitals, metrics, webhook

    def app(self) -> Starlette:
        routes = [
            Route("/healthz", self.healthz),
            Route("/metrics", self.metrics),
            Route("/preview", self.preview),
        ]
        if self._webhook:
            routes += [
                Route("/webhook", self._webhook.verify, methods=["GET"]),
                Route("/webhook", self._webhook.receive, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    async def healthz(self, _: Request) -> Response:
        """200, or 503 with the reasons in `problems`; the rest is for people."""
        vitals, problems = self._vitals, self._vitals.problems()
        now = vitals.clock()
        report = {
            "ok": not problems,
            "problems": problems,
            "seconds_since_poll": round(now - vitals.last_poll, 1),
            "oldest_overdue_seconds": round(vitals.oldest_overdue, 1),
            "realtime": vitals.realtime(),
            "gateway": {"ok": vitals.gateway.ok, "detail": vitals.gateway.detail},
            "seconds_since_progress": {k: round(now - b.at, 1) for k, b in vitals.beats.copy().items()},
        }
        return JSONResponse(report, 503 if problems else 200)

    async def metrics(self, _: Request) -> Response:
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})

    def preview(self, request: Request) -> Response:
        """?start&pattern&timezone, and count (10, at most 1000), and end. Not async: a rule may take long."""
        given = request.query_params
        try:
            count = _count(given.get("count", "10"))
            start, pattern, timezone = (_required(request, k) for k in ("start", "pattern", "timezone"))
            lines = preview_lines(start, pattern, timezone, count, given.get("end"))
        except WorkerError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"occurrences": lines})


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise WorkerError("count must be a whole number of at least 1")
    return min(int(text), MAX_PREVIEW)


def _required(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise WorkerError(f"{name} is missing")
    return value


async def _body(request: Request) -> bytes | None:
    """The raw body; None when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


class _Server(uvicorn.Server):
    """uvicorn, without looking ten times a second whether to end, which takes 0.2 % of a core when idle."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # which also renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1)

    def end(self) -> None:
        """From any thread."""
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._ended.set)


class HttpServer:
    """Listens from its making; answers from start() to stop(). `port` is the one in use if 0 was asked for.

    Raises ConfigError when the address cannot be listened on.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=1000,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Lets requests under way finish, within `seconds`."""
        if self._thread.is_alive():
            self._server.end()
            self._thread.join(seconds)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"HTTP_HOST and HTTP_PORT: cannot listen on {host}:{port}: {error.strerror}") from error
