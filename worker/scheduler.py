"""Turns due rows into jobs: on every poll, and for rows known in advance exactly when they fall due."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import structlog

from worker import plan
from worker.calls import Agenda, Enqueue
from worker.config import Settings
from worker.dispatcher import Dispatcher
from worker.errors import StoreRefused, WorkerError
from worker.metrics import Metrics
from worker.store import Store
from worker.times import parse_time
from worker.vitals import Vitals
from worker.waiting import wait_for

log = structlog.get_logger()

SKEW_SECONDS = 60  # this machine's clock may be so wrong before we say so; nothing goes by it
EARLY_SECONDS = 0.002  # rows that fall due this close together go in one call


class Scheduler:
    """`poll` is the truth; `wake` only makes it sooner. Rows of the agenda are planned before they are due."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, settings: Settings, metrics: Metrics, vitals: Vitals
    ) -> None:
        self.store, self.dispatcher, self.settings, self.metrics, self.vitals = (
            store,
            dispatcher,
            settings,
            metrics,
            vitals,
        )
        self.clock = store.clock
        self._woken = asyncio.Event()
        self._prepared: list[tuple[datetime, Enqueue]] = []
        self._skewed = False
        self._poll_at: float = 0.0  # monotonic; a poll that the agenda asks for before the next interval
        self.listeners: list[Callable[[Agenda], None]] = []

    def wake(self, reason: str = "timer") -> None:
        """Polls as soon as possible."""
        self.metrics.woke(reason)
        self._woken.set()

    @property
    def idle(self) -> bool:
        """Whether a poll has been made and none is wanted now."""
        return self._poll_at > time.monotonic() and not self._woken.is_set()

    def on_change(self, scheduled_at: str | None, status: str | None) -> None:
        """What Realtime tells of a row: polls now if it falls due before the next poll."""
        if status not in (None, "pending"):
            return
        try:
            soon = scheduled_at is None or self.clock.until(parse_time(scheduled_at)) < self._poll_at - time.monotonic()
        except WorkerError:
            soon = True
        if soon:
            self.wake("realtime")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. What Supabase refuses is logged, and tried again at the next poll."""
        self._woken.set()
        while not stop.is_set():
            try:
                await self._turn()
            except WorkerError as e:
                log.error("a pass of the scheduler failed", reason=str(e))
                self._poll_at = time.monotonic() + self.settings.poll_interval_seconds
            await self._sleep(stop)

    async def _turn(self) -> None:
        self.vitals.beat("scheduler")
        if self._woken.is_set() or time.monotonic() >= self._poll_at:
            self._woken.clear()
            await self.poll()
        elif due := self._take_due():
            await self._release(due)

    async def _sleep(self, stop: asyncio.Event) -> None:
        waits = [self._poll_at - time.monotonic()]
        if self._prepared:
            waits.append(self.clock.until(self._prepared[0][0]))
        if min(waits) > 0 and not stop.is_set():
            await wait_for(self._woken, min(waits))

    async def poll(self) -> int:
        """Enqueues whatever is due until nothing is, then looks ahead. Returns how many rows it dealt with."""
        dealt_with = 0
        while rows := await self.store.get_pending():
            won = 0
            self.vitals.beat("scheduler")
            for start in range(0, len(rows), self.settings.batch_size):
                won += await self._enqueue(await self._plan(rows[start : start + self.settings.batch_size]))
                self.dispatcher.wake()
            dealt_with += won
            if not won:
                break  # another daemon is at it, or an edit: the next poll sees
        await self._look_ahead()
        return dealt_with

    async def _look_ahead(self) -> None:
        horizon = self.settings.poll_interval_seconds * 1.5
        agenda = await self.store.get_agenda(horizon, self.settings.batch_size, self.settings.handover_seconds)
        self._poll_at = time.monotonic() + self.settings.poll_interval_seconds * 1.25  # the interval's job comes first
        if len(agenda.upcoming) >= self.settings.batch_size:  # more than we hold: come back when these are gone
            self._poll_at = time.monotonic() + self.clock.until(parse_time(agenda.upcoming[-1]["scheduled_at"]))
        self._mind_the_clock()
        plans = await self._plan(agenda.upcoming) if agenda.upcoming else []
        due = {row["id"]: parse_time(row["scheduled_at"]) for row in agenda.upcoming}
        self._prepared = [(due[p.id], p) for p in plans]
        if agenda.next_ready_at:
            self.dispatcher.next_ready_at = agenda.next_ready_at
            self.dispatcher.wake()
        self.vitals.polled(max(0.0, -self.clock.until(agenda.next_due_at)) if agenda.next_due_at else 0.0)
        for listener in self.listeners:
            listener(agenda)

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
        known = await self.store.look_up_recipients([row["id"] for row in rows])
        now = self.clock.now()
        return [self._plan_one(row, known.get(row["id"]), now) for row in rows]

    def _plan_one(self, row: dict[str, Any], known: dict[str, Any] | None, now: datetime) -> Enqueue:
        """A row that we cannot even think about fails; the daemon does not."""
        try:
            return plan.plan(row, known, self.settings, now)
        except Exception:
            log.exception("a row cannot be planned", message=row["id"])
            error = "This message could not be understood. The operator's log says why."
            return Enqueue(row["id"], row["revision"], plan.job_id(row), error=error)

    def _take_due(self) -> list[Enqueue]:
        count = 0
        while count < len(self._prepared) and self.clock.until(self._prepared[count][0]) <= EARLY_SECONDS:
            count += 1
        due, self._prepared = self._prepared[:count], self._prepared[count:]
        return [p for _, p in due]

    async def _release(self, plans: list[Enqueue]) -> None:
        """The fast path: enqueue, claim and dial with one call."""
        claim = None
        if not any(p.error for p in plans):
            with contextlib.suppress(StoreRefused):
                # Shielded: what a claim brings must be sent or handed back, also when we are told to stop.
                claim = await asyncio.shield(self.dispatcher.claim(plans))
        if claim is None or len({job["scheduled_message_id"] for job in claim.jobs} & {p.id for p in plans}) < len(
            plans
        ):
            self._woken.set()  # no seat, an edit, a refusal: the poll sorts it out

    async def _enqueue(self, plans: list[Enqueue]) -> int:
        """Enqueues what it can: a row that the database refuses must not hold up its neighbours."""
        try:
            won = set(await self.store.enqueue(plans))
        except StoreRefused as e:
            if len(plans) == 1:
                return await self._give_up(plans[0], e)
            half = len(plans) // 2
            return await self._enqueue(plans[:half]) + await self._enqueue(plans[half:])
        for p in plans:
            if p.id in won:
                self._say(p)
        return len(won)

    async def _give_up(self, row: Enqueue, reason: StoreRefused) -> int:
        """It fails, and its series goes on; where that is refused too, it fails alone."""
        log.error("a row cannot be enqueued", message=row.id, reason=str(reason))
        error = "The database refused to schedule this message. The operator's log says why."
        for failed in (row._replace(recipient=None, error=error), plan.failed(row, error)):
            with contextlib.suppress(StoreRefused):
                return len(await self.store.enqueue([failed]))
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
