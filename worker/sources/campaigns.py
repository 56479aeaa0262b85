"""Takes campaigns forward: begins their runs, has their numbers judged, keeps their windows full, ends them."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from worker.config import Settings
from worker.errors import LACKING, BadMessage, StoreRefused
from worker.planning import plan
from worker.sources.numbers import Numbers
from worker.sources.tallies import Tallies
from worker.store.campaigns import Attachment, Campaigns, EndedRun, Run, Start

log = structlog.get_logger()

FROZEN_AT_ONCE = 5000  # recipients in one transaction
LEAST_WINDOW = 50  # messages (private.run_window)
BATCHES_AT_ONCE = 4  # are made of a run's messages; its window holds twice as many
LOOK_SECONDS = 5.0  # until a campaign that somebody starts is seen, where messages are not looked for more often
# Until a window that is half empty is filled up: at first, and by how much longer each time that it was not yet, up to
# LOOK_SECONDS, since a slow connection's lasts for minutes. By less than twice: the other half lasts until then.
# No longer than before where a twentieth of what is under way has gone since the last look: it is empty soon (a
# campaign's time is 4 % less for that).
UNDER_WAY_SECONDS, LONGER, SOON_EMPTY = 0.1, 1.5, 0.05
ESTIMATE_SECONDS = 10.0  # until the runs under way are told anew when they will be over


@dataclass(frozen=True, slots=True)
class Begin:
    """A run's instant and the next one's, None where none follows. `refusal`: why it cannot begin."""

    occurrence: datetime
    next_at: datetime | None = None
    anchor: datetime | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """How many messages of a run were under way when some were last made, and when (monotonic) there was no room.

    While more than half of them are, it is not asked for more but every LOOK_SECONDS: what may be asked has a price.
    What is less than half of any window may be all whose time has come by their own clocks: then it is asked each time.
    """

    held: int = 0
    asked_at: float = -math.inf


class CampaignSource:
    """One pass at a time; what it did not come to is there at the next. on_made: is told of new messages."""

    def __init__(
        self,
        campaigns: Campaigns,
        numbers: Numbers,
        settings: Settings,
        tallies: Tallies,
        on_made: Callable[[], None] = lambda: None,
    ) -> None:
        self.campaigns, self.numbers, self.settings, self.tallies = campaigns, numbers, settings, tallies
        self._on_made = on_made
        self._estimate_at = 0.0
        self._wait = UNDER_WAY_SECONDS
        self._under_way = 0
        self._windows: dict[str, Window] = {}  # by run

    async def advance(self) -> float:
        """One pass. Returns the seconds until the next one is wanted."""
        agenda = await self.campaigns.get_agenda()
        self._windows = {run.id: self._windows.get(run.id, Window()) for run in agenda.runs}
        moved = [await self._start(start) for start in agenda.starts]
        moved += [await self._take_forward_or_stop(run) for run in agenda.runs]
        if agenda.has_ended:
            moved.append(await self._tell())
        if any(run.is_frozen for run in agenda.runs) and time.monotonic() >= self._estimate_at:
            self._estimate_at = time.monotonic() + ESTIMATE_SECONDS
            await self.campaigns.estimate()
        if any(moved):
            self._wait = UNDER_WAY_SECONDS
            return 0.0
        self._wait = self._next_wait(agenda.runs)
        return self._wait

    def _next_wait(self, runs: list[Run]) -> float:
        longest = min(LOOK_SECONDS, self.settings.poll_interval_seconds)
        before, self._under_way = self._under_way, sum(run.under_way for run in runs)
        if not runs:
            return longest
        is_soon_empty = self._under_way < (1 - SOON_EMPTY) * before
        return self._wait if is_soon_empty else min(LONGER * self._wait, longest)

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
            # Who is frozen need not wait for a hundred thousand others, and both cores have something to do.
            has_made = not run.waits_for_all and await self._make(run)
            return await self._freeze(run) or has_made
        if run.pending:
            return await self._make(run)
        difference = await self.campaigns.finish(run.id)
        if difference:
            log.error("a run's counts were off; they are right now", run=run.id, by=difference)
        return difference is not None

    async def _make(self, run: Run) -> bool:
        """Fills its window up. Whether there was room."""
        window, now = self._windows[run.id], time.monotonic()
        if not run.unmade or (
            run.under_way > max(window.held, LEAST_WINDOW) / 2 and now < window.asked_at + LOOK_SECONDS
        ):
            return False
        advanced = await self.campaigns.advance(run.id, BATCHES_AT_ONCE * self.settings.batch_size)
        if advanced.stopped:
            log.warning("a run has paused itself", run=run.id, reason=advanced.stopped)
        if advanced.made:
            self._on_made()  # a poll by the interval alone would send a window a minute
            self._windows[run.id] = Window(run.under_way + advanced.made)  # there may be room for more
        else:
            self._windows[run.id] = replace(window, asked_at=now)
        return advanced.made > 0

    async def _freeze(self, run: Run) -> bool:
        frozen = await self.campaigns.freeze(run.id, self.numbers.rules, self.settings.gateway, FROZEN_AT_ONCE)
        if frozen is None:
            return False
        if frozen.to_judge:
            await self.numbers.judge(frozen.country_code, frozen.to_judge, frozen.by_clock)
        return True

    async def _tell(self) -> bool:
        """Whether there was something to tell."""
        ended = await self.campaigns.take_ended()
        for run in ended:
            self.tallies.run_ended(run.status)
            log.info("a run is over", **came_out(run))
        return bool(ended)


def came_out(run: EndedRun) -> dict[str, object]:
    """What the log says of it."""
    counts = {"failed": run.failed, "unconfirmed": run.unconfirmed, "skipped": run.skipped, "cancelled": run.cancelled}
    said: dict[str, object] = {
        "run": run.id, "campaign": run.campaign_id, "connection": run.connection_id, "status": run.status,
        "sent": run.sent, "of": run.total, **{name: count for name, count in counts.items() if count},
    }  # fmt: skip
    return said | {"reason": run.status_reason} if run.status_reason else said


def begins(start: Start, settings: Settings, now: datetime) -> Begin:
    """Of what was missed only the latest run begins, as for a series of messages; one that is too late fails."""
    begin = Begin(start.run_at)
    if start.fault:
        return replace(begin, refusal=start.fault)
    never = why_never(start.attachment, settings)
    try:
        if start.series:
            zones = (start.series.timezone, settings.default_timezone)
            step = plan.step_of(start.series, start.scheduled_at, zones, max(now, start.run_at))
            begin = Begin(step.occurrence or start.run_at, step.next_at, step.anchor)
    except Exception as e:
        return replace(begin, refusal=refusal_for(e))
    if never:
        return replace(begin, refusal=never)
    late = now - begin.occurrence
    if settings.max_lateness_seconds and late > timedelta(seconds=settings.max_lateness_seconds):
        return replace(begin, refusal=plan.too_late(late, settings))
    return begin


def why_never(attachment: Attachment | None, settings: Settings) -> str | None:
    """Why a file can be sent to nobody, in the words of a single message's fault; None where it can."""
    if attachment is None:
        return None
    try:
        plan.read(attachment.written, attachment.gateway or settings.gateway, settings)
    except Exception as e:
        return refusal_for(e)
    return None


def refusal_for(fault: Exception) -> str:
    """In words for the author. As of a single message (sending/planner.py): what we cannot even think about fails, and
    the daemon does not; what this machine lacks is nobody's fault and raised again.
    """
    if isinstance(fault, BadMessage):
        return str(fault)
    if isinstance(fault, LACKING):
        raise fault
    log.error("a campaign cannot be understood", exc_info=fault)
    return "This campaign could not be understood. The operator's log says why."
