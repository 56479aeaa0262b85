"""Puts right what a dead daemon left behind, as soon as its lease has ended."""

import asyncio
import contextlib
from datetime import datetime
from functools import partial

import structlog

from worker.config import Settings
from worker.errors import ConfigError, WorkerError
from worker.gateway import Gateways, Queue
from worker.jobs import HandOver
from worker.models import HandedOver, Rejected
from worker.sending.sender import to_message
from worker.store.answers import Agenda, Withdrawn
from worker.store.refused import say_refused
from worker.store.store import Store
from worker.waiting import Alarm, Patience
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

MARGIN_SECONDS = 0.05


class Rescue:
    """Sleeps until the next expiry that it knows of; where leases are shorter than polls, looks once a lease."""

    def __init__(
        self,
        store: Store,
        gateways: Gateways,
        settings: Settings,
        metrics: Metrics,
        vitals: Vitals,
        claims: Alarm,
    ) -> None:
        """claims: is told when there may be something to claim again."""
        self.store, self.gateways, self.settings, self.metrics, self.claims = store, gateways, settings, metrics, claims
        # A lease made after the last poll ends after the next one, which tells of it, or within one lease.
        self._longest = settings.lease_seconds if settings.lease_seconds < settings.poll_interval_seconds else 3600.0
        self._alarm = Alarm(partial(vitals.beat, "rescue"), first=self._longest, every=self._longest)
        self._again_at: datetime | None = None
        self._patience = Patience("a rescue failed", settings.poll_interval_seconds)

    def plan(self, agenda: Agenda) -> None:
        """Takes note of the next instant at which a lease or a job's usefulness ends."""
        self.metrics.stale_hand_overs.set(agenda.stale_hand_overs)
        self._expect(agenda.next_expiry_at)

    def again(self, at: datetime) -> None:
        """Something was put aside, to be written then. What was read before it knows nothing of it."""
        self._again_at = min(at, self._again_at or at)
        self._alarm.within(self._until(self._again_at))

    def _expect(self, expiry: datetime | None) -> None:
        known = [self._until(at) for at in (expiry, self._again_at) if at]
        self._alarm.reset(min([*known, self._longest]))

    def _until(self, at: datetime) -> float:
        return max(0.0, self.store.clock.until(at)) + MARGIN_SECONDS

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        while await self._alarm.rings(stop):
            self._alarm.within(await self._patience.attempt(self.rescue()))

    async def rescue(self) -> None:
        """One pass."""
        self._again_at = None  # what is put aside from here on is told again
        found = await self.store.rescue(self.settings.handover_seconds)
        if found.rescued:
            self.metrics.rescued.inc(found.rescued)
            log.warning("leases ended while messages were being sent; they are unconfirmed", count=found.rescued)
            self.claims.wake()  # a dead daemon usually leaves waiting jobs too
        if found.expired:
            self.metrics.failed.inc(found.expired)
            log.warning("messages waited until it was too late to send them", count=found.expired)
        self.metrics.refused.inc(len(found.refused))
        say_refused("a rescue", found.refused)
        self._expect(found.next_expiry_at)
        await self._hand_over_again(found.hand_overs)
        await self._withdraw(await self.store.take_withdrawn())

    async def _withdraw(self, jobs: list[Withdrawn]) -> None:
        """Out of the Node worker's queue with what is over. What stays there the database does not let begin."""
        for name in {job.gateway for job in jobs}:
            ids = [job.id for job in jobs if job.gateway == name]
            with contextlib.suppress(ConfigError):
                if isinstance(gateway := self.gateways.of(name), Queue):
                    gone = await gateway.withdraw(ids)
                    log.info("taken out of the broadcast worker's queue", count=gone, of=len(ids))

    async def _hand_over_again(self, orders: list[HandOver]) -> None:
        """Nothing is written down of it: what is not in Redis now comes round again."""
        added = 0
        for order in orders:
            self._alarm.beat()
            try:
                outcome = await self.gateways.of(order.gateway).send(to_message(order, self.settings))
            except WorkerError as e:
                outcome = Rejected(str(e))
            if isinstance(outcome, HandedOver):
                added += 1
                continue
            log.warning("a job cannot be handed over again", job=order.id, reason=getattr(outcome, "reason", ""))
            if not isinstance(outcome, Rejected):
                break  # Redis does not answer, and will not for the next
        if added:
            log.info("handed over again", count=added)
