"""Claims jobs for free seats and has them sent and recorded. Never more in flight than there are seats."""

import asyncio
import functools
import math
import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from worker.config import Settings
from worker.errors import WorkerError
from worker.sending.recorder import Recorder
from worker.sending.sender import Job, Sender
from worker.store.calls import Claim, Enqueue, Settlement
from worker.store.store import Store
from worker.waiting import Patience, wait_for
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

IDLE_SECONDS = 20  # how long a loop with nothing to do waits before it says that it is alive
LINGER_SECONDS = 0.02  # how long freed seats wait for more of them, so that calls grow with batches
GRACE_SECONDS = 5  # that calls to the database in flight are given at the end, whatever DRAIN_SECONDS says
HELD_SECONDS = 0.02  # after a claim that found nothing though something is ready: another daemon holds it


class Dispatcher:
    """One loop claims, one records, and one task a message sends. `run` until `stop` is set, then drain."""

    def __init__(self, store: Store, sender: Sender, settings: Settings, metrics: Metrics, vitals: Vitals) -> None:
        self.store, self.sender, self.settings, self.metrics, self.vitals = store, sender, settings, metrics, vitals
        self.clock = store.clock
        self.recorder = Recorder(store, metrics, vitals)
        self.recorder.on_recorded = self._recorded
        self.next_ready_at: datetime | None = None
        self._woken, self._freed, self._stop = asyncio.Event(), asyncio.Event(), sender.stop
        self._sending: set[asyncio.Task[None]] = set()
        self._held_back: list[str] = []  # connections and payers that were busy at the last claim
        self._enough = max(1, settings.concurrency // 4)  # seats that are worth a call
        self._reserved = 0
        self._patience = Patience(settings.poll_interval_seconds)
        self.lead = 0.0  # seconds that claims take: after a slow one they are soon trusted again

    def wake(self) -> None:
        """There may be something to claim."""
        self._woken.set()

    @property
    def seats(self) -> int:
        """How many more may be claimed: CONCURRENCY in flight, twice that not yet recorded."""
        unanswered = len(self._sending) + self._reserved
        unrecorded = unanswered + self.recorder.unrecorded
        return max(0, min(self.settings.concurrency - unanswered, 2 * self.settings.concurrency - unrecorded))

    @property
    def idle(self) -> bool:
        return not (self._sending or self._reserved or self.recorder.unrecorded)

    async def run(self, stop: asyncio.Event) -> None:
        """Claims until `stop`; then waits for what is in flight, at most DRAIN_SECONDS."""
        self._stop = self.sender.stop = stop
        claimer = asyncio.create_task(self._claim_until_stop())
        others = [asyncio.create_task(self.recorder.run()), asyncio.create_task(self._wake_to_stop())]
        try:
            done, _ = await asyncio.wait([claimer, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task  # a fault of ours ends the daemon; what supervises it starts another
        finally:
            stop.set()
            await self._drain(claimer)
            for task in others:
                task.cancel()

    async def send_all(self) -> None:
        """Claims and sends until nothing is ready, and records it all."""
        recorder = asyncio.create_task(self.recorder.run())
        try:
            while not self.idle or (await self._claimed_any()):
                if recorder.done():
                    await recorder
                self._freed.clear()
                if not self.idle:
                    await wait_for(self._freed, 1)
        finally:
            recorder.cancel()

    async def _claimed_any(self) -> bool:
        claim = await self.claim()
        return bool(claim and claim.jobs)

    async def claim(self, rows: Sequence[Enqueue] = (), ahead: float = 0.0) -> Claim | None:
        """Starts to send what there are seats for. None where there are none.

        With `rows`, these are enqueued, up to `ahead` seconds early, and as many are claimed.
        """
        seats = min(self.seats, len(rows)) if rows else self.seats
        if not seats:
            return None
        self._reserved += seats
        self._held_back = self.sender.busy()
        try:
            claim = await self.store.claim(
                seats,
                self.sender.gateways.default.name,
                self.settings.lease_seconds,
                self._held_back,
                rows,
                self.lead,
                ahead,
                (self.settings.retry_attempts, self.settings.retry_delay_seconds),
            )
        finally:
            self._reserved -= seats
        self.lead = max(time.monotonic() - claim.asked_at, self.lead * 0.8)
        self.next_ready_at = claim.next_ready_at
        self._launch(claim)
        return claim

    async def _claim_until_stop(self) -> None:
        while not self._stop.is_set():
            try:
                await self._turn()
                self._patience.worked()
            except WorkerError as e:
                wait, is_news = self._patience.failed(str(e))
                if is_news:
                    log.error("jobs cannot be claimed", reason=str(e))
                await wait_for(self._woken, wait)

    async def _wake_to_stop(self) -> None:
        await self._stop.wait()
        self._woken.set()
        self._freed.set()

    async def _turn(self) -> None:
        self.vitals.beat("dispatcher")
        self._woken.clear()
        claim = await self.claim()
        if claim is None or (claim.jobs and self.seats < self._enough):
            await self._seats_worth_a_call()
        else:
            await self._until_ready(0 if claim.jobs else HELD_SECONDS)

    async def _seats_worth_a_call(self) -> None:
        """Waits until there are enough, or for a moment after the first."""
        while not self.seats and not self._stop.is_set():
            self._freed.clear()
            await wait_for(self._freed, 1)
            if self.recorder.writing:
                self.vitals.beat("dispatcher")  # it waits for the recorder, whose own beat tells
        deadline = time.monotonic() + LINGER_SECONDS
        while self.seats < self._enough and (left := deadline - time.monotonic()) > 0:
            self._freed.clear()
            await wait_for(self._freed, left)

    async def _until_ready(self, at_least: float) -> None:
        """Sleeps until something is known to be ready or is announced; the scheduler's agenda tells of both."""
        while not self._woken.is_set():
            self.vitals.beat("dispatcher")
            left = self.clock.until(self.next_ready_at) if self.next_ready_at else math.inf
            await wait_for(self._woken, max(at_least, min(left, IDLE_SECONDS)))
            if left <= IDLE_SECONDS:
                return

    def _launch(self, claim: Claim) -> None:
        if claim.jobs:
            self.metrics.claimed.inc(len(claim.jobs))
            self.metrics.batch("claim", len(claim.jobs))
        for row in claim.jobs:
            job = Job.of(row, claim)
            task = asyncio.create_task(self._send(job))
            self._sending.add(task)
            task.add_done_callback(functools.partial(self._sent, job.connection, job.payer))

    async def _send(self, job: Job) -> None:
        self.recorder.add(await self.sender.send(job))

    def _sent(self, connection: str, payer: str, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._freed.set()
        if connection in self._held_back and not self.sender.is_busy(connection):
            self._woken.set()
        if payer in self._held_back and not self.sender.is_busy_payer(payer):
            self._woken.set()

    def _recorded(self, batch: list[Settlement]) -> None:
        self._freed.set()
        if any(settlement.wait is not None for settlement in batch):
            self._woken.set()

    async def _drain(self, claimer: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + self.settings.drain_seconds
        self.store.hurry()
        while (self._sending and time.monotonic() < deadline) or (
            self._reserved and time.monotonic() < deadline + GRACE_SECONDS  # what it brings can be handed back
        ):
            self._freed.clear()
            await wait_for(self._freed, 0.1)
        late = [claimer, *self._sending]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        while not self.idle and time.monotonic() < deadline + GRACE_SECONDS:
            self._freed.clear()
            await wait_for(self._freed, 0.5)
        if lost := self.recorder.unrecorded:
            log.error(
                "stopped before it could be recorded what became of messages; they become unconfirmed", count=lost
            )
