"""The arguments of the database's functions that take many rows: one array for each field."""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

ENQUEUE_ARGUMENTS = {
    "id": "p_ids", "revision": "p_revisions", "job_id": "p_job_ids", "recipient": "p_recipients", "error": "p_errors",
    "timezone": "p_timezones", "anchor": "p_anchors", "occurrence": "p_occurrences", "missed": "p_missed",
    "next_at": "p_next_at", "next_after": "p_next_after", "expires_at": "p_expires_at", "phone": "p_phones",
}  # fmt: skip
SETTLEMENT_ARGUMENTS = {
    "job_id": "p_job_ids", "token": "p_tokens", "verdict": "p_outcomes", "message_id": "p_message_ids",
    "error": "p_errors", "wait": "p_waits", "parts": "p_parts",
}  # fmt: skip

DELIVERY_ARGUMENTS = {
    "job_id": "p_job_ids", "message_id": "p_message_ids", "status": "p_statuses", "error": "p_errors",
    "part": "p_part_numbers", "parts": "p_part_counts",
}  # fmt: skip


def columns(values: Sequence[Any], names: dict[str, str]) -> dict[str, list[Any] | None]:
    """Turns rows into the parallel arrays of an RPC; null for one that would hold nothing else, which unnests alike."""
    found = {argument: [*map(_plain, map(attrgetter(name), values))] for name, argument in names.items()}
    return {argument: column if any(v is not None for v in column) else None for argument, column in found.items()}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
