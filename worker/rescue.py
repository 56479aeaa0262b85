"""Puts right what a dead daemon left behind, as soon as its lease has ended."""

import asyncio
import time

import structlog

from worker.config import Settings
from worker.dispatcher import Dispatcher, wait_for
from worker.errors import WorkerError
from worker.metrics import Metrics
from worker.store import Agenda, Store
from worker.vitals import Vitals

log = structlog.get_logger()

MARGIN_SECONDS = 0.05


class Rescue:
    """Sleeps until the agenda's next expiry; where leases are shorter than polls, looks once a lease."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, settings: Settings, metrics: Metrics, vitals: Vitals
    ) -> None:
        self.store, self.dispatcher, self.metrics, self.vitals = store, dispatcher, metrics, vitals
        self._changed = asyncio.Event()
        self._longest = settings.lease_seconds if settings.lease_seconds < settings.poll_interval_seconds else 3600.0
        self._due_at = time.monotonic() + self._longest

    def plan(self, agenda: Agenda) -> None:
        """Takes note of the next instant at which a lease or a job's usefulness ends."""
        if agenda.next_expiry_at:
            self._due_at = time.monotonic() + max(0.0, self.store.clock.until(agenda.next_expiry_at)) + MARGIN_SECONDS
            self._changed.set()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._changed.clear()
            self.vitals.beat("rescue", within=2 * self._longest + 120)
            if (wait := self._due_at - time.monotonic()) > 0:
                await wait_for(self._changed, wait)
                continue
            self._due_at = time.monotonic() + self._longest
            try:
                await self.rescue()
            except WorkerError as e:
                log.error("a rescue failed", reason=str(e))

    async def rescue(self) -> None:
        """One pass."""
        counts = await self.store.rescue()
        if counts["rescued"]:
            self.metrics.rescued.inc(counts["rescued"])
            log.warning("leases ended while messages were being sent; they are unconfirmed", count=counts["rescued"])
        if counts["expired"]:
            self.metrics.failed.inc(counts["expired"])
            log.warning("messages waited until it was too late to send them", count=counts["expired"])
        if counts["readded"]:
            log.info("handed over again", count=counts["readded"])
            self.dispatcher.wake()
