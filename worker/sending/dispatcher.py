"""Claims jobs for free seats and has them sent and recorded. Never more in flight than there are seats."""

import asyncio
import functools
import math
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from worker.config import Settings
from worker.jobs import Decision, Job, Settlement
from worker.sending.recorder import Recorder
from worker.sending.sender import Sender
from worker.store.answers import Agenda, Claim
from worker.store.store import Store
from worker.waiting import Alarm, Patience, wait_for
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

LINGER_SECONDS = 0.02  # how long freed seats wait for more of them, so that calls grow with batches
GRACE_SECONDS = 5  # that calls to the database in flight are given at the end, whatever DRAIN_SECONDS says
# After a claim that found nothing though something is ready: another daemon holds it, for a moment, or a transaction
# that does not end. Twice as long after each.
HELD_SECONDS, LONGEST_HELD_SECONDS = 0.02, 0.5
MOST_IN_VAIN = 100  # claims of one pass that bring nothing, one after the other, though something is ready


class Dispatcher:
    """One loop claims, one records, and one task a message sends. `run` until `stop` is set, then drain.

    claims: rings when there may be something to claim. on_put_aside: see Recorder.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        settings: Settings,
        metrics: Metrics,
        vitals: Vitals,
        claims: Alarm,
        on_put_aside: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        self.store, self.sender, self.settings, self.metrics, self.claims = store, sender, settings, metrics, claims
        self.clock = store.clock
        self.recorder = Recorder(store, metrics, vitals, self._recorded, on_put_aside)
        self.call_seconds = 0.0  # that claims take: after a slow one they are soon trusted again
        self._freed = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._held_back: list[str] = []  # connections and payers that were busy at the last claim
        self._enough = max(1, settings.concurrency // 4)  # seats that are worth a call
        self._reserved = 0
        self._held_seconds = HELD_SECONDS
        self._patience = Patience("jobs cannot be claimed", settings.poll_interval_seconds)

    def wake(self) -> None:
        """There may be something to claim."""
        self.claims.wake()

    def plan(self, agenda: Agenda) -> None:
        """Takes note of when there will be something to claim."""
        if agenda.next_ready_at:
            self.claims.within(self.clock.until(agenda.next_ready_at))

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
        claimer = asyncio.create_task(self._claim_until(stop))
        others = [asyncio.create_task(self.recorder.run()), asyncio.create_task(self._halt_with(stop))]
        try:
            done, _ = await asyncio.wait([claimer, *others], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task  # a fault of ours ends the daemon; what supervises it starts another
        finally:
            stop.set()
            self.sender.halt()
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
        """One that brings nothing, as of connections that are paused, is made again while others are ready."""
        for _ in range(MOST_IN_VAIN):
            claim = await self.claim()
            if not claim or claim.jobs:
                return bool(claim)
            if not claim.next_ready_at or self.clock.until(claim.next_ready_at) > 0:
                return False
        return False

    async def claim(self, decisions: Sequence[Decision] = (), early: float = 0.0) -> Claim | None:
        """Starts to send what there are seats for. None where there are none.

        With `decisions`, these are enqueued, up to `early` seconds before they are due, and as many are claimed.
        """
        seats = min(self.seats, len(decisions)) if decisions else self.seats
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
                decisions,
                self.call_seconds,
                early,
                (self.settings.retry_attempts, self.settings.retry_delay_seconds),
            )
        finally:
            self._reserved -= seats
        self.call_seconds = max(time.monotonic() - claim.asked_at, self.call_seconds * 0.8)
        self._expect(claim)
        self._launch(claim)
        return claim

    def _expect(self, claim: Claim) -> None:
        """Claims again when there may be more."""
        until = self.clock.until(claim.next_ready_at) if claim.next_ready_at else math.inf
        if claim.jobs or until > 0:
            self._held_seconds = HELD_SECONDS
        else:
            until, self._held_seconds = self._held_seconds, min(LONGEST_HELD_SECONDS, 2 * self._held_seconds)
        if until < math.inf:
            self.claims.within(max(0, until))

    async def _claim_until(self, stop: asyncio.Event) -> None:
        while await self.claims.rings(stop):
            self.claims.within(await self._patience.attempt(self._turn()))

    async def _halt_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.sender.halt()
        self.claims.wake()
        self._freed.set()

    async def _turn(self) -> None:
        claim = await self.claim()
        if claim is None or (claim.jobs and self.seats < self._enough):
            await self._seats_worth_a_call()
            self.claims.wake()

    async def _seats_worth_a_call(self) -> None:
        """Waits until there are enough, or for a moment after the first."""
        while not self.seats and not self.sender.is_halted:
            self._freed.clear()
            await wait_for(self._freed, 1)
            if self.recorder.writing:
                self.claims.beat()  # it waits for the recorder, whose own beat tells
        deadline = time.monotonic() + LINGER_SECONDS
        while self.seats < self._enough and (left := deadline - time.monotonic()) > 0:
            self._freed.clear()
            await wait_for(self._freed, left)

    def _launch(self, claim: Claim) -> None:
        if claim.jobs:
            self.metrics.claimed.inc(len(claim.jobs))
            self.metrics.batch("claim", len(claim.jobs))
        for job in claim.jobs:
            task = asyncio.create_task(self._send(job))
            self._sending.add(task)
            task.add_done_callback(functools.partial(self._sent, job.connection_id, job.payer))

    async def _send(self, job: Job) -> None:
        self.recorder.add(await self.sender.send(job))

    def _sent(self, connection: str, payer: str, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._freed.set()
        if connection in self._held_back and not self.sender.is_busy(connection):
            self.claims.wake()
        if payer in self._held_back and not self.sender.is_busy_payer(payer):
            self.claims.wake()

    def _recorded(self, batch: list[Settlement]) -> None:
        self._freed.set()
        if any(settlement.wait is not None for settlement in batch):
            self.claims.wake()

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
