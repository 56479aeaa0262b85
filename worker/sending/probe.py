"""Looks after connections that their gateway stopped: asks for their state at growing intervals, and tells it."""

import asyncio
import time

import structlog

from worker.errors import ConfigError, WorkerError
from worker.gateway import Gateway, Gateways, sender_of
from worker.kinds import kind_of
from worker.models import Health
from worker.sending.dispatcher import Dispatcher
from worker.store.calls import Agenda, Row
from worker.store.store import Store
from worker.waiting import wait_for
from worker.watch.vitals import Vitals

log = structlog.get_logger()

FIRST_SECONDS, IDLE_SECONDS = 2.0, 300.0
MARGIN_SECONDS = 0.1
SEATS = 100  # checks at a time
LONGEST_CHECK = 10.0  # seconds; a session that hangs must not keep its seat from others


class Probe:
    """The intervals are the database's, which lets one daemon at a time look; ours only say when to ask it."""

    def __init__(self, store: Store, gateways: Gateways, dispatcher: Dispatcher, vitals: Vitals) -> None:
        self.store, self.gateways, self.dispatcher, self.vitals = store, gateways, dispatcher, vitals
        self._changed = asyncio.Event()
        self._due_at = float("inf")
        self._looking: set[asyncio.Task[None]] = set()
        self._asking: dict[tuple[str, str], asyncio.Task[Health]] = {}  # one question for all connections of a sender
        self._found: dict[str, bool] = {}  # by connection: not yet told
        self._telling = asyncio.Lock()

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
        try:
            while not stop.is_set():
                await self._turn()
        finally:
            for task in self._looking:
                task.cancel()

    async def _turn(self) -> None:
        self._changed.clear()
        wait = self._due_at - time.monotonic()
        if wait > 0 or len(self._looking) >= SEATS:
            self.vitals.beat("probe", within=2 * IDLE_SECONDS)
            await wait_for(self._changed, max(MARGIN_SECONDS, min(wait, IDLE_SECONDS)))
            return
        self._due_at = float("inf")
        try:
            await self._take()
        except WorkerError as e:
            log.error("connections could not be probed", reason=str(e))
            self._come_back(60)

    async def probe(self) -> None:
        """One round over the paused connections whose turn it is."""
        await self._take()
        await asyncio.gather(*self._looking)

    async def _take(self) -> None:
        rows, next_at = await self.store.take_probes(SEATS - len(self._looking))
        for row in rows:
            task = asyncio.create_task(self._look_at(row))
            self._looking.add(task)
            task.add_done_callback(self._looked)
        if next_at:
            self._come_back(self.store.clock.until(next_at))

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self._changed.set()

    async def _look_at(self, row: Row) -> None:
        self._found[row["connection_id"]] = await self._is_well(row)
        async with self._telling:  # what is found meanwhile is told in the next call
            if self._found:
                await self._tell()

    async def _tell(self) -> None:
        found, self._found = self._found, {}
        well = [connection for connection, is_well in found.items() if is_well]
        try:
            back, next_at = await self.store.finish_probes(well, [one for one in found if not found[one]])
        except WorkerError as e:
            log.error("what the probes found could not be written down", reason=str(e))
            return
        for connection in back:
            log.info("a connection is back", connection=connection)
        if next_at:
            self._come_back(self.store.clock.until(next_at))
        if well:
            self.dispatcher.wake()

    async def _is_well(self, row: Row) -> bool:
        health = await self._health(row)
        is_default = not row["sender"] and not row["gateway"]
        if gateway_is_everybodys := is_default and kind_of(self.gateways.default.name).own_number:
            self.vitals.gateway = health
        if not health.ok:
            log.warning(
                "a connection is still stopped",
                connection=row["connection_id"],
                reason=health.detail,
                shared=gateway_is_everybodys,
            )
        return health.ok

    async def _health(self, row: Row) -> Health:
        try:
            gateway = self.gateways.of(row["gateway"] or self.gateways.default.name)
        except ConfigError as e:
            return Health(False, str(e))
        asked = (gateway.name, sender_of(gateway.name, row["sender"], row["connection_id"]))
        if asked not in self._asking:
            self._asking[asked] = asyncio.create_task(check(gateway, asked[1]))
            self._asking[asked].add_done_callback(lambda _: self._asking.pop(asked))
        return await self._asking[asked]

    def _come_back(self, seconds: float) -> None:
        self._due_at = min(self._due_at, time.monotonic() + max(0.0, seconds) + MARGIN_SECONDS)
        self._changed.set()


async def check(gateway: Gateway, sender: str) -> Health:
    """A gateway that does not answer, or fails us, is not well."""
    try:
        async with asyncio.timeout(LONGEST_CHECK):
            return await gateway.check(sender)
    except TimeoutError:
        return Health(False, f"it did not answer within {LONGEST_CHECK:g} s")
    except Exception:
        log.exception("a gateway raised instead of answering", gateway=gateway.name)
        return Health(False, "the worker failed while it asked; its log says how")
