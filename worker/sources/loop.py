"""Takes forward whatever writes messages of its own accord, and is in nobody's way who sends."""

import asyncio
from typing import Protocol

import structlog

from worker.config import Settings
from worker.errors import LACKING, Shortage, StoreMisconfigured
from worker.sources.appointments import AppointmentSource
from worker.sources.campaigns import CampaignSource
from worker.sources.rehearsals import RehearsalSource
from worker.waiting import Alarm, Patience
from worker.watch.vitals import Vitals

log = structlog.get_logger()

ABSENT_SECONDS = 60.0  # until a database that has the core alone is looked at again


class Source(Protocol):
    async def advance(self) -> float:
        """One pass. Returns the seconds until the next one is wanted."""


class Loop:
    """One source's, so that what one of them meets keeps no other from going on. Any number of daemons may run it."""

    def __init__(self, name: str, source: Source, settings: Settings, vitals: Vitals) -> None:
        self._name, self._source = name, source
        self._alarm = Alarm(lambda: vitals.beat(name))
        self._patience = Patience(f"{name} cannot be taken forward", settings.poll_interval_seconds)
        self._said_absent = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Supabase refuses, or this machine lacks, is logged, and tried again."""
        while await self._alarm.rings(stop):
            self._alarm.within(await self._patience.attempt(self._advance()))

    async def _advance(self) -> None:
        try:
            self._alarm.within(await self._source.advance())
            self._said_absent = False
        except StoreMisconfigured as e:
            if not self._said_absent:
                log.info(f"{self._name} are left alone", reason=str(e))
            self._said_absent = True
            self._alarm.within(ABSENT_SECONDS)
        except LACKING as e:
            raise Shortage(f"this machine lacks what it takes: {e}") from e


class Sources:
    """All of them."""

    def __init__(
        self,
        campaigns: CampaignSource,
        rehearsals: RehearsalSource,
        appointments: AppointmentSource,
        settings: Settings,
        vitals: Vitals,
    ) -> None:
        self.campaigns, self.rehearsals, self.appointments = campaigns, rehearsals, appointments
        named: dict[str, Source] = {"campaigns": campaigns, "rehearsals": rehearsals, "appointments": appointments}
        self._loops = [Loop(name, source, settings, vitals) for name, source in named.items()]

    async def run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            for loop in self._loops:
                group.create_task(loop.run(stop))

    async def move(self) -> bool:
        """One pass. Whether anything moved, so that another one may move more."""
        try:
            return await self.campaigns.advance() == 0.0
        except StoreMisconfigured:
            return False
