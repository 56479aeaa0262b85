"""Serves web/ and, under the same address, the API and the daemon's /preview: the local API answers no other origin."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from worker.http.operators import HEADERS
from worker.operating.pages import VENDOR, WEB, configuration, vendored

HOP_BY_HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "host"}
POLL_SECONDS = 0.5  # the local API has no Realtime, and is near
METHODS = ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"]


class Pages:
    """A server on a thread of its own, from start() to stop(). `port` 0: any that is free.

    api_url, preview_url: where to pass on what is not a page; without `preview_url` the pages ask for no preview.
    guest: an e-mail and its password: whoever opens /demo is signed in as that.
    """

    def __init__(
        self, api_url: str, anon_key: str, port: int = 0, preview_url: str = "", guest: tuple[str, str] | None = None
    ) -> None:
        self._api_url, self._key, self._preview_url, self.guest = api_url, anon_key, preview_url, guest
        self._socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(self._app(), ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def _serve(self) -> None:
        asyncio.run(self._server.serve([self._socket]))

    def _app(self) -> Starlette:
        routes = [
            Route("/config.js", self._config),
            Route("/vendor/{name}", _vendor),
            Route("/auth/v1/{path:path}", self._to_api, methods=METHODS),
            Route("/rest/v1/{path:path}", self._to_api, methods=METHODS),
            Route("/preview", self._to_daemon),
            Route("/demo", self._welcome),
            Mount("/", StaticFiles(directory=WEB, html=True)),
        ]
        app = Starlette(routes=routes, lifespan=self._lifespan)
        app.add_middleware(BaseHTTPMiddleware, dispatch=_with_headers)
        return app

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as self._client:
            yield

    async def _config(self, _: Request) -> Response:
        preview = "/preview" if self._preview_url else ""
        text = configuration("", self._key, preview, realtime=False, poll=POLL_SECONDS)
        return Response(text, media_type="text/javascript")

    async def _to_api(self, request: Request) -> Response:
        return await self._pass_on(request, self._api_url)

    async def _to_daemon(self, request: Request) -> Response:
        return await self._pass_on(request, self._preview_url or self._api_url)

    async def _welcome(self, _: Request) -> Response:
        """As a link in an e-mail does: the page takes its session from what follows the #."""
        if not self.guest:
            return Response(status_code=404)
        email, password = self.guest
        answer = await self._client.post(
            f"{self._api_url}/auth/v1/token?grant_type=password",
            json={"email": email, "password": password},
            headers={"apikey": self._key},
        )
        session = {**answer.raise_for_status().json(), "type": "magiclink"}
        names = ("access_token", "refresh_token", "expires_in", "token_type", "type")
        return RedirectResponse("/#" + urlencode({name: session[name] for name in names}), 303)

    async def _pass_on(self, request: Request, target: str) -> Response:
        url = f"{target}{request.url.path}?{request.url.query}".removesuffix("?")
        headers = {k: v for k, v in request.headers.items() if k not in HOP_BY_HOP}
        try:
            answer = await self._client.request(request.method, url, headers=headers, content=await request.body())
        except httpx.TransportError:
            return JSONResponse({"message": "The server does not answer."}, 502)
        return Response(
            answer.content, answer.status_code, {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}
        )


async def _vendor(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in VENDOR:
        return Response(status_code=404)
    return FileResponse(vendored(name), media_type="text/javascript")


async def _with_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
    answer = await call_next(request)
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer
