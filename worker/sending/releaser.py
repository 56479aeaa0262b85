"""Holds what is planned ahead, and enqueues and claims each row with one call, a moment before its instant."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from worker.config import Settings
from worker.errors import WorkerError
from worker.jobs import Decision, Due
from worker.sending.dispatcher import Dispatcher
from worker.sending.enqueuer import Enqueuer
from worker.sending.planner import AGAIN_SECONDS, Planner, of_the_few
from worker.store.answers import Claim
from worker.waiting import IDLE_SECONDS, Alarm
from worker.watch.vitals import Vitals

TOGETHER_SECONDS = 0.01  # rows that fall due this close together go in one call
# How long before its instant a row is taken: as long as calls have been taking, so that its job is at hand on time.
LEAST_EARLY, MOST_EARLY, MARGIN = 0.05, 0.9, 1.25
MOST_RELEASES = 3  # at a time
FORGET = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A row that falls due soon, and what then becomes of it."""

    due: Due
    decision: Decision

    @property
    def at(self) -> datetime:
        return self.due.scheduled_at

    @property
    def version(self) -> tuple[str, int]:
        return self.due.id, self.due.revision


class Releaser:
    """`polls` is told where a row that it released has to be looked at again."""

    def __init__(
        self,
        planner: Planner,
        enqueuer: Enqueuer,
        dispatcher: Dispatcher,
        settings: Settings,
        polls: Alarm,
        vitals: Vitals,
    ) -> None:
        self.planner, self.enqueuer, self.dispatcher = planner, enqueuer, dispatcher
        self.settings, self.polls, self.clock = settings, polls, dispatcher.clock
        self.prepared: list[Prepared] = []  # in the order of their instants
        self._released: list[Prepared] = []  # of late: an agenda read meanwhile may still tell of them
        self._releases: set[asyncio.Task[None]] = set()
        self._alarm = Alarm(partial(vitals.beat, "releaser"), every=IDLE_SECONDS)  # the clock may be corrected

    @property
    def early(self) -> float:
        """Seconds before its instant at which a row is taken now."""
        return min(MOST_EARLY, max(LEAST_EARLY, MARGIN * self.dispatcher.call_seconds))

    async def prepare(self, rows: Sequence[Due]) -> None:
        """Plans what is coming. What fell due since the agenda was read stays; what was released does not return."""
        now = self.clock.now()
        decisions = await self.planner.plan(rows) if rows else []
        due = {row.id: row for row in rows}
        self._released = [one for one in self._released if one.at > now - FORGET]
        gone = {one.version for one in self._released}
        coming = [Prepared(due[decision.id], decision) for decision in decisions]
        coming = [one for one in coming if one.version not in gone]
        self.prepared = [one for one in self.prepared if one.at <= now and one.due.id not in due] + coming
        self._expect()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Also while a poll is under way, and several releases at a time."""
        while await self._alarm.rings(stop):
            if len(self._releases) >= MOST_RELEASES:  # what falls due meanwhile goes together
                await asyncio.wait(self._releases, return_when=asyncio.FIRST_COMPLETED)
            if decisions := self._take_due():
                # Its own: what a claim brings must be sent or handed back, also when we are told to stop.
                task = asyncio.create_task(self._release(decisions))
                self._releases.add(task)
                task.add_done_callback(self._releases.discard)
            self._expect()

    def _expect(self) -> None:
        if self.prepared:
            self._alarm.within(self.clock.until(self.prepared[0].at) - self.early)

    def _take_due(self) -> list[Decision]:
        """What is due so soon that it must be taken now, and what follows it closely.

        But those who have more than there are seats go by themselves, after the others: they wait for their own
        connections' turns, and nobody else for them.
        """
        count, within = 0, self.early
        while count < len(self.prepared) and self.clock.until(self.prepared[count].at) <= within:
            count, within = count + 1, self.early + TOGETHER_SECONDS
        due, later = self.prepared[:count], self.prepared[count:]
        first = of_the_few([one.due.payer for one in due], self.settings.concurrency)
        rest = {*range(count)}.difference(first)
        self.prepared = [due[place] for place in sorted(rest)] + later
        taken = [due[place] for place in first]
        self._released += taken
        return [one.decision for one in taken]

    async def _release(self, decisions: list[Decision]) -> None:
        early = self.early + 2 * TOGETHER_SECONDS
        claim = await self._claimed(decisions, early)
        if claim is None:  # no seat, a refusal, a row that fails
            try:
                await self.enqueuer.enqueue(decisions, early)
            except WorkerError:
                self.polls.within(AGAIN_SECONDS)  # which says what is wrong
            return
        self.enqueuer.say_refused(claim.refused)
        if not {decision.id for decision in decisions} <= {job.scheduled_message_id for job in claim.jobs}:
            self.polls.within(AGAIN_SECONDS)  # somebody else has it, or it was edited

    async def _claimed(self, decisions: list[Decision], early: float) -> Claim | None:
        if any(decision.error for decision in decisions):
            return None
        try:
            return await self.dispatcher.claim(decisions, early)
        except WorkerError:
            return None
