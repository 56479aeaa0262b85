"""What operators do by hand: look, settle, set up, examine. Answers within seconds or says why not."""

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

from rich.console import Console

from worker import doctor as examination
from worker.api import Api
from worker.calls import Row
from worker.clock import Clock
from worker.config import Settings
from worker.errors import WorkerError
from worker.metrics import Metrics
from worker.status import Status
from worker.store import Store

ATTEMPTS = 3
SETTINGS = {
    "enabled", "gateway", "sender", "timezone", "country_code", "messages", "period_seconds", "burst", "jitter_seconds",
    "daily_limit", "at_daily_limit", "warm_up_from", "warm_up_days", "warm_up_limit", "window_start", "window_end",
    "recipient_interval_seconds",
}  # fmt: skip
DEFAULTS: Row = {
    "enabled": True,
    "burst": 1,
    "jitter_seconds": 0,
    "at_daily_limit": "defer",
}  # the columns that are not null


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Store]:
    api = await Api.connect(settings, Clock(), Metrics(), ATTEMPTS)
    try:
        yield Store(api)
    finally:
        await api.aclose()


async def status(settings: Settings, as_json: bool) -> None:
    """Prints the table, or JSON. Raises WorkerError."""
    async with connected(settings) as store:
        report = Status(await store.get_status(settings.handover_seconds), store.clock.skew)
    if as_json:
        print(report.as_json())  # noqa: T201
    else:
        report.print(Console())


async def resolve(settings: Settings, message_id: str, outcome: str) -> None:
    """Prints what was known of the attempt. Raises WorkerError when there is nothing to settle."""
    try:
        uuid.UUID(message_id)
    except ValueError:
        raise WorkerError(f"{message_id!r} is not the id of a row of scheduled_messages") from None
    async with connected(settings) as store:
        known = await store.resolve(message_id, outcome)
    if known is None:
        raise WorkerError(f"{message_id} is neither unconfirmed nor handed over; `status` lists what is unconfirmed")
    Console().print(
        f"{message_id} on connection {known['connection_id']}: attempt {known['attempts']} through {known['gateway']} "
        f"began at {known['send_at']}; {known['error'] or 'no word of it since'}\n"
        f"→ {'pending again, with a new job' if outcome == 'resend' else outcome}",
        highlight=False,
    )


async def connection(settings: Settings, connection_id: str, changes: list[str]) -> None:
    """Changes, if any, then shows. Raises WorkerError for an unknown name or a value that the table refuses."""
    values = parse_changes(changes)
    async with connected(settings) as store:
        row = await store.get_connection_settings(connection_id)
        if values:
            await store.put_connection_settings({**(row or {}), "connection_id": connection_id, **values})
            row = await store.get_connection_settings(connection_id)
    if row is None:
        print(f"{connection_id} has no settings: it is not paced and goes through GATEWAY={settings.gateway}")  # noqa: T201
    else:
        print(json.dumps(row, indent=2))  # noqa: T201


def parse_changes(changes: list[str]) -> Row:
    """NAME=VALUE pairs; an empty value is the default."""
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or name not in SETTINGS:
            raise WorkerError(f"{change!r}: write NAME=VALUE with a NAME of {', '.join(sorted(SETTINGS))}")
        values[name] = value or DEFAULTS.get(name)
    return values


async def doctor(settings: Settings) -> None:
    """Prints every finding. Raises WorkerError when any is a failure."""
    failures = 0
    async with connected(settings) as store:
        async for finding in examination.examine(settings, store):
            print(finding, flush=True)  # noqa: T201
            failures += finding.level == "failure"
    if failures:
        raise WorkerError(f"{failures} check(s) failed")
