"""What operators do by hand: look, settle, set up, examine. Answers within seconds or says why not."""

import contextlib
import json
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from rich.console import Console

from worker.config import Settings
from worker.errors import StoreError, StoreRefused, WorkerError
from worker.operating import connection as words
from worker.operating import doctor as examination
from worker.operating.shown import show, when
from worker.operating.status import Status
from worker.sources import exporting
from worker.sources.overview import overview
from worker.store.api import Api, Row
from worker.store.audit import Audit
from worker.store.campaigns import Campaigns
from worker.store.clock import Clock
from worker.store.redirect import refuse_redirect
from worker.store.store import Store
from worker.watch.metrics import Metrics

ATTEMPTS = 3
REMINDERS = "reminders="  # beside the settings, which are columns: rules and texts, made once


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Api]:
    await refuse_redirect(settings)
    api = await Api.connect(settings, Clock(), Metrics(), ATTEMPTS)
    try:
        yield api
    finally:
        await api.aclose()


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Store]:
    async with opened(settings) as api:
        yield Store(api)


async def status(settings: Settings, as_json: bool) -> None:
    """Prints the table, or JSON. Raises WorkerError."""
    async with opened(settings) as api:
        store = Store(api)
        holders = await store.get_holders()
        try:
            found, runs = await overview(store, Campaigns(api), settings.handover_seconds)
        except StoreError as e:
            raise WorkerError("; ".join([str(e), *(holder.words for holder in holders)])) from e
        report = Status(found, store.clock.skew, runs, holders)
    if as_json:
        print(json.dumps(report.as_facts(), indent=2))  # noqa: T201
    else:
        show(report, Console())


async def resolve(settings: Settings, message_id: str, outcome: str) -> None:
    """Prints what was known of the attempt. Raises WorkerError when there is nothing to settle."""
    _refuse_unless_id(message_id, "scheduled_messages")
    async with connected(settings) as store:
        known = await store.resolve(message_id, outcome)
    if known is None:
        raise WorkerError(f"{message_id} is neither unconfirmed nor handed over; `status` lists what is unconfirmed")
    Console().print(
        f"{message_id} on connection {known.connection_id}: attempt {known.attempts} through {known.gateway} "
        f"began at {when(known.send_at, store.clock.now()) if known.send_at else 'no known time'}; "
        f"{known.error or 'no word of it since'}\n"
        f"→ {'pending again, with a new job' if outcome == 'resend' else outcome}",
        highlight=False,
    )


async def resolve_run(settings: Settings, run_id: str, outcome: str) -> None:
    """Settles all of a campaign's run that is unconfirmed. Raises WorkerError when there is nothing to settle."""
    _refuse_unless_id(run_id, "campaign_runs")
    async with opened(settings) as api:
        settled = await Campaigns(api).settle(run_id, outcome)
    if not settled:
        what = "there is no such run of a campaign" if settled is None else "nothing of this run is unconfirmed"
        raise WorkerError(f"{run_id}: {what}; `status` lists the runs under way")
    became = "pending again, with new jobs" if outcome == "resend" else outcome
    print(f"{run_id}: {settled} unconfirmed → {became}")  # noqa: T201


def _refuse_unless_id(text: str, table: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError:
        raise WorkerError(f"{text!r} is not the id of a row of {table}") from None


async def connection(settings: Settings, connection_id: str, changes: list[str], as_json: bool) -> None:
    """Changes, if any, then shows. Raises WorkerError for an unknown name and for what the table refuses."""
    kinds = [change.removeprefix(REMINDERS) for change in changes if change.startswith(REMINDERS)]
    values = words.parse_changes([change for change in changes if not change.startswith(REMINDERS)])
    async with connected(settings) as store:
        row = await store.get_connection_settings(connection_id)  # which outlive their connection
        if row is None and not await store.has_connection(connection_id):
            raise words.unknown(connection_id, [known.connection_id for known in await store.get_connections(20)])
        if values:
            row = await _change(store, connection_id, {**(row or {}), **values})
        for kind in kinds:
            await _set_up_reminders(store, connection_id, kind)
    print(json.dumps(row, indent=2) if as_json else words.described(connection_id, row, settings.gateway))  # noqa: T201


async def _set_up_reminders(store: Store, connection_id: str, kind: str) -> None:
    try:
        rules = await store.set_up_reminders(connection_id, kind)
    except StoreRefused as e:
        raise WorkerError(f"{REMINDERS}{kind}: {e}") from e
    print(f"reminders: {', '.join(rules)}", file=sys.stderr)  # noqa: T201


async def export(settings: Settings, what: str, connection_id: str | None, since: str | None) -> None:
    """Prints CSV: appointments as the files of EXPORT_DIR have them, or messages. Raises WorkerError."""
    moment = since and _moment(since)
    async with opened(settings) as api:
        pages = exporting.appointments if what == "appointments" else exporting.messages
        async for text in pages(Audit(api), settings.default_country_code, connection_id, moment):
            sys.stdout.write(text)


def _moment(since: str) -> str:
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise WorkerError(
            f"--since {since}: write a date or a time such as 2026-12-31 or 2026-12-31T09:00+05:30"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


async def forget(settings: Settings, connection_id: str) -> None:
    """Ends a connection's settings, counters and pauses, and what is known of its id's former owner."""
    async with connected(settings) as store:
        known = await store.forget_connection(connection_id)
    print(f"{connection_id}: {'forgotten; it starts anew' if known else 'nothing is kept of it'}")  # noqa: T201


async def _change(store: Store, connection_id: str, values: Row) -> Row | None:
    try:
        await store.put_connection_settings(connection_id, values)
    except StoreRefused as e:
        raise words.refusal(e, values) from e
    return await store.get_connection_settings(connection_id)


async def doctor(settings: Settings) -> None:
    """Prints every finding. Raises WorkerError when any is a failure."""
    failures = 0
    async with connected(settings) as store:
        async for finding in examination.examine(settings, store):
            print(finding, flush=True)  # noqa: T201
            failures += finding.level == "failure"
    if failures:
        raise WorkerError(f"{failures} check(s) failed")
