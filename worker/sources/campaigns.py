"""Takes campaigns forward: begins their runs, has their numbers judged, keeps their windows full, ends them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import phonenumbers
import structlog

from worker.config import Settings
from worker.errors import BadMessage, BadRecipient, StoreRefused
from worker.planning import plan, recipient
from worker.store.campaigns import Campaigns, Ended, Judged, Run, Start
from worker.text.characters import plain

log = structlog.get_logger()

FROZEN_AT_ONCE = 5000  # recipients in one transaction
LOOK_SECONDS = 5.0  # until a campaign that somebody starts is seen
UNDER_WAY_SECONDS = 0.5  # until a window that has room again is filled up
# What `recipient` makes of a number hangs on the numbering plans, on its own rules and on the default country.
RULES = f"1/{phonenumbers.__version__}"


@dataclass(frozen=True, slots=True)
class Begin:
    """A run's instant and the next one's, None where none follows. `refusal`: why it cannot begin."""

    occurrence: datetime
    next_at: datetime | None = None
    anchor: datetime | None = None
    refusal: str | None = None


class CampaignSource:
    """One pass at a time; what it did not come to is there at the next."""

    def __init__(self, campaigns: Campaigns, settings: Settings) -> None:
        self.campaigns, self.settings = campaigns, settings
        self._rules = f"{RULES}/{settings.default_country_code or ''}"

    async def advance(self) -> float:
        """One pass. Returns the seconds until the next one is wanted."""
        agenda = await self.campaigns.get_agenda()
        moved = [await self._start(start) for start in agenda.starts]
        moved += [await self._take_forward_or_stop(run) for run in agenda.runs]
        if any(moved):
            return 0.0
        return UNDER_WAY_SECONDS if agenda.runs else LOOK_SECONDS

    async def _start(self, start: Start) -> bool:
        """Whether a run began."""
        begin = begins(start, self.settings, self.campaigns.clock.now())
        try:
            run_id = await self.campaigns.start(start, begin.occurrence, begin.next_at, begin.anchor, begin.refusal)
        except StoreRefused as e:
            log.error("a campaign cannot begin", campaign=start.campaign_id, reason=str(e))
            return False
        if run_id:
            log.info(
                "a campaign begins", campaign=start.campaign_id, run=run_id, at=begin.occurrence.isoformat(),
                **({"refused": begin.refusal} if begin.refusal else {}),
            )  # fmt: skip
        return run_id is not None

    async def _take_forward_or_stop(self, run: Run) -> bool:
        """What the database refuses of one run stops that run, and nobody else's."""
        try:
            return await self._take_forward(run)
        except StoreRefused as e:
            log.error("a run cannot go on", run=run.id, reason=str(e))
            await self.campaigns.stop(run.id, f"It stopped by itself: the database refused it ({e}).")
            return True

    async def _take_forward(self, run: Run) -> bool:
        """Whether it moved."""
        if not run.is_frozen:
            return await self._freeze(run)
        made = await self.campaigns.advance(run.id, self.settings.batch_size) if run.unmade else 0
        if not made and not run.pending and (ended := await self.campaigns.finish(run.id)):
            self._say(run, ended)
        return made > 0

    async def _freeze(self, run: Run) -> bool:
        frozen = await self.campaigns.freeze(run.id, self._rules, FROZEN_AT_ONCE)
        if frozen is None:
            return False
        if frozen.to_judge:
            region = frozen.country_code or self.settings.default_country_code
            judged = [judge(raw, region) for raw in frozen.to_judge]
            await self.campaigns.record_judged(frozen.country_code, self._rules, judged)
        return True

    def _say(self, run: Run, ended: Ended) -> None:
        if ended.difference:
            log.error("a run's counts were off; they are right now", run=run.id, by=ended.difference)
        log.info("a run is over", run=run.id, status=ended.status, sent=ended.sent, of=ended.total)


def judge(raw: str, region: str | None) -> Judged:
    """Whom a number leads to, as for a single message."""
    try:
        return Judged(raw, recipient.resolve(plain(raw), region), None)
    except BadRecipient as e:
        return Judged(raw, None, str(e))


def begins(start: Start, settings: Settings, now: datetime) -> Begin:
    """Of what was missed only the latest run begins, as for a series of messages; one that is too late fails."""
    begin = Begin(start.run_at)
    try:
        if start.series:
            zones = (start.series.timezone, settings.default_timezone)
            step = plan.step_of(start.series, start.scheduled_at, zones, max(now, start.run_at))
            begin = Begin(step.occurrence or start.run_at, step.next_at, step.anchor)
    except BadMessage as e:
        return Begin(start.run_at, refusal=str(e))
    late = now - begin.occurrence
    if settings.max_lateness_seconds and late > timedelta(seconds=settings.max_lateness_seconds):
        return replace(begin, refusal=plan.too_late(late, settings))
    return begin
