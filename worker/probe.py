"""Looks after connections that their gateway stopped: asks for their state at growing intervals, and resumes them."""

import asyncio
import time

import structlog

from worker.calls import Agenda, Row
from worker.dispatcher import Dispatcher
from worker.errors import ConfigError, WorkerError
from worker.gateway.routing import Gateways, sender_of
from worker.models import Health
from worker.store import Store
from worker.times import parse_time
from worker.vitals import Vitals
from worker.waiting import wait_for

log = structlog.get_logger()

FIRST_SECONDS, IDLE_SECONDS = 10.0, 300.0
MARGIN_SECONDS = 0.1


class Probe:
    """The intervals are the database's, which lets one daemon at a time look; ours only say when to ask it."""

    def __init__(self, store: Store, gateways: Gateways, dispatcher: Dispatcher, vitals: Vitals) -> None:
        self.store, self.gateways, self.dispatcher, self.vitals = store, gateways, dispatcher, vitals
        self._changed = asyncio.Event()
        self._due_at = float("inf")

    def plan(self, agenda: Agenda) -> None:
        """Takes note of the next probe, which may be another daemon's."""
        if agenda.next_probe_at:
            self._come_back(self.store.clock.until(agenda.next_probe_at))
        else:
            self.vitals.gateway = Health(True)  # nothing is paused: another daemon may have found it well

    def stopped(self) -> None:
        """The dispatcher has just stopped a connection."""
        self._come_back(FIRST_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._changed.clear()
            if (wait := self._due_at - time.monotonic()) > 0:
                self.vitals.beat("probe", within=2 * IDLE_SECONDS)
                await wait_for(self._changed, min(wait, IDLE_SECONDS))
                continue
            self._due_at = float("inf")
            try:
                await self.probe()
            except WorkerError as e:
                log.error("connections could not be probed", reason=str(e))
                self._come_back(60)

    async def probe(self) -> None:
        """One round over the paused connections whose turn it is."""
        rows = await self.store.take_probes()
        healthy = await asyncio.gather(*(self._is_back(row) for row in rows))
        for row, is_back in zip(rows, healthy, strict=True):
            # What was down for all of them, such as Redis, is back for all of them.
            self._come_back(0 if is_back else self.store.clock.until(parse_time(row["probe_at"])))

    async def _is_back(self, row: Row) -> bool:
        try:
            gateway = self.gateways.of(row["gateway"] or self.gateways.default.name)
            health = await gateway.check(sender_of(gateway.name, row["sender"], row["connection_id"]))
        except ConfigError as e:
            health = Health(False, str(e))
        if gateway_is_everybodys := not row["sender"] and not row["gateway"] and self.gateways.default.name == "cloud":
            self.vitals.gateway = health
        if not health.ok:
            log.warning(
                "a connection is still stopped",
                connection=row["connection_id"],
                reason=health.detail,
                shared=gateway_is_everybodys,
            )
            return False
        await self.store.resume(row["connection_id"])
        log.info("a connection is back", connection=row["connection_id"])
        self.dispatcher.wake()
        return True

    def _come_back(self, seconds: float) -> None:
        self._due_at = min(self._due_at, time.monotonic() + max(0.0, seconds) + MARGIN_SECONDS)
        self._changed.set()
