"""Puts right what a dead daemon left behind, as soon as its lease has ended."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from worker.config import Settings
from worker.errors import ConfigError, WorkerError
from worker.gateway import Gateways, Queue
from worker.models import HandedOver, Rejected
from worker.sending.sender import to_message
from worker.store.calls import Agenda, Row, instant_or_none
from worker.store.store import Store
from worker.waiting import Patience, wait_for
from worker.watch.log import say_refused
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

MARGIN_SECONDS = 0.05


class Rescue:
    """Sleeps until the next expiry that it knows of; where leases are shorter than polls, looks once a lease."""

    def __init__(self, store: Store, gateways: Gateways, settings: Settings, metrics: Metrics, vitals: Vitals) -> None:
        self.store, self.gateways, self.settings, self.metrics, self.vitals = store, gateways, settings, metrics, vitals
        self._changed = asyncio.Event()
        self._patience = Patience(settings.poll_interval_seconds)
        # A lease made after the last poll ends after the next one, which tells of it, or within one lease.
        self._longest = settings.lease_seconds if settings.lease_seconds < settings.poll_interval_seconds else 3600.0
        self._due_at = time.monotonic() + self._longest
        self.on_rescued: Callable[[], object] = lambda: None

    def plan(self, agenda: Agenda) -> None:
        """Takes note of the next instant at which a lease or a job's usefulness ends."""
        self.metrics.stale_hand_overs.set(agenda.stale_hand_overs)
        self._expect(agenda.next_expiry_at)
        self._changed.set()

    def _expect(self, expiry: datetime | None) -> None:
        known = max(0.0, self.store.clock.until(expiry)) + MARGIN_SECONDS if expiry else self._longest
        self._due_at = time.monotonic() + min(known, self._longest)

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
                self._patience.worked()
            except WorkerError as e:
                wait, is_news = self._patience.failed(str(e))
                if is_news:
                    log.error("a rescue failed", reason=str(e))
                self._due_at = time.monotonic() + wait

    async def rescue(self) -> None:
        """One pass."""
        found = await self.store.rescue(self.settings.handover_seconds)
        if found["rescued"]:
            self.metrics.rescued.inc(found["rescued"])
            log.warning("leases ended while messages were being sent; they are unconfirmed", count=found["rescued"])
            self.on_rescued()  # who died in the middle of sending has hardly left nothing else
        if found["expired"]:
            self.metrics.failed.inc(found["expired"])
            log.warning("messages waited until it was too late to send them", count=found["expired"])
        self.metrics.refused.inc(len(found["refused"] or []))
        say_refused("a rescue", found["refused"] or [])
        self._expect(instant_or_none(found["next_expiry_at"]))
        await self._hand_over_again(found["hand_overs"] or [])
        await self._withdraw(await self.store.take_withdrawn())

    async def _withdraw(self, jobs: list[Row]) -> None:
        """Out of the Node worker's queue with what is over. What stays there the database does not let begin."""
        for name in {job["gateway"] for job in jobs}:
            ids = [job["id"] for job in jobs if job["gateway"] == name]
            with contextlib.suppress(ConfigError):
                if isinstance(gateway := self.gateways.of(name), Queue):
                    gone = await gateway.withdraw(ids)
                    log.info("taken out of the broadcast worker's queue", count=gone, of=len(ids))

    async def _hand_over_again(self, rows: list[Row]) -> None:
        """Nothing is written down of it: what is not in Redis now comes round again."""
        added = 0
        for row in rows:
            try:
                outcome = await self.gateways.of(row["gateway"]).send(to_message(row, self.settings))
            except WorkerError as e:
                outcome = Rejected(str(e))
            if isinstance(outcome, HandedOver):
                added += 1
                continue
            log.warning("a job cannot be handed over again", job=row["id"], reason=getattr(outcome, "reason", ""))
            if not isinstance(outcome, Rejected):
                break  # Redis does not answer, and will not for the next
        if added:
            log.info("handed over again", count=added)
