"""The only module that calls Supabase. One method an RPC; each may be repeated, and is, until it answers."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple, Self
from uuid import uuid4

import httpx
import structlog
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

from worker.clock import Clock
from worker.config import Settings
from worker.errors import StoreError, StoreRefused
from worker.metrics import Metrics
from worker.models import StatusUpdate
from worker.times import parse_time

log = structlog.get_logger()

Row = dict[str, Any]

TIMEOUT = httpx.Timeout(10, read=30)
# 4xx that a repetition may mend all the same.
PASSING_STATUS = (408, 425, 429)
PASSING_CODE = ("PGRST002", "PGRST202")  # the schema cache, just after a migration

# APIError does not tell the HTTP status, and the code alone is not enough: proxies and servers make up their own.
_status: ContextVar[int] = ContextVar("status", default=0)


async def _note_status(response: httpx.Response) -> None:
    _status.set(response.status_code)


@dataclass(frozen=True, slots=True)
class Enqueue:
    """One row as `enqueue_broadcast_jobs` wants it; the fields are its arguments, in the plural there.

    `error` makes the row fail instead. `phone` is the contact's number as it was looked up, None where none was.
    `anchor` is a wall time in `timezone`; all other times are UTC.
    """

    id: str
    revision: int
    job_id: str
    recipient: str | None = None
    error: str | None = None
    timezone: str | None = None
    anchor: str | None = None
    occurrence: str | None = None
    missed: int = 0
    next_at: str | None = None
    next_after: str | None = None
    expires_at: str | None = None
    phone: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """One job as `record_outcomes` wants it; see the function's comment. `wait` in seconds, `answered_at` monotonic."""

    job_id: str
    token: str
    outcome: str
    message_id: str | None = None
    error: str | None = None
    wait: float | None = None
    answered_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Agenda:
    """What comes next, by the database's clock, which `Clock` has observed."""

    upcoming: list[Row]
    stale_hand_overs: int
    next_due_at: datetime | None
    next_ready_at: datetime | None
    next_expiry_at: datetime | None
    next_probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that are ours to send now. `asked_at` is monotonic: leases count from there."""

    token: str
    jobs: list[Row]
    next_ready_at: datetime | None
    asked_at: float


class Reply(NamedTuple):
    """What an RPC returned, and when it was asked (monotonic seconds)."""

    data: Any
    asked_at: float


ENQUEUE_ARGUMENTS = {
    "id": "p_ids", "revision": "p_revisions", "job_id": "p_job_ids", "recipient": "p_recipients", "error": "p_errors",
    "timezone": "p_timezones", "anchor": "p_anchors", "occurrence": "p_occurrences", "missed": "p_missed",
    "next_at": "p_next_at", "next_after": "p_next_after", "expires_at": "p_expires_at", "phone": "p_phones",
}  # fmt: skip
SETTLEMENT_ARGUMENTS = {
    "job_id": "p_job_ids", "token": "p_tokens", "outcome": "p_outcomes", "message_id": "p_message_ids",
    "error": "p_errors", "wait": "p_waits",
}  # fmt: skip


def instant_or_none(text: str | None) -> datetime | None:
    return parse_time(text) if text and text != "infinity" else None


def columns(values: Sequence[Any], names: dict[str, str]) -> dict[str, list[Any]]:
    """Turns rows into the parallel arrays of an RPC."""
    return {argument: [getattr(value, name) for value in values] for name, argument in names.items()}


class Store:
    """`attempts` bounds the repetitions (None: for ever), for commands that must not hang."""

    def __init__(
        self,
        client: AsyncClient,
        http: httpx.AsyncClient,
        clock: Clock,
        metrics: Metrics,
        attempts: int | None = None,
    ) -> None:
        self._client, self._http, self.clock, self._metrics = client, http, clock, metrics
        self._stop: stop_base | Any = stop_after_attempt(attempts) if attempts else stop_never
        self._down_since: float | None = None
        self.on_try: Callable[[], object] = lambda: None

    @classmethod
    async def connect(cls, settings: Settings, clock: Clock, metrics: Metrics, attempts: int | None = None) -> Self:
        """Opens nothing yet. HTTP/1.1, because a cancelled HTTP/2 request poisons httpx's pool."""
        http = httpx.AsyncClient(
            http2=False,
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=20, keepalive_expiry=120),
            event_hooks={"response": [_note_status]},
        )
        options = AsyncClientOptions(auto_refresh_token=False, persist_session=False, httpx_client=http)
        client = await acreate_client(settings.supabase_url, settings.supabase_service_role_key, options)
        return cls(client, http, clock, metrics, attempts)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def get_pending(self) -> list[Row]:
        """What is due now, oldest first, at most 1000."""
        return await self._rows("get_pending_scheduled_messages")

    async def get_agenda(self, horizon: float, limit: int, stale: float = 600) -> Agenda:
        """Looks `horizon` seconds ahead, for at most `limit` rows, and sets the clock.

        stale: seconds after which a hand-over that is not finished counts.
        """
        arguments = {"p_horizon_seconds": horizon, "p_limit": limit, "p_stale_seconds": stale}
        row, _ = await self._row("get_agenda", arguments)
        names = ("next_due_at", "next_ready_at", "next_expiry_at", "next_probe_at")
        return Agenda(row["upcoming"] or [], row["stale_hand_overs"], *(instant_or_none(row[name]) for name in names))

    async def look_up_recipients(self, ids: list[str]) -> dict[str, Row]:
        """What is known of the contacts and connections of these rows, by row id. Sets the clock."""
        reply = await self._rpc(
            "look_up_recipients", {"p_ids": ids}, lambda data: all(isinstance(r, dict) for r in data)
        )
        if reply.data:
            self.clock.observe(parse_time(reply.data[0]["db_now"]), reply.asked_at)
        return {row["id"]: row for row in reply.data}

    async def enqueue(self, rows: Sequence[Enqueue]) -> list[str]:
        """Returns the ids of the rows that were still as we read them."""
        return await self._strings("enqueue_broadcast_jobs", columns(rows, ENQUEUE_ARGUMENTS))

    async def claim(
        self, seats: int, gateway: str, lease: float, busy: Sequence[str] = (), rows: Sequence[Enqueue] = ()
    ) -> Claim:
        """Up to `seats` jobs, none of `busy` connections, marked as `sending`. Enqueues `rows` first.

        The token makes a repetition harmless: asking again with it gives the same jobs.
        """
        token = str(uuid4())
        arguments: Row = {
            "p_token": token,
            "p_seats": seats,
            "p_lease_seconds": lease,
            "p_gateway": gateway,
            "p_busy": list(busy),
        }
        name = "claim_broadcast_jobs"
        if rows:
            name, arguments = "enqueue_and_claim_broadcast_jobs", arguments | columns(rows, ENQUEUE_ARGUMENTS)
        row, asked_at = await self._row(name, arguments)
        return Claim(token, row["jobs"] or [], instant_or_none(row["next_ready_at"]), asked_at)

    async def record(self, settlements: Sequence[Settlement]) -> list[str]:
        """Returns the jobs that were ours to settle; the others had been fenced out."""
        arguments = columns(settlements, SETTLEMENT_ARGUMENTS)

        def aged() -> Row:  # also after an hour of trying, `sent_at` is when the gateway answered
            now = time.monotonic()
            return arguments | {"p_ages": [now - settlement.answered_at for settlement in settlements]}

        return await self._strings("record_outcomes", aged)

    async def rescue(self, handover_seconds: float) -> Row:
        """What a dead daemon left behind: counts of rescued and expired, and the hand_overs that are to be added again.

        handover_seconds: when to come back to those.
        """
        return (await self._row("rescue_broadcast_jobs", {"p_handover_seconds": handover_seconds}))[0]

    async def take_probes(self) -> list[Row]:
        """Paused connections that it is our turn to look at."""
        return await self._rows("take_probes")

    async def resume(self, connection_id: str) -> None:
        await self._rpc("resume_connection", {"p_connection_id": connection_id}, lambda _: True)

    async def record_deliveries(self, updates: Sequence[StatusUpdate]) -> None:
        """What a webhook told. Updates of messages that are not ours are left out."""
        ours = [u for u in updates if u.job_id]
        arguments = columns(
            ours,
            {
                "job_id": "p_job_ids",
                "message_id": "p_message_ids",
                "status": "p_statuses",
                "error": "p_errors",
            },
        )
        await self._strings("record_deliveries", arguments)

    async def resolve(self, message_id: str, outcome: str) -> Row | None:
        """Settles an unconfirmed row; what was known of its attempt, or None where it was not unconfirmed."""
        rows = await self._rows("resolve_scheduled_message", {"p_id": message_id, "p_outcome": outcome})
        return rows[0] if rows else None

    async def get_connection_settings(self, connection_id: str) -> Row | None:
        """The row of connection_settings, None where there is none."""
        table = self._client.table("connection_settings").select("*").eq("connection_id", connection_id)
        rows = await self._once_on_table(table)
        return rows[0] if rows else None

    async def put_connection_settings(self, values: Row) -> None:
        """Makes or changes the row of `values["connection_id"]`; other columns keep what they have."""
        await self._once_on_table(self._client.table("connection_settings").upsert(values, on_conflict="connection_id"))

    async def diagnose(self) -> list[Row]:
        """Findings about the database: level, what, remedy."""
        return await self._rows("diagnose")

    async def get_status(self, stale_seconds: float) -> Row:
        return (await self._row("get_status", {"p_stale_seconds": stale_seconds}))[0]

    async def _row(self, name: str, arguments: Row) -> tuple[Row, float]:
        """The one row of an answer, and when it was asked for (monotonic). Its `db_now` sets the clock."""
        reply = await self._rpc(name, arguments, lambda data: len(data) == 1 and isinstance(data[0], dict))
        row = reply.data[0]
        if "db_now" in row:
            self.clock.observe(parse_time(row["db_now"]), reply.asked_at)
        return row, reply.asked_at

    async def _rows(self, name: str, arguments: Row | None = None) -> list[Row]:
        rows: list[Row] = (
            await self._rpc(name, arguments or {}, lambda data: all(isinstance(row, dict) for row in data))
        ).data
        return rows

    async def _strings(self, name: str, arguments: Row | Callable[[], Row]) -> list[str]:
        ids: list[str] = (
            await self._rpc(name, arguments, lambda data: all(isinstance(value, str) for value in data))
        ).data
        return ids

    async def _rpc(self, name: str, arguments: Row | Callable[[], Row], valid: Callable[[list[Any]], bool]) -> Reply:
        """One call, repeated while Supabase is down, slow or talks nonsense. Raises StoreRefused.

        arguments: what makes them anew for each try, where they depend on the time.
        """
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(StoreError), wait=wait_random_exponential(0.25, max=30), stop=self._stop,
            before_sleep=self._say_down, reraise=True,
        ):  # fmt: skip
            with attempt:
                reply = await self._once(name, arguments() if callable(arguments) else arguments)
                if not isinstance(reply.data, list) or not valid(reply.data):
                    raise StoreError(f"{name} was answered with something that is not what it returns")
        self._say_up()
        return reply

    async def _once(self, name: str, arguments: Row) -> Reply:
        asked_at = time.monotonic()
        self.on_try()
        try:
            with self._metrics.rpc(name):
                async with asyncio.timeout(45):
                    return Reply((await self._client.rpc(name, arguments).execute()).data, asked_at)
        except APIError as e:
            raise classify(name, e, _status.get()) from e
        except (httpx.HTTPError, TimeoutError, OSError, ValueError) as e:
            raise StoreError(f"{name}: {type(e).__name__}") from e

    async def _once_on_table(self, request: Any) -> list[Row]:
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

    @property
    def down_for(self) -> float:
        """Seconds since Supabase stopped answering; 0 while it answers."""
        return time.monotonic() - self._down_since if self._down_since is not None else 0.0


def classify(name: str, error: APIError, status: int) -> StoreError | StoreRefused:
    """Whether the same call may succeed later. `status` is the HTTP status of the answer."""
    code = str(error.code or "")
    text = f"{name}: {status} {code} {str(error.message)[:300]}".strip()
    refused = 400 <= status < 500 and status not in PASSING_STATUS and code not in PASSING_CODE
    if code == "SUP":  # @supabase/lite answers 500 where PostgREST answers 400 or 403
        refused = re.search(r"violates|invalid|permission denied|out of range|does not exist", text) is not None
    return StoreRefused(text) if refused else StoreError(text)


assert {f.name for f in fields(Enqueue)} == set(ENQUEUE_ARGUMENTS)  # noqa: S101
