"""Turns due rows into jobs: on every poll, and for rows known in advance exactly when they fall due."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from worker.config import Settings
from worker.errors import StoreMisconfigured, StoreOverfull, StoreRefused, WorkerError
from worker.planning import plan
from worker.recurrence.times import parse_time
from worker.sending.dispatcher import Dispatcher
from worker.sending.line import Line, of_the_few, payer
from worker.store.calls import Agenda, Enqueue
from worker.store.store import Store
from worker.waiting import Patience, wait_for
from worker.watch.log import say_refused
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

SKEW_SECONDS = 60  # this machine's clock may be so wrong before we say so; nothing goes by it
TOGETHER_SECONDS = 0.01  # rows that fall due this close together go in one call
# How long before its instant a row is taken: as long as calls have been taking, so that its job is at hand on time.
LEAST_AHEAD, MOST_AHEAD, MARGIN = 0.05, 0.9, 1.25
MOST_RELEASES = 3  # at a time
TURN_SECONDS = 0.005  # of planning at a stretch; then the loop is the others' for as long
AGAIN_SECONDS = 1.0  # after somebody else took a row, or edited it
FORGET = timedelta(seconds=10)
IDLE_SECONDS = 20  # how long a loop with nothing to do waits before it looks whether that is still so


class Scheduler:
    """`poll` is the truth; `wake` only makes it sooner. Rows of the agenda are planned before they are due."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, settings: Settings, metrics: Metrics, vitals: Vitals
    ) -> None:
        self.store, self.dispatcher, self.settings = store, dispatcher, settings
        self.metrics, self.vitals, self.clock = metrics, vitals, store.clock
        self._woken, self._changed = asyncio.Event(), asyncio.Event()
        self._prepared: list[tuple[datetime, Enqueue, str]] = []  # in the order of their instants, with their payers
        self._released: list[tuple[datetime, Enqueue]] = []  # of late: an agenda read meanwhile may still tell of them
        self._releases: set[asyncio.Task[None]] = set()
        self._skewed = False
        self._patience = Patience(settings.poll_interval_seconds)
        self._wrong: StoreMisconfigured | None = None
        self._looked_at = -math.inf  # monotonic
        self._poll_at = 0.0  # monotonic; infinity while a poll is under way and no other is wanted
        self.listeners: list[Callable[[Agenda], None]] = []

    def wake(self, reason: str = "timer") -> None:
        """Polls as soon as possible."""
        self.metrics.woke(reason)
        self._poll_by(0)

    def _poll_by(self, at: float) -> None:
        self._poll_at = min(self._poll_at, at)
        self._woken.set()

    @property
    def idle(self) -> bool:
        """Whether a poll has been made and none is wanted now."""
        return time.monotonic() < self._poll_at < math.inf

    def on_change(self, scheduled_at: str | None, status: str | None) -> None:
        """What Realtime tells of a row: polls now if it falls due before the next poll."""
        if status not in (None, "pending"):
            return
        known = min(self._poll_at - time.monotonic(), self.settings.poll_interval_seconds * 1.5)
        try:
            soon = scheduled_at is None or self.clock.until(parse_time(scheduled_at)) < known
        except WorkerError:
            soon = True
        if soon:
            self.wake("realtime")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Supabase refuses is logged, and tried again at the next poll."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._release_on_time(stop))
            await self._poll_on_time(stop)

    async def _poll_on_time(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.vitals.beat("scheduler")
            self._woken.clear()
            if (wait := self._poll_at - time.monotonic()) > 0:
                await wait_for(self._woken, wait)
                continue
            self._poll_at = math.inf
            try:
                await self.poll()
                self._patience.worked()
            except WorkerError as e:
                wait, is_news = self._patience.failed(str(e))
                if is_news:
                    log.error("a pass of the scheduler failed", reason=str(e))
                self._poll_by(time.monotonic() + wait)

    async def _release_on_time(self, stop: asyncio.Event) -> None:
        """Also while a poll is under way, and several at a time."""
        while not stop.is_set():
            self.vitals.beat("releaser")
            self._changed.clear()
            if len(self._releases) >= MOST_RELEASES:  # what falls due meanwhile goes together
                await asyncio.wait(self._releases, return_when=asyncio.FIRST_COMPLETED)
            elif due := self._take_due():
                # Its own: what a claim brings must be sent or handed back, also when we are told to stop.
                task = asyncio.create_task(self._release(due))
                self._releases.add(task)
                task.add_done_callback(self._releases.discard)
            else:
                next_due = self.clock.until(self._prepared[0][0]) - self._ahead if self._prepared else IDLE_SECONDS
                await wait_for(self._changed, min(next_due, IDLE_SECONDS))

    async def poll(self) -> int:
        """Enqueues whatever is due until nothing is, then looks ahead. Returns how many rows it dealt with."""
        listed = dealt_with = 0
        self._wrong = None
        batches = self._due()
        plans = await anext(batches, None)
        while plans is not None:
            self.vitals.beat("scheduler")
            listed += len(plans)
            if (
                listed > self.settings.batch_size
                and time.monotonic() > self._looked_at + self.settings.poll_interval_seconds / 2
            ):
                await self._look_ahead()  # a long pass must not keep what is coming from being prepared
            # The next rows are read and planned while these are written.
            won, plans = await asyncio.gather(self._enqueue_or_go_on(plans), anext(batches, None))
            dealt_with += won
        agenda = await self._look_ahead()
        beaten = listed and not dealt_with  # another daemon is at it, or an edit: the next poll sees
        if agenda.next_due_at and self.clock.until(agenda.next_due_at) <= 0 and not beaten:
            self._poll_by(time.monotonic() + AGAIN_SECONDS)  # it fell due between the two looks, or was held
        if self._wrong:
            raise self._wrong
        return dealt_with

    async def _enqueue_or_go_on(self, plans: list[Enqueue]) -> int:
        """What one whole batch meets, such as a trigger without a grant, the next one need not meet."""
        try:
            return await self._enqueue(plans)
        except StoreMisconfigured as e:
            self._wrong = e
            return 0

    async def _due(self) -> AsyncIterator[list[Enqueue]]:
        """All that is due, in batches of plans, each with the next rows of everybody who has any."""
        line, size = Line(), self.settings.batch_size
        rows = await self.store.get_pending()
        several = len(rows) > size
        while rows:
            line.add(rows)
            while line:
                if several:  # more than one batch: whoever is not among the oldest rows must not wait for them all
                    line.add(await self.store.get_due_of_others(line.payers))
                yield await self._plan(line.take(size))
            rows, several = await self.store.get_pending(after=rows[-1]), True

    async def _look_ahead(self) -> Agenda:
        self._looked_at = time.monotonic()
        horizon = self.settings.poll_interval_seconds * 1.5
        agenda = await self.store.get_agenda(horizon, self.settings.batch_size, self.settings.handover_seconds)
        self._mind_the_clock()
        await self._prepare(agenda.upcoming)
        self._poll_by(time.monotonic() + self._until_next_poll(agenda))
        if agenda.next_ready_at:
            self.dispatcher.next_ready_at = agenda.next_ready_at
            self.dispatcher.wake()
        self.vitals.polled(max(0.0, -self.clock.until(agenda.next_due_at)) if agenda.next_due_at else 0.0)
        for listener in self.listeners:
            listener(agenda)
        return agenda

    def _until_next_poll(self, agenda: Agenda) -> float:
        if agenda.complete_until is None:
            return self.settings.poll_interval_seconds * 1.25  # the interval's job comes first
        # More than we hold: come back shortly before these are gone, or else when they are.
        gone = self.clock.until(agenda.complete_until)
        return gone - 2 * MOST_AHEAD if gone > 2 * MOST_AHEAD else gone

    async def _prepare(self, rows: Sequence[dict[str, Any]]) -> None:
        """Plans what is coming. What fell due since the agenda was read stays; what was released does not return."""
        now = self.clock.now()
        plans = await self._plan(rows) if rows else []
        due = {row["id"]: parse_time(row["scheduled_at"]) for row in rows}
        self._released = [(at, p) for at, p in self._released if at > now - FORGET]
        gone = {(p.id, p.revision) for _, p in self._released}
        payers = {row["id"]: payer(row) for row in rows}
        coming = [(due[p.id], p, payers[p.id]) for p in plans if (p.id, p.revision) not in gone]
        self._prepared = [one for one in self._prepared if one[0] <= now and one[1].id not in due] + coming
        self._changed.set()

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

    async def _plan(self, rows: Sequence[dict[str, Any]]) -> list[Enqueue]:
        """Of those that can be planned. Never more than half of the loop's time, however dear the rules are."""
        known = await self.store.look_up_recipients([row["id"] for row in rows])
        now, plans, began = self.clock.now(), list[Enqueue](), time.monotonic()
        for row in rows:
            if time.monotonic() - began > TURN_SECONDS:
                await asyncio.sleep(TURN_SECONDS)
                began = time.monotonic()
            if planned := self._plan_one(row, known.get(row["id"]), now):
                plans.append(planned)
        return plans

    def _plan_one(self, row: dict[str, Any], known: dict[str, Any] | None, now: datetime) -> Enqueue | None:
        """A row that we cannot even think about fails; the daemon does not. None for one that must be tried again.

        Planning reads no file of ours: what the operating system refuses meanwhile is a library's, and no row's fault.
        """
        try:
            return plan.plan(row, known, self.settings, now)
        except (OSError, MemoryError, ImportError) as fault:
            log.error("a row waits for what this machine lacks", message=row["id"], reason=str(fault))
            self._poll_by(time.monotonic() + AGAIN_SECONDS)
            return None
        except Exception:
            log.exception("a row cannot be planned", message=row["id"])
            error = "This message could not be understood. The operator's log says why."
            return Enqueue(row["id"], row["revision"], plan.new_job_id(), error=error)

    @property
    def _ahead(self) -> float:
        return min(MOST_AHEAD, max(LEAST_AHEAD, MARGIN * self.dispatcher.lead))

    def _take_due(self) -> list[Enqueue]:
        """What is due so soon that it must be taken now, and what follows it closely.

        But those who have more than there are seats go by themselves, after the others: they wait for their own
        connections' turns, and nobody else for them.
        """
        count, until = 0, self._ahead
        while count < len(self._prepared) and self.clock.until(self._prepared[count][0]) <= until:
            count, until = count + 1, self._ahead + TOGETHER_SECONDS
        due, later = self._prepared[:count], self._prepared[count:]
        first = of_the_few([name for *_, name in due], self.settings.concurrency)
        rest = {*range(count)}.difference(first)
        self._prepared = [due[place] for place in sorted(rest)] + later
        due = [due[place] for place in first]
        self._released += [(at, p) for at, p, _ in due]
        return [p for _, p, _ in due]

    async def _release(self, plans: list[Enqueue]) -> None:
        """The fast path: enqueue and claim with one call, a moment early, so that each is dialled on its instant."""
        ahead = self._ahead + 2 * TOGETHER_SECONDS
        try:
            claim = None
            if not any(p.error for p in plans):
                claim = await self.dispatcher.claim(plans, ahead)
        except WorkerError:
            claim = None
        if claim:
            self._say_refused(claim.refused)
        if claim is None:  # no seat, a refusal, a row that fails
            try:
                await self._enqueue(plans, ahead)
            except WorkerError:
                self._poll_by(time.monotonic() + AGAIN_SECONDS)  # which says what is wrong
        elif not {p.id for p in plans} <= {job["scheduled_message_id"] for job in claim.jobs}:
            self._poll_by(time.monotonic() + AGAIN_SECONDS)  # somebody else has it, or it was edited

    async def _enqueue(self, plans: list[Enqueue], ahead: float = 0.0) -> int:
        """Enqueues what it can: a row that the database refuses must not hold up its neighbours."""
        if not plans:
            return 0
        try:
            won, refused = await self.store.enqueue(plans, ahead)
        except (StoreRefused, StoreOverfull) as e:
            if len(plans) == 1:
                return await self._give_up(plans[0], e)
            half = len(plans) // 2
            return await self._enqueue(plans[:half], ahead) + await self._enqueue(plans[half:], ahead)
        self.dispatcher.wake()
        self._say_refused(refused)
        known = set(won) - {row["id"] for row in refused}
        for p in plans:
            if p.id in known:
                self._say(p)
        return len(won)

    def _say_refused(self, refused: list[dict[str, Any]]) -> None:
        self.metrics.refused.inc(len(refused))
        self.metrics.failed.inc(sum(row["became"] == "failed" for row in refused))
        say_refused("a row", refused)

    async def _give_up(self, row: Enqueue, reason: WorkerError) -> int:
        """It fails, and its series goes on; where that is refused too, it fails alone."""
        log.error("a row cannot be enqueued", message=row.id, reason=str(reason))
        error = "The database refused to schedule this message. The operator's log says why."
        for failed in (row._replace(recipient=None, error=error), plan.failed(row, error)):
            with contextlib.suppress(StoreRefused):
                return len((await self.store.enqueue([failed])).ids)
        return 0

    def _say(self, p: Enqueue) -> None:
        if p.error:
            self.metrics.failed.inc()
            log.info("failed", message=p.id, reason=p.error)
        if p.missed:
            self.metrics.missed.inc(p.missed)
            log.warning(
                "occurrences were missed; only the latest counts",
                message=p.id,
                missed=p.missed,
                occurrence=p.occurrence,
            )
