"""What the daemon asks of the database: one method for each of its functions in sql/."""

import functools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from operator import attrgetter
from uuid import uuid4

from worker.jobs import Decision, Due, Known, Settlement
from worker.models import StatusUpdate
from worker.recurrence.zonecheck import Zone
from worker.store import findings, reading
from worker.store.answers import (
    Agenda,
    Claim,
    Connection,
    Diagnosis,
    Done,
    Holder,
    Overview,
    Rescued,
    Resolved,
    Withdrawn,
)
from worker.store.api import Api, Row
from worker.store.reading import Calls, of
from worker.store.refused import say_refused

# What a plan is made of. Half of the columns, and half of the API server's work on each of twenty thousand rows.
PLANNED = (
    "id,owner_id,connection_id,created_at,revision,contact_id,type,message,media_url,caption,media,asset_id,template,"
    "priority,scheduled_at,is_recurring,recurrence_pattern,recurrence_end_at,timezone,series_anchor,occurrence_at,"
    "next_id,not_after"
)
# What p_rows says of each: fields of private.planned_row, private.told_row and private.delivery in sql/.
PLANNED_ROW = tuple(field.name for field in fields(Decision))
TOLD_ROW = ("job_id", "token", "verdict", "message_id", "error", "wait", "parts")
DELIVERY = ("job_id", "message_id", "status", "error", "part", "parts")


class Store:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does.

    `enqueue`, `claim` and `record` raise StoreOverfull where several rows are too much for one request.
    """

    def __init__(self, api: Api) -> None:
        self._api, self._calls, self.clock = api, Calls(api), api.clock
        self.hurry = api.hurry

    async def get_pending(self, after: tuple[datetime, str] | None = None) -> list[Due]:
        """What is due now, oldest first, at most 1000: the first ones, or those that come after a place (Due)."""
        if after is None:
            return await self._calls.rows("get_pending_scheduled_messages", reading.due, select=PLANNED)
        due_at, row_id = after
        last = {"p_due_at": due_at.isoformat(), "p_id": row_id}
        return await self._calls.rows("get_pending_scheduled_messages_after", reading.due, last, PLANNED)

    async def get_due_of_others(self, payers: Sequence[str]) -> list[Due]:
        """The oldest due rows of everybody who is not among `payers` (see planner.py), a hundred each at most."""
        return await self._calls.rows("get_due_of_others", reading.due, {"p_payers": list(payers)}, PLANNED)

    async def get_agenda(self, horizon: float, limit: int, stale: float = 600) -> Agenda:
        """Looks `horizon` seconds ahead, for at most `limit` rows, and sets the clock.

        stale: seconds after which a hand-over that is not finished counts.
        """
        arguments = {"p_horizon_seconds": horizon, "p_limit": limit, "p_stale_seconds": stale}
        return await self._calls.row("get_agenda", arguments, reading.agenda)

    async def look_up_recipients(self, ids: list[str]) -> dict[str, Known]:
        """What is known of the contacts and connections of these rows, by row id; sets the clock.

        Rows without a contact, settings or a fault are left out.
        """
        return await self._calls.row("look_up_recipients", {"p_ids": ids}, reading.all_known)

    async def enqueue(self, rows: Sequence[Decision], early: float = 0.0) -> Done:
        """Tells which rows were still as we read them. `early`: see `claim`."""
        arguments: Row = {"p_early_seconds": early, **p_rows(objects(rows, PLANNED_ROW))}
        read = reading.done("enqueued")
        return await self._calls.row("enqueue_broadcast_jobs", arguments, read, divisible=len(rows) > 1)

    async def claim(
        self,
        seats: int,
        gateway: str,
        lease: float,
        busy: Sequence[str] = (),
        rows: Sequence[Decision] = (),
        call_seconds: float = 0.0,
        early: float = 0.0,
        retries: tuple[int, float] = (3, 60),
    ) -> Claim:
        """Up to `seats` jobs, none of `busy` connections, marked as `sending`. Enqueues `rows` first.

        call_seconds: that claims have been taking, so that no slot is given which would be missed.
        early: seconds, at most one, that `rows` may still lie in the future; they are to be sent on their instants.
        retries: RETRY_ATTEMPTS and RETRY_DELAY_SECONDS, which the database needs for what the Node worker answers.
        The token makes a repetition harmless: asking again with it gives the same jobs.
        """
        token = str(uuid4())
        arguments: Row = {
            "p_token": token,
            "p_seats": seats,
            "p_lease_seconds": lease,
            "p_gateway": gateway,
            "p_busy": list(busy),
            "p_call_seconds": call_seconds,
            "p_early_seconds": early,
            "p_retry_attempts": retries[0],
            "p_retry_delay_seconds": retries[1],
        }
        name = "claim_broadcast_jobs"
        if rows:
            name, arguments = "enqueue_and_claim_broadcast_jobs", arguments | p_rows(objects(rows, PLANNED_ROW))
        read = functools.partial(reading.claim, token=token)
        return await self._calls.timed_row(name, arguments, read, divisible=len(rows) > 1)

    async def record(self, settlements: Sequence[Settlement]) -> Done:
        """Tells of the jobs that were not ours to settle any more: they had been fenced out."""
        told = objects(settlements, TOLD_ROW)

        def aged() -> Row:  # also after an hour of trying, `sent_at` is when the gateway answered
            now = time.monotonic()
            for row, settlement in zip(told, settlements, strict=True):
                row["age"] = now - settlement.answered_at
            return p_rows(told)

        read, several = reading.done("fenced_out"), len(settlements) > 1
        return await self._calls.row("record_outcomes", aged, read, patient=True, divisible=several)

    async def rescue(self, handover_seconds: float) -> Rescued:
        """What a dead daemon left behind, put right. handover_seconds: when to come back to what was handed over."""
        return await self._calls.row("rescue_broadcast_jobs", {"p_handover_seconds": handover_seconds}, reading.rescued)

    async def take_withdrawn(self) -> list[Withdrawn]:
        """Each is told of once."""
        return await self._calls.rows("take_withdrawn_jobs", findings.withdrawn)

    async def take_probes(self, seats: int) -> tuple[list[Connection], datetime | None]:
        """Up to `seats` paused connections that it is our turn to look at, and when to ask again (None: unknown)."""
        return await self._calls.row("take_probes", {"p_seats": seats}, findings.probes)

    async def finish_probes(self, well: list[str], ill: list[str]) -> tuple[list[str], datetime | None]:
        """What was found of connections. Returns those that are back, and when to look again (None: unknown)."""
        return await self._calls.row("finish_probes", {"p_well": well, "p_ill": ill}, findings.finished_probes)

    async def record_deliveries(self, updates: Sequence[StatusUpdate]) -> None:
        """What a webhook told. Updates of messages that are not ours, or that their rows refuse, are left out."""
        arguments = p_rows(objects([u for u in updates if u.job_id], DELIVERY))
        refused = await self._calls.row("record_deliveries", arguments, lambda row: reading.refused(row["refused"]))
        say_refused("a receipt", refused)

    async def resolve(self, message_id: str, outcome: str) -> Resolved | None:
        """Settles an unconfirmed row; what was known of its attempt, or None where it was not unconfirmed."""
        arguments = {"p_id": message_id, "p_outcome": outcome}
        found = await self._calls.rows("resolve_scheduled_message", findings.resolved, arguments)
        return found[0] if found else None

    async def get_connections(self, limit: int) -> list[Connection]:
        """The first `limit` connections."""
        first = await self._api.pages(
            "connections", lambda: self._api.table("connections").select("id").order("id"), limit
        )
        ids = [row["id"] for row in first]
        rows = await self._api.pages(
            "connection_settings",
            lambda: (
                self._api.table("connection_settings")
                .select("connection_id,gateway,sender")
                .in_("connection_id", ids)
                .order("connection_id")
            ),
            limit,
        )
        settings = {one.connection_id: one for one in map(findings.connection, rows)}
        return [settings.get(one) or Connection(one, None, None) for one in ids]

    async def has_connection(self, connection_id: str) -> bool:
        table = self._api.table("connections").select("id").eq("id", connection_id)
        return bool(await self._api.on_table("connections", table))

    async def forget_connection(self, connection_id: str) -> bool:
        """Ends all that is kept of this id. Whether there was anything."""
        return await self._calls.value("forget_connection", bool, {"p_connection_id": connection_id})

    async def get_connection_settings(self, connection_id: str) -> Row | None:
        """The columns of connection_settings by their names, as an operator writes them; None where there is no row."""
        table = self._api.table("connection_settings").select("*").eq("connection_id", connection_id)
        rows = await self._api.on_table("connection_settings", table)
        return rows[0] if rows else None

    async def put_connection_settings(self, connection_id: str, values: Row) -> None:
        """Makes or changes the row of a connection; other columns keep what they have."""
        row = {**values, "connection_id": connection_id}
        table = self._api.table("connection_settings").upsert(row, on_conflict="connection_id")
        await self._api.on_table("connection_settings", table)

    async def set_up_reminders(self, connection_id: str, kind: str) -> list[str]:
        """The names of the rules that the connection then has of this kind."""
        arguments: Row = {"connection_id": connection_id, "kind": kind}
        return await self._calls.rows("set_up_reminders", lambda row: of(str, row["name"]), arguments)

    async def diagnose(self) -> list[Diagnosis]:
        """Findings about the database."""
        return [
            findings.diagnosis(row) for row in await self._api.pages("diagnose", lambda: self._api.function("diagnose"))
        ]

    async def get_holders(self) -> list[Holder]:
        """Transactions that stay open and hold what we lock. Answers when the tables do not."""
        return await self._calls.rows("get_holders", reading.holder)

    async def get_timezones(self, default: str) -> list[Zone]:
        """The zones in use."""
        return await self._calls.rows("get_timezones", findings.zone, {"p_default": default})

    async def get_status(self, stale_seconds: float) -> Overview:
        return await self._calls.row("get_status", {"p_stale_seconds": stale_seconds}, findings.overview)


def objects(values: Iterable[object], names: Sequence[str]) -> list[Row]:
    """Each value as an object of these fields; what is None is left out, which the database takes alike."""
    read = attrgetter(*names)
    return [
        {name: field for name, field in zip(names, read(value), strict=True) if field is not None} for value in values
    ]


def p_rows(objects: Sequence[Row]) -> Row:
    """The argument of a function that takes many rows: JSON as text, which every server passes on as it is.

    See docs/adr/0026-many-rows-are-one-argument.md.
    """
    return {"p_rows": json.dumps(objects, ensure_ascii=False, separators=(",", ":"), default=datetime.isoformat)}
