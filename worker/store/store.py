"""What the daemon asks of the database: one method for each of its functions in sql/."""

import time
from collections.abc import Sequence
from datetime import datetime
from uuid import uuid4

from worker.models import StatusUpdate
from worker.store.api import Api
from worker.store.calls import (
    ENQUEUE_ARGUMENTS,
    SETTLEMENT_ARGUMENTS,
    Agenda,
    Claim,
    Done,
    Enqueue,
    Row,
    Settlement,
    columns,
    instant_or_none,
)
from worker.watch.log import say_refused

# What a plan is made of. Half of the columns, and half of the API server's work on each of twenty thousand rows.
PLANNED = (
    "id,owner_id,connection_id,created_at,revision,contact_id,type,message,media_url,caption,media,asset_id,scheduled_at,"
    "is_recurring,recurrence_pattern,recurrence_end_at,timezone,series_anchor,occurrence_at,next_id"
)


class Store:
    """Its methods raise StoreRefused, StoreMisconfigured, and wait while Supabase is away, as long as the Api does.

    `enqueue`, `claim` and `record` raise StoreOverfull where several rows are too much for one request.
    """

    def __init__(self, api: Api) -> None:
        self._api, self.clock = api, api.clock
        self.hurry = api.hurry

    async def get_pending(self, after: Row | None = None) -> list[Row]:
        """What is due now, oldest first, at most 1000: the first ones, or those that come after a row."""
        if after is None:
            return await self._api.rows("get_pending_scheduled_messages", "id", select=PLANNED)
        last = {"p_due_at": after["scheduled_at"], "p_id": after["id"]}  # the same while a row is pending
        return await self._api.rows("get_pending_scheduled_messages_after", "id", last, select=PLANNED)

    async def get_due_of_others(self, payers: Sequence[str]) -> list[Row]:
        """The oldest due rows of everybody who is not among `payers` (see line.py), a hundred each at most."""
        return await self._api.rows("get_due_of_others", "id", {"p_payers": list(payers)}, select=PLANNED)

    async def get_agenda(self, horizon: float, limit: int, stale: float = 600) -> Agenda:
        """Looks `horizon` seconds ahead, for at most `limit` rows, and sets the clock.

        stale: seconds after which a hand-over that is not finished counts.
        """
        arguments = {"p_horizon_seconds": horizon, "p_limit": limit, "p_stale_seconds": stale}
        row, _ = await self._api.row("get_agenda", arguments, "upcoming")
        names = ("next_due_at", "next_ready_at", "next_expiry_at", "next_probe_at", "complete_until")
        instants: Row = {name: instant_or_none(row[name]) for name in names}
        return Agenda(row["upcoming"] or [], row["stale_hand_overs"], holders=row["holders"] or [], **instants)

    async def look_up_recipients(self, ids: list[str]) -> dict[str, Row]:
        """What is known of the contacts and connections of these rows, by row id; sets the clock.

        Most of those of which there is nothing to say but that their connection exists are left out.
        """
        row, _ = await self._api.row("look_up_recipients", {"p_ids": ids}, "known")
        return {known["id"]: known for known in row["known"] or []}

    async def enqueue(self, rows: Sequence[Enqueue], ahead: float = 0.0) -> Done:
        """Tells which rows were still as we read them. `ahead`: see `claim`."""
        arguments: Row = {"p_ahead_seconds": ahead, **columns(rows, ENQUEUE_ARGUMENTS)}
        row, _ = await self._api.row("enqueue_broadcast_jobs", arguments, "enqueued", divisible=len(rows) > 1)
        return Done(row["enqueued"] or [], row["refused"] or [])

    async def claim(
        self,
        seats: int,
        gateway: str,
        lease: float,
        busy: Sequence[str] = (),
        rows: Sequence[Enqueue] = (),
        lead: float = 0.0,
        ahead: float = 0.0,
        retries: tuple[int, float] = (3, 60),
    ) -> Claim:
        """Up to `seats` jobs, none of `busy` connections, marked as `sending`. Enqueues `rows` first.

        lead: seconds that claims have been taking, so that no slot is given which would be missed.
        ahead: seconds, at most one, that `rows` may still lie in the future; they are to be sent on their instants.
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
            "p_lead_seconds": lead,
            "p_ahead_seconds": ahead,
            "p_retry_attempts": retries[0],
            "p_retry_delay_seconds": retries[1],
        }
        name = "claim_broadcast_jobs"
        if rows:
            name, arguments = "enqueue_and_claim_broadcast_jobs", arguments | columns(rows, ENQUEUE_ARGUMENTS)
        row, asked_at = await self._api.row(name, arguments, "jobs", divisible=len(rows) > 1)
        refused = row.get("refused") or []
        return Claim(token, row["jobs"] or [], instant_or_none(row["next_ready_at"]), asked_at, refused)

    async def record(self, settlements: Sequence[Settlement]) -> Done:
        """Tells of the jobs that were not ours to settle any more: they had been fenced out."""
        arguments = columns(settlements, SETTLEMENT_ARGUMENTS)

        def aged() -> Row:  # also after an hour of trying, `sent_at` is when the gateway answered
            now = time.monotonic()
            return arguments | {"p_ages": [now - settlement.answered_at for settlement in settlements]}

        row, _ = await self._api.row(
            "record_outcomes", aged, "fenced_out", patient=True, divisible=len(settlements) > 1
        )
        return Done(row["fenced_out"] or [], row["refused"] or [])

    async def rescue(self, handover_seconds: float) -> Row:
        """What a dead daemon left behind: counts of rescued and expired, the refused, and the hand_overs to add again.

        handover_seconds: when to come back to those.
        """
        return (await self._api.row("rescue_broadcast_jobs", {"p_handover_seconds": handover_seconds}, "rescued"))[0]

    async def take_withdrawn(self) -> list[Row]:
        """`id` and `gateway` of jobs that lie in somebody else's queue and need not be done any more, each once."""
        return await self._api.rows("take_withdrawn_jobs", "id")

    async def take_probes(self, seats: int) -> tuple[list[Row], datetime | None]:
        """Up to `seats` paused connections that it is our turn to look at, and when to ask again (None: unknown)."""
        row, _ = await self._api.row("take_probes", {"p_seats": seats}, "probes")
        return row["probes"] or [], instant_or_none(row["next_probe_at"])

    async def finish_probes(self, well: list[str], ill: list[str]) -> tuple[list[str], datetime | None]:
        """What was found of connections. Returns those that are back, and when to look again (None: unknown)."""
        row, _ = await self._api.row("finish_probes", {"p_well": well, "p_ill": ill}, "back")
        return row["back"] or [], instant_or_none(row["next_probe_at"])

    async def record_deliveries(self, updates: Sequence[StatusUpdate]) -> None:
        """What a webhook told. Updates of messages that are not ours, or that their rows refuse, are left out."""
        ours = [u for u in updates if u.job_id]
        arguments = columns(
            ours,
            {
                "job_id": "p_job_ids",
                "message_id": "p_message_ids",
                "status": "p_statuses",
                "error": "p_errors",
                "part": "p_part_numbers",
                "parts": "p_part_counts",
            },
        )
        row, _ = await self._api.row("record_deliveries", arguments, "refused")
        say_refused("a receipt", row["refused"] or [])

    async def resolve(self, message_id: str, outcome: str) -> Row | None:
        """Settles an unconfirmed row; what was known of its attempt, or None where it was not unconfirmed."""
        rows = await self._api.rows("resolve_scheduled_message", "id", {"p_id": message_id, "p_outcome": outcome})
        return rows[0] if rows else None

    async def get_connections(self, limit: int) -> list[Row]:
        """connection_id of the first `limit` connections, with the gateway and sender of their settings, or None."""
        ids = [
            row["id"]
            for row in await self._api.pages(lambda: self._api.table("connections").select("id").order("id"), limit)
        ]
        rows = await self._api.pages(
            lambda: (
                self._api.table("connection_settings")
                .select("connection_id,gateway,sender")
                .in_("connection_id", ids)
                .order("connection_id")
            ),
            limit,
        )
        settings = {row["connection_id"]: row for row in rows}
        return [settings.get(one) or {"connection_id": one, "gateway": None, "sender": None} for one in ids]

    async def has_connection(self, connection_id: str) -> bool:
        return bool(await self._api.on_table(self._api.table("connections").select("id").eq("id", connection_id)))

    async def forget_connection(self, connection_id: str) -> bool:
        """Ends all that is kept of this id. Whether there was anything."""
        reply = await self._api.call(
            "forget_connection", {"p_connection_id": connection_id}, lambda data: isinstance(data, bool)
        )
        return bool(reply.data)

    async def get_connection_settings(self, connection_id: str) -> Row | None:
        """The row of connection_settings, None where there is none."""
        table = self._api.table("connection_settings").select("*").eq("connection_id", connection_id)
        rows = await self._api.on_table(table)
        return rows[0] if rows else None

    async def put_connection_settings(self, values: Row) -> None:
        """Makes or changes the row of `values["connection_id"]`; other columns keep what they have."""
        await self._api.on_table(self._api.table("connection_settings").upsert(values, on_conflict="connection_id"))

    async def diagnose(self) -> list[Row]:
        """Findings about the database: level, what, remedy."""
        return await self._api.pages(lambda: self._api.function("diagnose"))

    async def get_holders(self) -> list[Row]:
        """Transactions that stay open and hold what we lock: pid, role, application, seconds, state, tables, blocks.

        Also `transaction`, which tells one from another, and `words` for people. Answers when the tables do not.
        """
        return await self._api.rows("get_holders", "words")

    async def get_timezones(self, default: str) -> list[Row]:
        """The zones in use, with their offsets in minutes once a week from `began_at` on, as the database has them."""
        return await self._api.rows("get_timezones", "name", {"p_default": default})

    async def get_status(self, stale_seconds: float) -> Row:
        return (await self._api.row("get_status", {"p_stale_seconds": stale_seconds}, "counts"))[0]
