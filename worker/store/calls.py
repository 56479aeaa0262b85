"""What goes into the database's functions and what comes out: the store's vocabulary."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from worker.recurrence.times import parse_time

Row = dict[str, Any]


class Enqueue(NamedTuple):
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


@dataclass(slots=True)  # frozen ones take three times as long to make
class Settlement:
    """One job as `record_outcomes` wants it; see the function's comment. `wait` in seconds, `answered_at` monotonic.

    `line`: what the log says of it, once it is written down with others. `parts`: JSON, see the function.
    """

    job_id: str
    token: str
    outcome: str
    message_id: str | None = None
    error: str | None = None
    wait: float | None = None
    answered_at: float = field(default_factory=time.monotonic)
    line: Row | None = None
    parts: str | None = None


class Done(NamedTuple):
    """What a call that writes rows says of them.

    ids: of rows that were enqueued, or of jobs that were fenced out.
    refused: rows that the database refused to have written, each with id, code (SQLSTATE) and reason; of `enqueue` also
    what the row `became`: `series ended`, `failed`, `put aside`.
    """

    ids: list[str]
    refused: list[Row]


@dataclass(frozen=True, slots=True)
class Agenda:
    """What comes next, by the database's clock, which `Clock` has observed.

    complete_until: up to when `upcoming` holds every row, None where it does to the end.
    holders: see Store.get_holders.
    """

    upcoming: list[Row]
    stale_hand_overs: int
    next_due_at: datetime | None
    next_ready_at: datetime | None
    next_expiry_at: datetime | None
    next_probe_at: datetime | None
    complete_until: datetime | None = None
    holders: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Claim:
    """Jobs that are ours to send now. `asked_at` is monotonic: leases count from there."""

    token: str
    jobs: list[Row]
    next_ready_at: datetime | None
    asked_at: float
    refused: list[Row] = field(default_factory=list)


ENQUEUE_ARGUMENTS = {
    "id": "p_ids", "revision": "p_revisions", "job_id": "p_job_ids", "recipient": "p_recipients", "error": "p_errors",
    "timezone": "p_timezones", "anchor": "p_anchors", "occurrence": "p_occurrences", "missed": "p_missed",
    "next_at": "p_next_at", "next_after": "p_next_after", "expires_at": "p_expires_at", "phone": "p_phones",
}  # fmt: skip
SETTLEMENT_ARGUMENTS = {
    "job_id": "p_job_ids", "token": "p_tokens", "outcome": "p_outcomes", "message_id": "p_message_ids",
    "error": "p_errors", "wait": "p_waits", "parts": "p_parts",
}  # fmt: skip


def instant_or_none(text: str | None) -> datetime | None:
    return parse_time(text) if text and text != "infinity" else None


def columns(values: Sequence[Any], names: dict[str, str]) -> dict[str, list[Any] | None]:
    """Turns rows into the parallel arrays of an RPC; null for one that would hold nothing else, which unnests alike."""
    found = {argument: [getattr(value, name) for value in values] for name, argument in names.items()}
    return {argument: column if any(v is not None for v in column) else None for argument, column in found.items()}


assert set(Enqueue._fields) == set(ENQUEUE_ARGUMENTS)  # noqa: S101
