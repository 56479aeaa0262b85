"""One call to Supabase, repeated until it is answered. Every function that is called so may run twice without harm."""

import asyncio
import re
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
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)
from tenacity.stop import stop_base, stop_never

from worker.calls import Row
from worker.clock import Clock
from worker.config import Settings
from worker.errors import ConfigError, StoreError, StoreRefused
from worker.metrics import Metrics
from worker.times import parse_time

log = structlog.get_logger()

LONGEST_CALL = 45.0  # seconds, with everything; a claim that takes longer than its lease is of no use to anybody
# 4xx that a repetition may mend all the same.
PASSING_STATUS = (408, 425, 429)
PASSING_CODE = ("PGRST002", "PGRST202")  # the schema cache, just after a migration

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
        self._down_since: float | None = None
        self.on_try: Callable[[], object] = lambda: None

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

    async def row(self, name: str, arguments: Row | Callable[[], Row]) -> tuple[Row, float]:
        """The one row of an answer, and when it was asked for (monotonic). Its `db_now` sets the clock."""
        reply = await self.call(name, arguments, lambda data: len(data) == 1 and isinstance(data[0], dict))
        row = reply.data[0]
        if "db_now" in row:
            self.clock.observe(parse_time(row["db_now"]), reply.asked_at)
        return row, reply.asked_at

    async def rows(self, name: str, arguments: Row | None = None, select: str = "*") -> list[Row]:
        """select: the columns that are wanted, where the function returns more; only for one that reads."""
        rows: list[Row] = (
            await self.call(name, arguments or {}, lambda data: all(isinstance(row, dict) for row in data), select)
        ).data
        return rows

    async def strings(self, name: str, arguments: Row | Callable[[], Row]) -> list[str]:
        ids: list[str] = (
            await self.call(name, arguments, lambda data: all(isinstance(value, str) for value in data))
        ).data
        return ids

    async def call(
        self, name: str, arguments: Row | Callable[[], Row], valid: Callable[[list[Any]], bool], select: str = "*"
    ) -> Reply:
        """One call, repeated while Supabase is down, slow or talks nonsense. Raises StoreRefused.

        arguments: what makes them anew for each try, where they depend on the time.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreError), wait=wait_random_exponential(0.25, max=30), stop=self._stop,
            before_sleep=self._say_down, reraise=True,
        ):  # fmt: skip
            with attempt:
                reply = await self._once(name, arguments() if callable(arguments) else arguments, select)
                if not isinstance(reply.data, list) or not valid(reply.data):
                    raise StoreError(f"{name} was answered with something that is not what it returns")
        self._say_up()
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
            raise classify(name, e, _status.get()) from e
        except (httpx.HTTPError, TimeoutError, OSError, ValueError) as e:
            raise StoreError(f"{name}: {type(e).__name__}") from e

    def table(self, name: str) -> AsyncRequestBuilder:
        """A table's requests, to be run by `on_table`."""
        return self._client.table(name)

    async def on_table(self, request: Any) -> list[Row]:
        """One request, not repeated: for operators, who see what comes of it. Raises StoreError, StoreRefused."""
        try:
            rows: list[Row] = (await request.execute()).data
        except APIError as e:
            raise classify("connection_settings", e, _status.get()) from e
        except httpx.HTTPError as e:
            raise StoreError(f"connection_settings: {type(e).__name__}") from e
        return rows

    def _say_down(self, state: RetryCallState) -> None:
        self.on_try()
        if self._down_since is None:
            self._down_since = time.monotonic()
            reason = state.outcome.exception() if state.outcome else None
            log.warning("Supabase does not answer; waiting for it", reason=str(reason))

    def _say_up(self) -> None:
        if self._down_since is not None:
            log.info("Supabase answers again", after_seconds=round(time.monotonic() - self._down_since, 1))
            self._down_since = None


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


def classify(name: str, error: APIError, status: int) -> StoreError | StoreRefused:
    """Whether the same call may succeed later. `status` is the HTTP status of the answer."""
    code = str(error.code or "")
    text = f"{name}: {status} {code} {str(error.message)[:300]}".strip()
    refused = 400 <= status < 500 and status not in PASSING_STATUS and code not in PASSING_CODE
    if code == "SUP":  # @supabase/lite answers 500 where PostgREST answers 400 or 403
        refused = re.search(r"violates|invalid|permission denied|out of range|does not exist", text) is not None
    return StoreRefused(text) if refused else StoreError(text)
