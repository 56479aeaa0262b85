"""Decides what an outcome means for its job: settled, tried again and when, or left in doubt. Pure."""

import json
import random
from datetime import datetime, timedelta

from worker.config import Settings
from worker.models import HandedOver, Locked, Outcome, Parts, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed
from worker.store.calls import Settlement

THROTTLED_SECONDS = 10.0  # where the gateway does not say how long


def settle(job_id: str, token: str, attempt: int, outcome: Outcome, settings: Settings, now: datetime) -> Settlement:
    """`attempt` counts from 1 and includes this one; `now` is the database's clock."""
    match outcome:
        case Sent(message_id, parts):
            return Settlement(job_id, token, "sent", message_id=message_id, parts=told(parts))
        case HandedOver():
            return Settlement(job_id, token, "handed_over", wait=settings.handover_seconds)
        case Rejected(reason, parts):
            return Settlement(job_id, token, "failed", error=reason, parts=told(parts))
        case Unconfirmed(reason, parts):
            error = f"It may have been sent: {reason}"
            return Settlement(job_id, token, "unconfirmed", error=error, parts=told(parts))
        case Throttled(reason, scope, after):
            return Settlement(
                job_id,
                token,
                f"throttled_{scope}",
                error=reason,
                wait=THROTTLED_SECONDS if after is None else after,
            )
        case Stopped(reason):
            return Settlement(job_id, token, "stopped", error=reason, wait=0)
        case Retry(reason, after):
            wait = settings.retry_delay_seconds * random.uniform(1, 1.25) if after is None else after
            return _again("retry", job_id, token, attempt, reason, wait, settings, now)
        case Locked(reason, after):
            return _again("locked_recipient", job_id, token, attempt, reason, after, settings, now)


def told(parts: Parts | None) -> str | None:
    return json.dumps({"of": parts.planned, "ids": parts.ids}) if parts else None


def _again(
    outcome: str, job_id: str, token: str, attempt: int, reason: str, wait: float, settings: Settings, now: datetime
) -> Settlement:
    tries = settings.retry_attempts
    if attempt >= tries:
        given_up = f"{reason} (given up after {attempt} {'try' if attempt == 1 else 'tries'})"
        return Settlement(job_id, token, "failed", error=given_up)
    at = now + timedelta(seconds=wait)
    when = f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"
    return Settlement(job_id, token, outcome, error=f"try {attempt + 1} of {tries} at {when}: {reason}", wait=wait)
