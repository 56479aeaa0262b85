"""Takes forward whatever writes messages of its own accord, and is in nobody's way who sends."""

import asyncio

import structlog

from worker.config import Settings
from worker.errors import StoreMisconfigured
from worker.sources.appointments import AppointmentSource
from worker.sources.campaigns import CampaignSource
from worker.sources.rehearsals import RehearsalSource
from worker.waiting import Alarm, Patience
from worker.watch.vitals import Vitals

log = structlog.get_logger()

ABSENT_SECONDS = 60.0  # until a database that has the core alone is looked at again


class Sources:
    """One loop for all of them; any number of daemons may run it."""

    def __init__(
        self,
        campaigns: CampaignSource,
        rehearsals: RehearsalSource,
        appointments: AppointmentSource,
        settings: Settings,
        vitals: Vitals,
    ) -> None:
        self.campaigns, self.rehearsals, self.appointments = campaigns, rehearsals, appointments
        self.alarm = Alarm(lambda: vitals.beat("sources"))
        self._patience = Patience("campaigns cannot be taken forward", settings.poll_interval_seconds)
        self._said_absent = False

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Supabase refuses is logged, and tried again."""
        while await self.alarm.rings(stop):
            self.alarm.within(await self._patience.attempt(self._advance()))

    async def move(self) -> bool:
        """One pass. Whether anything moved, so that another one may move more."""
        try:
            return await self.campaigns.advance() == 0.0
        except StoreMisconfigured:
            return False

    async def _advance(self) -> None:
        try:
            self.alarm.within(await self.campaigns.advance())
            self.alarm.within(await self.rehearsals.advance())
            self.alarm.within(await self.appointments.advance())
            self._said_absent = False
        except StoreMisconfigured as e:
            if not self._said_absent:
                log.info("campaigns are left alone", reason=str(e))
            self._said_absent = True
            self.alarm.within(ABSENT_SECONDS)
