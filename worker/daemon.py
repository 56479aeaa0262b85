"""Puts the parts together and runs them until it is told to stop."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import schedule
import structlog

from worker import __version__
from worker.clock import Clock
from worker.config import Settings
from worker.dispatcher import Dispatcher, wait_for
from worker.errors import ConfigError
from worker.gateway import Gateway, build
from worker.metrics import Metrics
from worker.rescue import Rescue
from worker.scheduler import Scheduler
from worker.store import Store

log = structlog.get_logger()


@dataclass
class Parts:
    """One daemon's components."""

    store: Store
    gateway: Gateway
    dispatcher: Dispatcher
    scheduler: Scheduler
    rescue: Rescue


@contextlib.asynccontextmanager
async def assembled(settings: Settings, attempts: int | None = None) -> AsyncIterator[Parts]:
    """Builds the parts; closes what they opened. `attempts`: see Store. Raises ConfigError."""
    metrics = Metrics()
    gateway = build(settings)
    if gateway.timeout >= settings.lease_seconds:
        raise ConfigError(f"LEASE_SECONDS must be longer than the gateway's time-out of {gateway.timeout:g} s")
    store = await Store.connect(settings, Clock(), metrics, attempts)
    try:
        dispatcher = Dispatcher(store, gateway, settings, metrics)
        scheduler = Scheduler(store, dispatcher, settings, metrics)
        rescue = Rescue(store, dispatcher, settings, metrics)
        scheduler.on_agenda = rescue.plan
        yield Parts(store, gateway, dispatcher, scheduler, rescue)
    finally:
        await gateway.aclose()
        await store.aclose()


async def once(settings: Settings) -> None:
    """One pass: everything due now is scheduled and sent; what is paced or deferred is left. Raises WorkerError."""
    async with assembled(settings, attempts=5) as parts:
        await parts.rescue.rescue()
        await parts.scheduler.poll()
        await parts.dispatcher.send_all()


async def run(settings: Settings) -> None:
    """The daemon, until SIGTERM or SIGINT; a second signal ends it at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, _on_signal, stop)
    async with assembled(settings) as parts:
        log.info("started", version=__version__, gateway=parts.gateway.name, concurrency=settings.concurrency)
        if parts.gateway.name == "mock":
            log.warning("GATEWAY=mock: no message leaves this machine, and rows are marked as sent")
        async with asyncio.TaskGroup() as group:
            for part in (parts.scheduler, parts.dispatcher, parts.rescue):
                group.create_task(_until_stopped(part, stop))
            group.create_task(_tick(parts.scheduler, settings.poll_interval_seconds, stop))
    log.info("stopped")


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        os._exit(1)
    log.info("stopping")
    stop.set()


async def _until_stopped(part: Scheduler | Dispatcher | Rescue, stop: asyncio.Event) -> None:
    """Runs a part; its await is abandoned when `stop` comes, but for the dispatcher, which drains."""
    if isinstance(part, Dispatcher):
        await part.run(stop)
        return
    work, stopped = asyncio.create_task(part.run(stop)), asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, stopped):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work


async def _tick(scheduler: Scheduler, seconds: float, stop: asyncio.Event) -> None:
    """The interval. `schedule` keeps wall time, so it is asked once a second and only sets the wake."""
    jobs = schedule.Scheduler()
    jobs.every(seconds).seconds.do(scheduler.wake, "interval")
    while not stop.is_set():
        jobs.run_pending()
        await wait_for(stop, min(1.0, max(0.05, jobs.idle_seconds or 1.0)))
