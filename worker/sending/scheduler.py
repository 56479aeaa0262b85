"""Says when: when what is due is enqueued, and when to look ahead at what comes."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from worker.config import Settings
from worker.errors import StoreMisconfigured, WorkerError
from worker.recurrence.times import parse_time
from worker.sending.dispatcher import Dispatcher
from worker.sending.enqueuer import Enqueuer
from worker.sending.planner import AGAIN_SECONDS, Planner
from worker.sending.releaser import MOST_EARLY, Releaser
from worker.store.answers import Agenda
from worker.store.store import Store
from worker.waiting import Alarm, Patience
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

SKEW_SECONDS = 60  # this machine's clock may be so wrong before we say so; nothing goes by it

Listener = Callable[[Agenda], None]


class Scheduler:
    """`poll` is the truth; `wake` only makes it sooner. What comes is released on its instants (releaser.py).

    listeners: are told of every agenda.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        settings: Settings,
        metrics: Metrics,
        vitals: Vitals,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.store, self.settings, self.metrics, self.vitals = store, settings, metrics, vitals
        self.clock, self.listeners = store.clock, listeners
        self.polls = Alarm(partial(vitals.beat, "scheduler"))
        planner = Planner(store, settings, self.polls)
        self.enqueuer = Enqueuer(store, planner, metrics, dispatcher.claims)
        self.releaser = Releaser(planner, self.enqueuer, dispatcher, settings, self.polls, vitals)
        self._patience = Patience("a pass of the scheduler failed", settings.poll_interval_seconds)
        self._skewed = False
        self._looked_at = -math.inf  # monotonic

    def wake(self, reason: str = "timer") -> None:
        """Polls as soon as possible."""
        self.metrics.woke(reason)
        self.polls.wake()

    @property
    def idle(self) -> bool:
        """Whether a poll has been made and none is wanted now."""
        return time.monotonic() < self.polls.at < math.inf

    def on_change(self, scheduled_at: str | None, status: str | None) -> None:
        """What Realtime tells of a row: polls now if it falls due before the next poll."""
        if status not in (None, "pending"):
            return
        known = min(self.polls.at - time.monotonic(), self.settings.poll_interval_seconds * 1.5)
        try:
            soon = scheduled_at is None or self.clock.until(parse_time(scheduled_at)) < known
        except WorkerError:
            soon = True
        if soon:
            self.wake("realtime")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Supabase refuses is logged, and tried again at the next poll."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.releaser.run(stop))
            while await self.polls.rings(stop):
                self.polls.within(await self._patience.attempt(self.poll()))

    async def poll(self) -> int:
        """Enqueues whatever is due until nothing is, then looks ahead. Returns how many rows it dealt with."""
        decided = dealt_with = 0
        wrong: StoreMisconfigured | None = None
        async for batch in self.enqueuer.enqueue_due(self.settings.batch_size):
            self.polls.beat()
            decided, dealt_with, wrong = decided + batch.decided, dealt_with + batch.won, batch.wrong or wrong
            is_long = decided >= self.settings.batch_size and not batch.is_last
            if is_long and self._is_time_to_look_ahead:
                await self._look_ahead()  # a long pass must not keep what is coming from being prepared
        agenda = await self._look_ahead()
        won_nothing = decided and not dealt_with  # another daemon is at it, or an edit: the next poll sees
        if agenda.next_due_at and self.clock.until(agenda.next_due_at) <= 0 and not won_nothing:
            self.polls.within(AGAIN_SECONDS)  # it fell due between the two looks, or was held
        if wrong:
            raise wrong
        return dealt_with

    @property
    def _is_time_to_look_ahead(self) -> bool:
        return time.monotonic() > self._looked_at + self.settings.poll_interval_seconds / 2

    async def _look_ahead(self) -> Agenda:
        self._looked_at = time.monotonic()
        horizon = self.settings.poll_interval_seconds * 1.5
        agenda = await self.store.get_agenda(horizon, self.settings.batch_size, self.settings.handover_seconds)
        self._mind_the_clock()
        await self.releaser.prepare(agenda.upcoming)
        self.polls.within(self._until_next_poll(agenda))
        self.vitals.polled(max(0.0, -self.clock.until(agenda.next_due_at)) if agenda.next_due_at else 0.0)
        for listener in self.listeners:
            listener(agenda)
        return agenda

    def _until_next_poll(self, agenda: Agenda) -> float:
        if agenda.complete_until is None:
            return self.settings.poll_interval_seconds * 1.25  # the interval's job comes first
        # More than we hold: come back shortly before these are gone, or else when they are.
        gone = self.clock.until(agenda.complete_until)
        return gone - 2 * MOST_EARLY if gone > 2 * MOST_EARLY else gone

    def _mind_the_clock(self) -> None:
        """Says once that this machine's clock is wrong, and once that it is right again."""
        seconds = self.clock.skew.total_seconds()
        if (abs(seconds) > SKEW_SECONDS) is self._skewed:
            return
        self._skewed = not self._skewed
        if self._skewed:
            log.warning("this machine's clock is wrong; messages go by the database's", ahead_seconds=round(seconds))
        else:
            log.info("this machine's clock is right again")
