"""One call to Supabase, repeated until it is answered. Every function that is called so may run twice without harm."""

import asyncio
import functools
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NamedTuple, Self

import httpx
import structlog
from postgrest import AsyncRequestBuilder
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)
from tenacity.stop import stop_base, stop_never

from worker.config import Settings
from worker.errors import ConfigError, StoreError, StoreMisconfigured, StoreOverfull
from worker.recurrence.times import parse_time
from worker.store.calls import Row
from worker.store.clock import Clock
from worker.store.verdict import unreachable, verdict
from worker.waiting import wait_for
from worker.watch.metrics import Metrics

log = structlog.get_logger()

LONGEST_CALL = 45.0  # seconds, with everything; a claim that takes longer than its lease is of no use to anybody
HURRIED_WAIT = 0.25
LONGEST_WAIT = 10.0  # seconds between two tries, at most: so soon is everything at work again after an outage

# APIError does not tell the HTTP status, and the code alone is not enough: proxies and servers make up their own.
_status: ContextVar[int] = ContextVar("status", default=0)


async def _note_status(response: httpx.Response) -> None:
    _status.set(response.status_code)


class Reply(NamedTuple):
    """What an RPC returned, and when it was asked (monotonic seconds)."""

    data: Any
    asked_at: float


class Api:
    """attempts: how often a call is tried (None: for ever). longest: seconds that one try may take."""

    def __init__(
        self,
        client: AsyncClient,
        http: httpx.AsyncClient,
        clock: Clock,
        metrics: Metrics,
        attempts: int | None = None,
        longest: float = LONGEST_CALL,
    ) -> None:
        self._client, self._http, self.clock, self._metrics, self._longest = client, http, clock, metrics, longest
        self._stop: stop_base | Any = stop_after_attempt(attempts) if attempts else stop_never
        self._down: set[str] = set()  # calls that are waiting to be answered
        self._down_since = 0.0  # monotonic
        self._hurry = asyncio.Event()
        self.on_try: Callable[[], object] = lambda: None
        self.on_trouble: Callable[[str], object] = lambda _: None  # why there is no answer; "" when there is one again

    @classmethod
    async def connect(cls, settings: Settings, clock: Clock, metrics: Metrics, attempts: int | None = None) -> Self:
        """Opens nothing yet. HTTP/1.1, because a cancelled HTTP/2 request poisons httpx's pool."""
        http = httpx.AsyncClient(
            http2=False,
            timeout=httpx.Timeout(10, read=min(30, settings.lease_seconds)),
            limits=httpx.Limits(max_connections=20, keepalive_expiry=120),
            event_hooks={"response": [_note_status]},
        )
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = await acreate_client(settings.supabase_url, settings.supabase_service_role_key, options)
        return cls(client, http, clock, metrics, attempts, min(LONGEST_CALL, 1.5 * settings.lease_seconds))

    async def aclose(self) -> None:
        await self._http.aclose()

    async def row(
        self,
        name: str,
        arguments: Row | Callable[[], Row],
        column: str,
        patient: bool = False,
        divisible: bool = False,
    ) -> tuple[Row, float]:
        """The one row of an answer, and when it was asked for (monotonic). Its `db_now` sets the clock.

        column: one that it has; what lacks it is somebody else's answer.
        """
        reply = await self.call(
            name, arguments, lambda data: len(data) == 1 and _has(data[0], column), patient=patient, divisible=divisible
        )
        row = reply.data[0]
        if "db_now" in row:
            self.clock.observe(parse_time(row["db_now"]), reply.asked_at)
        return row, reply.asked_at

    async def rows(self, name: str, column: str, arguments: Row | None = None, select: str = "*") -> list[Row]:
        """column: as above. select: the columns that are wanted, where the function returns more and only reads."""
        rows: list[Row] = (
            await self.call(name, arguments or {}, lambda data: all(_has(row, column) for row in data), select)
        ).data
        return rows

    async def call(
        self,
        name: str,
        arguments: Row | Callable[[], Row],
        valid: Callable[[list[Any]], bool],
        select: str = "*",
        patient: bool = False,
        divisible: bool = False,
    ) -> Reply:
        """One call, repeated while Supabase is down, slow or talks nonsense. Raises StoreRefused, StoreMisconfigured.

        arguments: what makes them anew for each try, where they depend on the time.
        patient: grants and migrations that are missing are waited for as well.
        divisible: what is too large to be passed on raises StoreOverfull.
        """
        answered = False
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(functools.partial(_is_passing, patient, divisible)),
                stop=self._stop, sleep=self._pause, wait=wait_random_exponential(0.25, max=LONGEST_WAIT), reraise=True,
                before_sleep=functools.partial(self._say_down, name),
            ):  # fmt: skip
                with attempt:
                    reply = await self._once(name, arguments() if callable(arguments) else arguments, select)
                    if not isinstance(reply.data, list) or not valid(reply.data):
                        raise StoreError(f"{name} was answered with something that is not what it returns")
            answered = True
        finally:
            self._say_up(name, answered)
        return reply

    async def _once(self, name: str, arguments: Row, select: str) -> Reply:
        asked_at = time.monotonic()
        self.on_try()
        try:
            with self._metrics.rpc(name):
                async with asyncio.timeout(self._longest):
                    request = self._client.rpc(name, arguments)
                    if select != "*":
                        request = request.select(select)
                    return Reply((await request.execute()).data, asked_at)
        except APIError as e:
            raise verdict(name, _status.get(), str(e.code or ""), str(e.message)) from e
        except (httpx.HTTPError, TimeoutError, OSError, ValueError) as e:
            raise unreachable(name, e) from e

    def table(self, name: str) -> AsyncRequestBuilder:
        """A table's requests, to be run by `on_table`."""
        return self._client.table(name)

    def function(self, name: str) -> Any:
        """A function's request, to be run by `pages`."""
        return self._client.rpc(name, {})

    async def pages(self, request: Callable[[], Any], limit: int = 100_000) -> list[Row]:
        """Up to `limit` rows of a request that is made anew for each page, as many a page as the server gives."""
        rows: list[Row] = []
        while len(rows) < limit:
            page = await self.on_table(request().range(len(rows), limit - 1))
            if not page:
                break
            rows += page
        return rows

    async def on_table(self, request: Any) -> list[Row]:
        """One request, not repeated: for operators, who see what comes of it. Raises StoreError, StoreRefused."""
        try:
            rows: list[Row] = (await request.execute()).data
        except APIError as e:
            raise verdict("connection_settings", _status.get(), str(e.code or ""), str(e.message)) from e
        except (httpx.HTTPError, OSError, ValueError) as e:
            raise unreachable("connection_settings", e) from e
        return rows

    def hurry(self) -> None:
        """From now on no try waits for more than a moment: whoever calls has little time left."""
        self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        if self._hurry.is_set():
            await asyncio.sleep(min(seconds, HURRIED_WAIT))
        else:
            await wait_for(self._hurry, seconds)

    def _say_down(self, name: str, state: RetryCallState) -> None:
        """Once for an outage, whatever it meets: one call may be refused while the others are answered."""
        self.on_try()
        reason = str(state.outcome.exception()) if state.outcome else ""
        self.on_trouble(reason)
        if not self._down:
            self._down_since = time.monotonic()
            log.warning("Supabase does not answer; waiting for it", reason=reason)
        self._down.add(name)

    def _say_up(self, name: str, answered: bool) -> None:
        if name not in self._down:
            return
        self._down.discard(name)
        if answered and not self._down:
            self.on_trouble("")
            log.info("Supabase answers again", after_seconds=round(time.monotonic() - self._down_since, 1))


def _has(row: object, column: str) -> bool:
    return isinstance(row, dict) and column in row


def _is_passing(patient: bool, divisible: bool, error: BaseException) -> bool:
    if isinstance(error, StoreOverfull):
        return not divisible
    return isinstance(error, StoreError) and (patient or not isinstance(error, StoreMisconfigured))


async def refuse_redirect(settings: Settings) -> None:
    """Raises ConfigError where SUPABASE_URL leads to the same path at another address, from http to https for one.

    Only for that: whatever else the server answers, or does not, may be over in a moment.
    """
    path = "/rest/v1/"
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            answer = await http.get(
                settings.supabase_url + path, headers={"apikey": settings.supabase_service_role_key}
            )
    except (httpx.HTTPError, OSError):
        return
    given, final = answer.url, answer.next_request.url if answer.next_request else answer.url
    if final.path == given.path and (final.scheme, final.netloc) != (given.scheme, given.netloc):
        address = str(final).partition("?")[0].removesuffix(path)
        raise ConfigError(f"SUPABASE_URL: the server there redirects to {address}: set it to that")
