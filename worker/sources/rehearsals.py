"""Works out what campaigns would send, a portion at a time, so that nobody else's messages notice."""

import structlog

from worker.config import Settings
from worker.errors import StoreRefused
from worker.sources.campaigns import why_never
from worker.sources.numbers import Numbers
from worker.store.rehearsals import Rehearsals

log = structlog.get_logger()

PORTION = 1000  # recipients in one transaction
REST_SECONDS = 0.1  # from one portion to the next
LOOK_SECONDS = 5.0  # until a rehearsal that somebody asks for is seen


class RehearsalSource:
    """One portion a turn, of the owner who waited longest."""

    def __init__(self, rehearsals: Rehearsals, numbers: Numbers, settings: Settings) -> None:
        self.rehearsals, self.numbers, self._settings = rehearsals, numbers, settings

    async def advance(self) -> float:
        """One turn. Returns the seconds until the next one is wanted."""
        turn = await self.rehearsals.take()
        if turn.campaign_id:
            await self._take_forward_or_stop(turn.campaign_id, why_never(turn.attachment, self._settings))
        return REST_SECONDS if turn.is_waiting else LOOK_SECONDS

    async def _take_forward_or_stop(self, campaign_id: str, fault: str | None) -> None:
        try:
            await self._take_forward(campaign_id, fault)
        except StoreRefused as e:
            log.error("a rehearsal cannot go on", campaign=campaign_id, reason=str(e))
            await self.rehearsals.stop(campaign_id, f"It could not be worked out: the database refused it ({e}).")

    async def _take_forward(self, campaign_id: str, fault: str | None) -> None:
        gateway = self._settings.gateway
        portion = await self.rehearsals.advance(campaign_id, self.numbers.rules, gateway, fault, PORTION)
        if portion and portion.to_judge:
            await self.numbers.judge(portion.country_code, portion.to_judge)
