"""A pooled HTTP/1.1 client, and the one place where transport faults and bare statuses become outcomes."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import httpx

from worker.errors import BadMessage, Shortage
from worker.models import Locked, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed
from worker.text.wire import encoded
from worker.watch.shortage import is_shortage

Answered = Sent | Rejected | Retry | Throttled | Locked | Stopped | Unconfirmed

RESPONSE_LIMIT = 256 * 1024  # bytes; the longest documented answer has a few kilobytes
TEXT_LIMIT = 2000  # bytes; a proxy's page says who wrote it in its first lines
# httpx's pool looks at all its connections for every request: one of 200 is four times slower than 25 of 8.
POOL_SIZE = 8
# Node closes idle connections after 5 s; a request written at that moment could not be told from a lost one.
KEEP_ALIVE = 3.0

NOTHING_WRITTEN = (
    httpx.ConnectError,  # refused, DNS, TLS
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)

JSON = {"content-type": "application/json"}

# An answer that lies in the socket when a suspended process wakes up after the deadline is still read.
LAST_LOOK = 0.1

# What proves by itself that a message was not sent: whoever answers so has not looked at it.
STATUS: dict[int, Answered] = {
    3: Stopped("The gateway's address redirects: set the final one"),
    **dict.fromkeys((401, 403), Stopped("The gateway does not accept our credentials")),
    **dict.fromkeys((407, 511), Stopped("The network between here and the gateway asks for a login")),
    **dict.fromkeys((405, 421), Stopped("The gateway does not know this session or address")),
    413: Rejected("The message is too large for the gateway"),
    429: Throttled("The gateway asks us to slow down", "connection"),
}
NO_ADDRESS = Stopped("The gateway does not know this address: check its URL, and that it runs")
NO_ANSWER = Unconfirmed("The gateway gave no usable answer")

UNFIT_FOR_ERRORS = re.compile(r"(?=\S*\d)\S{20,}|\S{40,}|\+?\d[\d ().-]{5,}\d")  # tokens, links, phone numbers


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; `body` is None where it was not JSON, too long or cut off. `text`: the beginning of another kind."""

    status: int
    headers: httpx.Headers
    body: Any
    text: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Http:
    """One gateway's client: a few small pools, of which the least busy is used.

    timeout: seconds for a whole send. Waiting for a connection, connecting and TLS get a sixth of it each, so
    that when it runs out the request has been written: the outcome is then unconfirmed, and rightly so.
    longest: bytes of an answer that are read.
    """

    def __init__(
        self,
        base_url: str,
        headers: dict[str, str],
        *,
        timeout: float,
        connections: int,
        longest: int = RESPONSE_LIMIT,
    ) -> None:
        self.timeout, self._longest = timeout, longest
        pools = -(-connections // POOL_SIZE)
        phase = min(5.0, timeout / 6)
        options: dict[str, Any] = {
            "base_url": base_url,
            # Uncompressed, so that the limit on the response holds for what we would keep in memory.
            "headers": {"accept": "application/json", "accept-encoding": "identity", **headers},
            "timeout": httpx.Timeout(None, connect=phase, pool=phase),  # for the rest, `call` has the deadline
            "verify": trusted(),
            "limits": httpx.Limits(max_connections=-(-connections // pools), keepalive_expiry=KEEP_ALIVE),
        }
        self.busy = {httpx.AsyncClient(**options): 0 for _ in range(pools)}

    async def aclose(self) -> None:
        for client in self.busy:
            await client.aclose()

    @contextmanager
    def least_busy(self) -> Iterator[httpx.AsyncClient]:
        client = min(self.busy, key=self.busy.__getitem__)
        self.busy[client] += 1
        try:
            yield client
        finally:
            self.busy[client] -= 1

    async def call(
        self, method: str, path: str, deadline: float, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer | Rejected | Retry | Unconfirmed:
        """deadline: by the event loop's clock. headers: beside those of every request.

        Raises Shortage where this machine lacks what a connection needs.
        """
        try:
            content = None if body is None else encoded(body)
            with self.least_busy() as client:
                stream = client.stream(method, path, content=content, headers={**JSON, **(headers or {})})
                async with until(deadline), stream as response:
                    answer = Answer(response.status_code, response.headers, *await content_of(response, self._longest))
        except NOTHING_WRITTEN as fault:
            if is_shortage(fault):
                raise Shortage(f"this machine lacks descriptors or memory: {fault.__cause__ or fault}") from fault
            return Retry(f"The gateway cannot be reached ({clean(str(fault)) or type(fault).__name__})")
        except (BadMessage, httpx.InvalidURL) as fault:
            return Rejected(f"It cannot be written as a request to the gateway ({clean(str(fault))})")
        except (httpx.HTTPError, OSError) as fault:
            return Unconfirmed(f"The gateway did not answer ({type(fault).__name__})")
        if answer.ok and answer.body is None:
            return Unconfirmed("The gateway accepted the request, but its answer cannot be read")
        return answer


@asynccontextmanager
async def until(deadline: float) -> AsyncIterator[None]:
    """Raises TimeoutError a moment after the deadline, so that what has arrived by then counts."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as scope:
        timer = loop.call_at(deadline, lambda: scope.reschedule(loop.time() + LAST_LOOK))
        try:
            yield
        finally:
            timer.cancel()


@cache
def trusted() -> ssl.SSLContext:
    """Reading the certificates takes longer than many a send."""
    return httpx.create_ssl_context()


async def content_of(response: httpx.Response, longest: int = RESPONSE_LIMIT) -> tuple[Any, str]:
    """Its JSON, or how it begins."""
    held = bytearray()
    async for chunk in response.aiter_raw():
        held += chunk
        if len(held) > longest:
            return None, ""
    if "json" not in response.headers.get("content-type", ""):
        return None, held[:TEXT_LIMIT].decode(errors="replace")
    try:
        return json.loads(held), ""
    except (ValueError, RecursionError):
        return None, ""


def settled(known: Answered | None, answer: Answer, words: str, otherwise: Mapping[int, Answered]) -> Answered:
    """A refusal: the table's outcome, else the status's, with the gateway's words and its Retry-After.

    otherwise: by status, or by its first digit, what is not proven by the status itself.
    """
    status = answer.status
    outcome = known or STATUS.get(status) or otherwise.get(status) or STATUS.get(status // 100)
    outcome = outcome or otherwise.get(status // 100, NO_ANSWER)
    if isinstance(outcome, Sent):
        return outcome
    detail = clean(words)
    outcome = replace(outcome, reason=f"{outcome.reason} ({detail})") if detail else outcome
    if isinstance(outcome, Retry | Throttled) and outcome.after is None:
        headers = answer.headers
        outcome = replace(outcome, after=retry_after(headers.get("retry-after", ""), headers.get("date", "")))
    return outcome


def retry_after(value: str, date: str = "") -> float | None:
    """Seconds, at most a day, from a number or a date (RFC 9110, section 10.2.3); else None.

    date: the answer's own; it is by the same clock, ours may be wrong.
    """
    if value.isdecimal():
        return min(float(value), 86_400.0)
    try:
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        seconds = (parsedate_to_datetime(value) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), 86_400.0)


def clean(words: str) -> str:
    """A gateway's words, fit for the row: one short line without tokens, links and phone numbers."""
    return UNFIT_FOR_ERRORS.sub("…", " ".join(words.split()))[:160]


def dig(body: Any, *path: str | int) -> Any:
    """What lies at this path of decoded JSON; None where the path ends early."""
    for step in path:
        try:
            body = None if isinstance(body, str) else body[step]
        except (KeyError, IndexError, TypeError):
            return None
    return body


def first_text(body: Any, *paths: tuple[str | int, ...]) -> str:
    """The first of these places that holds a text; "" where none does."""
    return next((found for path in paths if isinstance(found := dig(body, *path), str) and found.strip()), "")
