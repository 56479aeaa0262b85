"""Looks after connections that their gateway stopped: asks for their state at growing intervals, and tells it."""

import asyncio
import math
from datetime import datetime
from functools import partial

import structlog

from worker.errors import ConfigError, WorkerError
from worker.gateway import Gateway, Gateways, sender_of
from worker.kinds import kind_of
from worker.models import Health
from worker.store.answers import Agenda, Connection
from worker.store.store import Store
from worker.waiting import Alarm, Patience
from worker.watch.vitals import Vitals

log = structlog.get_logger()

FIRST_SECONDS, LONGEST_WAIT = 2.0, 60.0  # after a stop; after a call that failed
MARGIN_SECONDS = 0.1
SEATS = 100  # checks at a time
LONGEST_CHECK = 10.0  # seconds; a session that hangs must not keep its seat from others


class Probe:
    """The intervals are the database's, which lets one daemon at a time look; ours only say when to ask it.

    claims: is told when a connection may be back.
    """

    def __init__(self, store: Store, gateways: Gateways, claims: Alarm, vitals: Vitals) -> None:
        self.store, self.gateways, self.claims, self.vitals = store, gateways, claims, vitals
        self._alarm = Alarm(partial(vitals.beat, "probe"), first=math.inf)
        self._patience = Patience("connections could not be probed", LONGEST_WAIT)
        self._looking: set[asyncio.Task[None]] = set()
        self._asking: dict[tuple[str, str], asyncio.Task[Health]] = {}  # one question for all connections of a sender
        self._found: dict[str, bool] = {}  # by connection: not yet told
        self._telling = asyncio.Lock()

    def plan(self, agenda: Agenda) -> None:
        """Takes note of the next probe, which may be another daemon's."""
        if agenda.next_probe_at:
            self._come_back(agenda.next_probe_at)
        else:
            self.vitals.gateway = Health(True)  # nothing is paused: another daemon may have found it well

    def stopped(self) -> None:
        """A gateway has just stopped a connection."""
        self._alarm.within(FIRST_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        try:
            while await self._alarm.rings(stop):
                self._alarm.within(await self._patience.attempt(self._take()))
        finally:
            for task in self._looking:
                task.cancel()

    async def probe(self) -> None:
        """One round over the paused connections whose turn it is, to its end."""
        await self._take()
        await asyncio.gather(*self._looking)

    async def _take(self) -> None:
        if len(self._looking) >= SEATS:
            await asyncio.wait(self._looking, return_when=asyncio.FIRST_COMPLETED)
        found, next_at = await self.store.take_probes(SEATS - len(self._looking))
        for paused in found:
            task = asyncio.create_task(self._look_at(paused))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        self._come_back(next_at)

    async def _look_at(self, paused: Connection) -> None:
        self._found[paused.connection_id] = await self._is_well(paused)
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
        self._come_back(next_at)
        if well:
            self.claims.wake()

    async def _is_well(self, paused: Connection) -> bool:
        health = await self._health(paused)
        is_default = not paused.sender and not paused.gateway
        if gateway_is_everybodys := is_default and kind_of(self.gateways.default.name).own_number:
            self.vitals.gateway = health
        if not health.ok:
            log.warning(
                "a connection is still stopped",
                connection=paused.connection_id,
                reason=health.detail,
                shared=gateway_is_everybodys,
            )
        return health.ok

    async def _health(self, paused: Connection) -> Health:
        try:
            gateway = self.gateways.of(paused.gateway or self.gateways.default.name)
        except ConfigError as e:
            return Health(False, str(e))
        asked = (gateway.name, sender_of(gateway.name, paused.sender, paused.connection_id))
        if asked not in self._asking:
            self._asking[asked] = asyncio.create_task(check(gateway, asked[1]))
            self._asking[asked].add_done_callback(lambda _: self._asking.pop(asked))
        return await self._asking[asked]

    def _come_back(self, next_at: datetime | None) -> None:
        if next_at:
            self._alarm.within(max(0.0, self.store.clock.until(next_at)) + MARGIN_SECONDS)


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
