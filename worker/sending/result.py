"""Decides what an outcome means for its job: settled, tried again and when, or left in doubt. Pure."""

import functools
import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from worker.config import Settings
from worker.jobs import Job, Settlement, Verdict
from worker.models import HandedOver, Locked, Outcome, Parts, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

Settled = Callable[..., Settlement]

THROTTLED_SECONDS = 10.0  # where the gateway does not say how long


def settle(job: Job, outcome: Outcome, settings: Settings, now: datetime) -> Settlement:
    """`now` is the database's clock."""
    settled = functools.partial(Settlement, job, late=(now - job.scheduled_at).total_seconds())
    match outcome:
        case Sent(message_id, parts):
            return settled("sent", message_id=message_id, parts=told(parts))
        case HandedOver():
            return settled("handed_over", wait=settings.handover_seconds)
        case Rejected(reason, parts):
            return settled("failed", error=reason, parts=told(parts))
        case Unconfirmed(reason, parts):
            error = f"It may have been sent: {reason}"
            return settled("unconfirmed", error=error, parts=told(parts))
        case Throttled(reason, scope, after):
            verdict: Verdict = "throttled_recipient" if scope == "recipient" else "throttled_connection"
            wait = THROTTLED_SECONDS if after is None else after
            return settled(verdict, error=reason, wait=wait)
        case Stopped(reason):
            return settled("stopped", error=reason, wait=0)
        case Retry(reason, after):
            wait = settings.retry_delay_seconds * random.uniform(1, 1.25) if after is None else after
            return _again(settled, "retry", job.attempts, reason, wait, settings, now)
        case Locked(reason, after):
            return _again(settled, "locked_recipient", job.attempts, reason, after, settings, now)


def told(parts: Parts | None) -> str | None:
    return json.dumps({"of": parts.planned, "ids": parts.ids}) if parts else None


def _again(
    settled: Settled, verdict: Verdict, attempt: int, reason: str, wait: float, settings: Settings, now: datetime
) -> Settlement:
    tries = settings.retry_attempts
    if attempt >= tries:
        return settled("failed", error=f"{reason} (given up after {attempt} {'try' if attempt == 1 else 'tries'})")
    at = now + timedelta(seconds=wait)
    when = f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"
    return settled(verdict, error=f"try {attempt + 1} of {tries} at {when}: {reason}", wait=wait)
