"""What passes through the daemon, made by hand: each with whatever a test does not care about."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from worker.jobs import Due, HandOver, Job, Series, Settlement, Verdict, Written

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
WRITTEN, SERIES = Written.__dataclass_fields__, Series.__dataclass_fields__


def written(fields: dict[str, Any]) -> Written:
    """Takes what it is made of out of `fields`; a text where they do not say."""
    return Written(**{"type": "text", "message": "Hello", **taken(fields, WRITTEN)})


def taken(fields: dict[str, Any], names: Any) -> dict[str, Any]:
    return {name: fields.pop(name) for name in [*fields] if name in names}


def due(**fields: Any) -> Due:
    """A row; `recurrence_pattern` and its like make a series of it."""
    series = taken(fields, SERIES)
    made: dict[str, Any] = {
        "id": str(uuid4()), "revision": 0, "connection_id": "shop", "owner_id": None, "contact_id": "+919876500000",
        "scheduled_at": NOW, "written": written(fields), "series": Series(**series) if series else None,
    }  # fmt: skip
    return Due(**{**made, **fields})


def row(**columns: Any) -> dict[str, Any]:
    """A row of scheduled_messages as the API tells of it."""
    return {
        "id": str(uuid4()), "revision": 0, "owner_id": None, "connection_id": "shop", "contact_id": "+919876500000",
        "type": "text", "message": "Hello", "media_url": None, "caption": None, "media": None, "asset_id": None,
        "scheduled_at": NOW.isoformat(), "is_recurring": False, "recurrence_pattern": None, "recurrence_end_at": None,
        "not_after": None, "timezone": None, "series_anchor": None, "occurrence_at": None, "next_id": None,
        "template": None, "priority": 0, **columns,
    }  # fmt: skip


def order(fields: dict[str, Any]) -> dict[str, Any]:
    made = {
        "id": str(uuid4()), "scheduled_message_id": str(uuid4()), "connection_id": "shop", "owner_id": None,
        "gateway": "waha", "sender": None, "api_key": None, "recipient": "+919876500000", "written": written(fields),
        "attempts": 1, "throttled": 0,
    }  # fmt: skip
    return {**made, **fields}


def hand_over(**fields: Any) -> HandOver:
    return HandOver(**order({"gateway": "bullmq", **fields}))


def job(**fields: Any) -> Job:
    """One that fell due at NOW and may go at once."""
    at = fields.get("scheduled_at", NOW)
    slot = {"token": "token", "scheduled_at": at, "send_at": at, "send_until": None}
    return Job(**order({**slot, "claimed_at": 0.0, "lease_ends": 60.0, **fields}))


def settlement(job_id: str, verdict: Verdict, token: str = "token", **fields: Any) -> Settlement:
    return Settlement(job(id=job_id, token=token), verdict, **fields)
