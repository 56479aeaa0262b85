"""Puts the parts together and runs them until it is told to stop."""

import asyncio
import contextlib
import math
import os
import platform
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import schedule
import structlog

from worker import __version__
from worker.config import Settings
from worker.gateway import Gateways, read_by
from worker.http.webhook import Inbox, Update
from worker.kinds import kind_of
from worker.models import StatusUpdate, TemplateStatus
from worker.operating.status import Status
from worker.recurrence.times import ZONE_DATA
from worker.sending.dispatcher import Dispatcher
from worker.sending.lookout import Lookout
from worker.sending.probe import Probe
from worker.sending.rescue import Rescue
from worker.sending.scheduler import Scheduler
from worker.sending.sender import Sender
from worker.sending.wake import Wake
from worker.sources.appointments import AppointmentSource
from worker.sources.approvals import ApprovalSource
from worker.sources.campaigns import CampaignSource
from worker.sources.exports import Exports
from worker.sources.loop import Sources
from worker.sources.numbers import Numbers
from worker.sources.overview import overview
from worker.sources.rehearsals import RehearsalSource
from worker.sources.tallies import Tallies
from worker.store.api import Api
from worker.store.appointments import Appointments
from worker.store.approvals import Approvals
from worker.store.audit import Audit
from worker.store.campaigns import Campaigns
from worker.store.clock import Clock
from worker.store.redirect import refuse_redirect
from worker.store.rehearsals import Rehearsals
from worker.store.store import Store
from worker.waiting import Alarm, wait_for
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals
from worker.watch.watchdog import Watchdog

if TYPE_CHECKING:
    from worker.http.server import HttpServer

log = structlog.get_logger()

MOST_DESCRIPTORS = 65_536  # of one process
# All of them drain: a terminal that is closed sends HUP, a habit from other daemons QUIT.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HARMLESS_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)  # whose default is to kill


@dataclass(frozen=True, slots=True)
class Parts:
    """One daemon's components."""

    store: Store
    gateways: Gateways
    dispatcher: Dispatcher
    scheduler: Scheduler
    rescue: Rescue
    probe: Probe
    lookout: Lookout
    sources: Sources
    approvals: ApprovalSource
    exports: Exports | None
    metrics: Metrics
    vitals: Vitals


@contextlib.asynccontextmanager
async def assembled(settings: Settings, attempts: int | None = None) -> AsyncIterator[Parts]:
    """Builds the parts; closes what they opened. `attempts`: see Api. Raises ConfigError."""
    metrics, vitals = Metrics(), Vitals(settings.poll_interval_seconds)
    gateways = Gateways(settings)
    api = await Api.connect(settings, Clock(), metrics, attempts, vitals.waiting, vitals.troubled)
    store = Store(api)
    listed = read_by(settings)
    try:
        claims = Alarm(partial(vitals.beat, "dispatcher"))
        probe = Probe(store, gateways, claims, vitals)
        sender = Sender(gateways, store.clock, settings, on_stopped=probe.stopped)
        rescue = Rescue(store, gateways, settings, metrics, vitals, claims)
        dispatcher = Dispatcher(store, sender, settings, metrics, vitals, claims, rescue.again)
        lookout = Lookout(store, vitals)
        listeners = [dispatcher.plan, rescue.plan, probe.plan, lookout.plan]
        scheduler = Scheduler(store, dispatcher, settings, metrics, vitals, listeners)
        sources = _sources(api, settings, vitals, metrics, partial(scheduler.wake, "source"))
        approvals = ApprovalSource(Approvals(api), listed, settings, vitals)
        exports = (
            Exports(Audit(api), Path(settings.export_dir), settings.default_country_code, vitals)
            if settings.export_dir
            else None
        )
        yield Parts(
            store, gateways, dispatcher, scheduler, rescue, probe, lookout, sources, approvals, exports, metrics, vitals
        )  # fmt: skip
    finally:
        await gateways.aclose()
        if listed:
            await listed.aclose()
        await api.aclose()


def _sources(api: Api, settings: Settings, vitals: Vitals, metrics: Metrics, on_made: Callable[[], None]) -> Sources:
    campaigns = Campaigns(api)
    numbers = Numbers(campaigns, settings)
    source = CampaignSource(campaigns, numbers, settings, Tallies(metrics.registry), on_made)
    rehearsals = RehearsalSource(Rehearsals(api), numbers, settings)
    appointments = AppointmentSource(Appointments(api), numbers)
    return Sources(source, rehearsals, appointments, settings, vitals)


async def once(settings: Settings) -> None:
    """One pass: everything due now is scheduled and sent; what is paced or deferred is left. Raises WorkerError."""
    await refuse_redirect(settings)
    async with assembled(settings, attempts=5) as parts:
        await parts.rescue.rescue()
        moved = True
        while moved:
            moved = await parts.sources.move()
            await parts.scheduler.poll()
            await parts.dispatcher.send_all()


async def run(settings: Settings) -> None:
    """The daemon, until SIGTERM or its like; a second signal ends it at once."""
    stop = asyncio.Event()
    _heed_signals(stop)
    _take_descriptors()
    await refuse_redirect(settings)
    async with assembled(settings) as parts:
        inbox = Inbox(partial(_hear, parts))
        # Not in the group, which would wrap its ConfigError.
        http = _listen(parts, settings, inbox) if settings.http_port else None
        log.info(
            "started",
            version=__version__,
            gateway=parts.gateways.default.name,
            zones=str(ZONE_DATA),
            concurrency=settings.concurrency,
        )
        if kind_of(name := parts.gateways.default.name).sends_nothing:
            log.warning(f"GATEWAY={name}: no message leaves this machine, and rows are marked as sent")
        watchdog = Watchdog(parts.vitals)
        watchdog.start()
        async with asyncio.TaskGroup() as group:
            for work in _loops(parts, settings, stop):
                group.create_task(run_until(stop, work))
            group.create_task(inbox.run(stop))
            await parts.dispatcher.run(stop)  # claims no more after `stop`, and drains
            if http:
                http.stop()
        watchdog.stop()
    log.info("stopped")


def _loops(parts: Parts, settings: Settings, stop: asyncio.Event) -> Iterator[Coroutine[Any, Any, None]]:
    """Everything that runs beside the dispatcher and may be left where it stands."""
    yield parts.scheduler.run(stop)
    yield parts.rescue.run(stop)
    yield parts.probe.run(stop)
    yield parts.lookout.run(stop)
    yield parts.sources.run(stop)
    yield parts.approvals.run(stop)
    if parts.exports:
        yield parts.exports.run(stop)
    yield tick(parts, settings.poll_interval_seconds, stop)
    if settings.realtime == "auto":
        yield _wake(parts, settings).run(stop)


async def _hear(parts: Parts, updates: list[Update]) -> None:
    """What webhooks tell. Receipts first: they must not wait for what is nobody's message."""
    if deliveries := [one for one in updates if isinstance(one, StatusUpdate)]:
        await parts.store.record_deliveries(deliveries)
    if told := [one for one in updates if isinstance(one, TemplateStatus)]:
        await parts.approvals.hear(told)


def _listen(parts: Parts, settings: Settings, inbox: Inbox) -> "HttpServer":
    """Starts what HTTP_PORT answers: the webhook where its secrets are set. Raises ConfigError."""
    # A daemon without them need not load a web server.
    from worker.http.access import Access, Users, asking, is_loopback
    from worker.http.operators import Figures, OperatorsPage
    from worker.http.pages import Pages, Webhook
    from worker.http.server import HttpServer

    webhook = None
    if settings.whatsapp_app_secret and settings.whatsapp_verify_token:
        webhook = Webhook(settings.whatsapp_app_secret, settings.whatsapp_verify_token, inbox)
    guarded = bool(settings.whatsapp_app_secret or settings.whatsapp_verify_token)
    access = Access(
        settings.http_token,
        guarded=guarded or not is_loopback(settings.http_host),
        users=Users(asking(settings.supabase_url, settings.supabase_service_role_key)),
    )
    operators = OperatorsPage(
        parts.vitals, parts.metrics, access, Figures(_asking_for_status(settings, parts.metrics)), _facts(settings)
    )
    pages = Pages(parts.vitals, parts.metrics, webhook, access, settings.http_origins.split(), operators)
    port = settings.http_port + settings.process_number  # each of several daemons of one supervisord has its own
    server = HttpServer(pages.app(), settings.http_host, port)
    server.start()
    return server


def _asking_for_status(settings: Settings, metrics: Metrics) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Asks by a way of its own, made at the first look: each question once, and not on the loop that does the work."""
    api: Api | None = None

    async def ask() -> dict[str, Any]:
        nonlocal api
        api = api or await Api.connect(settings, Clock(), metrics, attempts=1)
        found, runs = await overview(Store(api), Campaigns(api), settings.handover_seconds)
        return Status(found, api.clock.skew, runs).as_facts()

    return ask


def _facts(settings: Settings) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "zones": str(ZONE_DATA),
        "gateway": settings.gateway,
        "host": platform.node(),
        "process": settings.process_number,
    }


def _wake(parts: Parts, settings: Settings) -> Wake:
    return Wake(
        settings.supabase_url,
        settings.supabase_service_role_key,
        on_change=parts.scheduler.on_change,
        on_ready=partial(parts.scheduler.wake, "realtime"),
        on_state=parts.vitals.heard,
    )


def _take_descriptors() -> None:
    """As many as we may have: each message on its way has one, and usual limits are from a time of fewer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most if 0 < most < MOST_DESCRIPTORS else MOST_DESCRIPTORS, most))


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for sig in STOP_SIGNALS:
        loop.add_signal_handler(sig, _on_signal, stop)
    for sig in HARMLESS_SIGNALS:
        loop.add_signal_handler(sig, log.info, f"{sig.name} means nothing to this daemon; SIGTERM stops it")


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)
    log.info("stopping")
    stop.set()


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work`, whose await is abandoned when `stop` comes. What it raises ends the daemon."""
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def tick(parts: Parts, seconds: float, stop: asyncio.Event) -> None:
    """The interval. `schedule` goes by the wall clock, so it is asked every second at least and only sets the wake."""
    jobs = schedule.Scheduler()
    jobs.every(math.ceil(seconds)).seconds.do(parts.scheduler.wake, "interval")
    while not stop.is_set():
        jobs.run_pending()
        parts.vitals.beat("ticker")
        await wait_for(stop, min(max(0.01, jobs.idle_seconds or 0.0), 1.0))
