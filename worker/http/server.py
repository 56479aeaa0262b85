"""A web server on a thread with a loop of its own, that no stranger can make take more than its share.

Its connections are few, live for seconds and are answered at a limited pace: descriptors, memory and the
interpreter's lock are there for the loop that sends.
"""

import asyncio
import resource
import socket
import sys
import threading
import time

import uvicorn
from h11 import LocalProtocolError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.errors import ConfigError

MOST_CONNECTIONS = 100  # and never more than a tenth of the process's descriptors
LIFE_SECONDS = 15  # of a connection; what is being answered then may be finished
FINISH_SECONDS = 15
ACCEPTED_AT_ONCE = 32  # before the loop looks at the first of them
QUEUE = 1024  # of the kernel: what waits there costs us nothing
SWITCH_SECONDS = 0.0005  # how soon the loop that sends has the interpreter again; 5 ms by default, at each of its steps
PAGES_A_SECOND, WEBHOOKS_A_SECOND = 100, 1000  # that are answered; WhatsApp tells of each message three times
PIECE = 65_536  # bytes of a refused webhook that count as a page


def most_connections() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(4, min(MOST_CONNECTIONS, descriptors // 10))


class Pace:
    """ASGI: answers so many requests a second and no more than half of them at once; the others wait in a line.

    Whoever has left by its turn takes none: what a flood asked for ends with its connections. A webhook that is refused
    takes as many turns as a page for each piece of it that was read: a stranger's is not cheap for being called one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._next_at = {True: 0.0, False: 0.0}  # webhooks, pages
        self._lines = {True: asyncio.Lock(), False: asyncio.Lock()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        webhook = scope.get("path") == "/webhook"
        async with self._lines[webhook]:
            if _has_left(receive):
                return
            now, step = time.monotonic(), 1 / (WEBHOOKS_A_SECOND if webhook else PAGES_A_SECOND)
            self._next_at[webhook] = max(self._next_at[webhook], now - 0.5) + step
            if (wait := self._next_at[webhook] - now) > 0:
                await asyncio.sleep(wait)
        await (self._webhook if webhook else self._app)(scope, receive, send)

    async def _webhook(self, scope: Scope, receive: Receive, send: Send) -> None:
        read = 0

        async def reading() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message

        async def answering(message: Message) -> None:
            if 400 <= message.get("status", 0) < 500:
                self._next_at[True] += (1 + read // PIECE) / PAGES_A_SECOND
            await send(message)

        await self._app(scope, reading, answering)


def _has_left(receive: Receive) -> bool:
    """Whether the client has closed its connection, which ASGI tells only those who have read all that it sent."""
    return bool(getattr(getattr(receive, "__self__", None), "disconnected", False))


class _Connection(H11Protocol):
    """Lives for seconds, whatever its client does. Where there are too many, the oldest that is not answered goes."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.made_at = self.loop.time()
        self._end = self.loop.call_later(LIFE_SECONDS, self._expire)
        if len(self.connections) > most_connections():
            others = [c for c in self.connections if isinstance(c, _Connection) and not c.is_answering]
            min(others, key=lambda c: c.made_at, default=self).drop()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end:
            self._end.cancel()
        super().connection_lost(exc)

    @property
    def is_answering(self) -> bool:
        """Whether it has asked for something, all of it, and not been answered yet."""
        return self.cycle is not None and not (self.cycle.response_complete or self.cycle.more_body)

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Also in the middle of a request, which is over then: there is nobody to answer it to."""
        try:
            super().send_400_response(msg)
        except LocalProtocolError:  # it was answered already
            self.drop()
        if self.cycle:
            self.cycle.disconnected = True

    def _expire(self) -> None:
        if self.is_answering:
            self.cycle.keep_alive = False
            self._end = self.loop.call_later(FINISH_SECONDS, self.drop)
        else:
            self.drop()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """With a queue longer than what is accepted at once, which asyncio makes the same."""
        await super().startup(sockets)
        for one in sockets or []:
            one.listen(QUEUE)


class HttpServer:
    """Listens from its making; answers from start() to stop(). `port` is the one in use if 0 was asked for.

    Raises ConfigError when the address cannot be listened on.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            Pace(app),
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",  # it warns of each request that is none, which anybody can send thousands of
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=ACCEPTED_AT_ONCE,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_SECONDS)
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Lets requests under way finish, within `seconds`."""
        if self._thread.is_alive():
            self._server.should_exit = True
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
