"""One call to Supabase, repeated until it is answered. Every function that is called so may run twice without harm.

It knows nothing of what an answer says: whoever asks reads it, within the attempt (reading.py).
"""

import asyncio
import functools
import math
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, Self, TypedDict

import httpx
import structlog
from postgrest import AsyncRequestBuilder
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from tenacity import (
    AsyncRetrying,
    AttemptManager,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)
from tenacity.stop import stop_base, stop_never

from worker.config import Settings
from worker.errors import StoreAbsent, StoreError, StoreMisconfigured, StoreOverfull
from worker.store.clock import Clock
from worker.store.faults import fault_of, unreachable
from worker.waiting import wait_for
from worker.watch.metrics import Metrics

log = structlog.get_logger()

Row = dict[str, Any]

LONGEST_CALL = 45.0  # seconds, with everything; a claim that takes longer than its lease is of no use to anybody
HURRIED_WAIT = 0.25
LONGEST_WAIT = 10.0  # seconds between two tries, at most: so soon is everything at work again after an outage

# APIError does not tell the HTTP status, and the code alone is not enough: proxies and servers make up their own.
_status: ContextVar[int] = ContextVar("status", default=0)
_answered_at: ContextVar[float] = ContextVar("answered_at", default=math.inf)


class Terms(TypedDict, total=False):
    """What a call waits for, and what it does not: see Api.attempts."""

    patient: bool
    divisible: bool
    optional: bool


async def _note_answer(response: httpx.Response) -> None:
    _status.set(response.status_code)
    _answered_at.set(time.monotonic())


class Api:
    """attempts: how often a call is tried (None: for ever). longest: seconds that one try may take.

    on_try: is told of every try. on_trouble: why there is no answer, "" when there is one again.
    """

    def __init__(
        self,
        client: AsyncClient,
        http: httpx.AsyncClient,
        clock: Clock,
        metrics: Metrics,
        attempts: int | None = None,
        longest: float = LONGEST_CALL,
        on_try: Callable[[], object] = lambda: None,
        on_trouble: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._client, self._http, self.clock, self._metrics, self._longest = client, http, clock, metrics, longest
        self._stop: stop_base | Any = stop_after_attempt(attempts) if attempts else stop_never
        self._down: set[str] = set()  # calls that are waiting to be answered
        self._down_since = 0.0  # monotonic
        self._hurry = asyncio.Event()
        self._on_try, self._on_trouble = on_try, on_trouble

    @classmethod
    async def connect(
        cls,
        settings: Settings,
        clock: Clock,
        metrics: Metrics,
        attempts: int | None = None,
        on_try: Callable[[], object] = lambda: None,
        on_trouble: Callable[[str], object] = lambda _: None,
    ) -> Self:
        """Opens nothing yet. HTTP/1.1, because a cancelled HTTP/2 request poisons httpx's pool."""
        http = httpx.AsyncClient(
            http2=False,
            timeout=httpx.Timeout(10, read=min(30, settings.lease_seconds)),
            limits=httpx.Limits(max_connections=20, keepalive_expiry=120),
            event_hooks={"response": [_note_answer]},
        )
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = await acreate_client(settings.supabase_url, settings.supabase_service_role_key, options)
        longest = min(LONGEST_CALL, 1.5 * settings.lease_seconds)
        return cls(client, http, clock, metrics, attempts, longest, on_try, on_trouble)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def attempts(
        self, name: str, patient: bool = False, divisible: bool = False, optional: bool = False
    ) -> AsyncIterator[AttemptManager]:
        """One call, tried while Supabase is down, slow or talks nonsense: `with` each, ask `once` and read the answer.

        Whatever raises StoreError there is tried again. Raises StoreRefused, StoreMisconfigured.
        patient: grants and migrations that are missing are waited for as well.
        divisible: what is too large to be passed on raises StoreOverfull.
        optional: a function that is not there raises StoreAbsent.
        """
        answered = False
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(functools.partial(_is_passing, patient, divisible, optional)),
                stop=self._stop, sleep=self._pause, wait=wait_random_exponential(0.25, max=LONGEST_WAIT), reraise=True,
                before_sleep=functools.partial(self._say_down, name),
            ):  # fmt: skip
                yield attempt
            answered = True
        finally:
            self._say_up(name, answered)

    async def once(self, name: str, arguments: Row, select: str = "*") -> Any:
        """The JSON of one answer, as it came. Raises StoreError, StoreRefused.

        select: the columns that are wanted, where the function returns more; only for one that reads.
        """
        self._on_try()
        _answered_at.set(math.inf)
        try:
            with self._metrics.rpc(name):
                async with asyncio.timeout(self._longest):
                    request = self._client.rpc(name, arguments)
                    if select != "*":
                        request = request.select(select)
                    return (await request.execute()).data
        except APIError as e:
            raise fault_of(name, _status.get(), str(e.code or ""), str(e.message)) from e
        except (httpx.HTTPError, TimeoutError, OSError, ValueError) as e:
            raise unreachable(name, e) from e

    @property
    def answered_at(self) -> float:
        """When this task's last answer began to arrive (monotonic seconds), before anybody has read it."""
        return min(_answered_at.get(), time.monotonic())

    def table(self, name: str) -> AsyncRequestBuilder:
        """A table's requests, to be run by `on_table` or `pages`."""
        return self._client.table(name)

    def function(self, name: str) -> Any:
        """A function's request, to be run by `pages`."""
        return self._client.rpc(name, {})

    async def pages(self, name: str, request: Callable[[], Any], limit: int = 100_000) -> list[Row]:
        """Up to `limit` rows of a request that is made anew for each page, as many a page as the server gives."""
        rows: list[Row] = []
        while len(rows) < limit:
            page = await self.on_table(name, request().range(len(rows), limit - 1))
            if not page:
                break
            rows += page
        return rows

    async def on_table(self, name: str, request: Any) -> list[Row]:
        """One request, not repeated: for operators, who see what comes of it. Raises StoreError, StoreRefused.

        name: what is asked, for them.
        """
        try:
            rows: list[Row] = (await request.execute()).data
        except APIError as e:
            raise fault_of(name, _status.get(), str(e.code or ""), str(e.message)) from e
        except (httpx.HTTPError, OSError, ValueError) as e:
            raise unreachable(name, e) from e
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
        self._on_try()
        reason = str(state.outcome.exception()) if state.outcome else ""
        self._on_trouble(reason)
        if not self._down:
            self._down_since = time.monotonic()
            log.warning("Supabase does not answer; waiting for it", reason=reason)
        self._down.add(name)

    def _say_up(self, name: str, answered: bool) -> None:
        if name not in self._down:
            return
        self._down.discard(name)
        if answered and not self._down:
            self._on_trouble("")
            log.info("Supabase answers again", after_seconds=round(time.monotonic() - self._down_since, 1))


def _is_passing(patient: bool, divisible: bool, optional: bool, error: BaseException) -> bool:
    if isinstance(error, StoreOverfull):
        return not divisible
    if isinstance(error, StoreAbsent):
        return not optional
    return isinstance(error, StoreError) and (patient or not isinstance(error, StoreMisconfigured))
