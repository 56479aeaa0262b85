"""/healthz, /metrics, /preview, the operator's page and the WhatsApp webhook, on a thread with a loop of its own.

So they answer, and tell what is wrong, even when the loop that does the work is stuck.
"""

import asyncio
import time
from collections.abc import Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from worker.errors import WorkerError
from worker.http.access import Access, Refusal, refuse
from worker.http.operators import FILES, OperatorsPage
from worker.http.webhook import A_SIGNATURE, Inbox, is_signed, is_token, parse_updates
from worker.recurrence.preview import preview_lines
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

MAX_BODY = 4_000_000  # bytes of one webhook; Meta: "up to 3 MB" (Webhooks, Overview), which may mean 3 x 1,048,576
MAX_PREVIEW = 1000
BODY_SECONDS = 10
# Of the bodies that are being read at one time. Meta's few are small; strangers' many are not read to their ends.
MOST_READ, ALWAYS_READ = 5 * MAX_BODY, 65_536
MOST_PREVIEWS = 20  # that wait; each takes some milliseconds (docs/recurrence.md)


class Webhook:
    """The WhatsApp Cloud API's calls. The two secrets are those of the Meta app's settings."""

    def __init__(self, app_secret: str, verify_token: str, inbox: Inbox) -> None:
        self._app_secret, self._verify_token, self._inbox = app_secret, verify_token, inbox
        self._read = 0  # bytes of the bodies under way

    async def verify(self, request: Request) -> Response:
        """Meta asks once, when the webhook is set up; the answer is its challenge."""
        given = request.query_params
        ours = is_token(given.get("hub.verify_token", ""), self._verify_token)
        if given.get("hub.mode") != "subscribe" or not ours:
            return PlainTextResponse("the verify token is not ours", 403)
        return PlainTextResponse(given.get("hub.challenge", ""))

    async def receive(self, request: Request) -> Response:
        """200 once the statuses in it are stored; 503 when they could not be, so that they come again."""
        signature = request.headers.get("x-hub-signature-256", "")
        if not A_SIGNATURE.fullmatch(signature):
            return _away("the signature is not Meta's", 403)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._body(request)
        except (TimeoutError, ClientDisconnect):
            return _away("the body did not arrive", 408)
        if isinstance(body, Response):
            return body
        if not is_signed(body, signature, self._app_secret):
            return PlainTextResponse("the signature is not Meta's", 403)
        return await self._accept(body)

    async def _body(self, request: Request) -> bytes | Response:
        """The raw body, or what to say of one that is too large, or too large while so many others are read."""
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                self._read += len(chunk)
                if len(body) > MAX_BODY:
                    return _away("too large", 413)
                if len(body) > ALWAYS_READ and self._read > MOST_READ:
                    return _away("not now", 503)
        finally:
            self._read -= len(body)
        return bytes(body)

    async def _accept(self, body: bytes) -> Response:
        try:
            updates = parse_updates(body)
        except ValueError:
            return PlainTextResponse("not JSON", 400)
        if updates and not await self._inbox.deliver(updates):
            return PlainTextResponse("not now", 503)
        return PlainTextResponse("ok")


class Pages:
    """`webhook` is None where its two secrets are not set; then it is not mounted. Nor is `operators` where it is None.

    access: who may read what; a stranger learns from /healthz whether the daemon is well and no more.
    origins: of the pages whose scripts may ask for a preview (CORS).
    """

    def __init__(
        self,
        vitals: Vitals,
        metrics: Metrics,
        webhook: Webhook | None = None,
        access: Access | None = None,
        origins: Sequence[str] = (),
        operators: OperatorsPage | None = None,
    ) -> None:
        self._vitals, self._metrics, self._webhook, self._operators = vitals, metrics, webhook, operators
        self._access, self._origins = access or Access(), origins
        self._turn, self._waiting = asyncio.Lock(), 0

    def app(self) -> Starlette:
        cors = Middleware(
            CORSMiddleware, allow_origins=self._origins, allow_methods=["GET"], allow_headers=["authorization"]
        )
        routes = [
            Route("/healthz", self.healthz),
            Route("/metrics", self.metrics),
            Route("/preview", self.preview, methods=["GET", "OPTIONS"], middleware=[cors]),
        ]
        if self._operators:
            routes += [Route(path, self._operators.file) for path in FILES]
            routes += [Route("/status.json", self._operators.status)]
        if self._webhook:
            routes += [
                Route("/webhook", self._webhook.verify, methods=["GET"]),
                Route("/webhook", self._webhook.receive, methods=["POST"]),
            ]
        return Starlette(routes=routes)

    async def healthz(self, request: Request) -> Response:
        """200, or 503 with the reasons in `problems`; the rest is for people. Strangers get no reasons."""
        report = self._vitals.report()
        code = 200 if report["ok"] else 503
        if not self._access.is_operator(request):
            return JSONResponse({"ok": report["ok"]}, code)
        return JSONResponse(report, code)

    async def metrics(self, request: Request) -> Response:
        if refusal := self._access.refusal(request):
            return refuse(refusal)
        return Response(self._metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def preview(self, request: Request) -> Response:
        """?start&pattern&timezone, and count (10, at most 1000), and end. Also for users: their access token.

        One at a time, and then the interpreter is the others' for four times as long.
        """
        if refusal := await self._access.refusal_of_user(request):
            return refuse(refusal)
        if self._waiting >= MOST_PREVIEWS:
            return refuse(Refusal(503, "Too many previews at the moment. Try again in a second."))
        self._waiting += 1
        try:
            async with self._turn:
                began = time.monotonic()
                answer = _preview(request)
                await asyncio.sleep(4 * (time.monotonic() - began))
        finally:
            self._waiting -= 1
        return answer


def _preview(request: Request) -> Response:
    given = request.query_params
    try:
        count = _count(given.get("count", "10"))
        start, pattern, timezone = (_required(request, k) for k in ("start", "pattern", "timezone"))
        lines = preview_lines(start, pattern, timezone, count, given.get("end"))
    except WorkerError as error:
        return JSONResponse({"error": str(error)}, 400)
    return JSONResponse({"occurrences": lines})


def _away(text: str, status: int) -> Response:
    """To somebody who is still sending: what comes is not read."""
    return PlainTextResponse(text, status, {"connection": "close"})


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise WorkerError("count must be a whole number of at least 1")
    return min(int(text), MAX_PREVIEW)


def _required(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise WorkerError(f"{name} is missing")
    return value
