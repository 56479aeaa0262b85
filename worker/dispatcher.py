"""Claims jobs, sends them through their gateways, records what came of it. Never more in flight than seats."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from worker import plan, result
from worker.calls import Claim, Enqueue, Settlement
from worker.config import Settings
from worker.errors import BadMessage, ConfigError, StoreRefused
from worker.gateway import Gateway
from worker.gateway.routing import ONE_AT_A_TIME, Gateways
from worker.metrics import Metrics
from worker.models import Message, Outcome, Rejected, Stopped, Unconfirmed
from worker.recipient import mask
from worker.store import Store
from worker.times import parse_time
from worker.vitals import Vitals

log = structlog.get_logger()

LINGER_SECONDS = 0.02  # how long freed seats wait for more of them, so that calls grow with batches
RECORD_AT_ONCE = 1000
IDLE_SECONDS = 20  # how long a loop with nothing to do waits before it says that it is alive
STOPPED_SECONDS = 10  # how long what was claimed before a connection stopped is handed back undialled


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job. `lease_ends` is monotonic; `row` is what the claim returned."""

    id: str
    token: str
    row: dict[str, Any]
    due: datetime
    lease_ends: float

    @property
    def connection(self) -> str:
        return str(self.row["connection_id"])


class Dispatcher:
    """One loop claims, one records, and one task a message sends. `run` until `stop` is set, then drain."""

    def __init__(self, store: Store, gateways: Gateways, settings: Settings, metrics: Metrics, vitals: Vitals) -> None:
        self.store, self.gateways, self.settings, self.metrics, self.vitals = (
            store,
            gateways,
            settings,
            metrics,
            vitals,
        )
        self.clock = store.clock
        self.next_ready_at: datetime | None = None
        self.on_stopped: Callable[[], None] = lambda: None
        self._woken, self._freed, self._answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._stop = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[str] = Counter()  # by connection
        self._dialled: set[str] = set()  # ids of jobs that a gateway may know of
        self._turns: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopped: dict[str, float] = {}  # connections that a gateway stopped, and when
        self._held_back: list[str] = []  # busy at the last claim
        self._reserved = 0
        self._recording = 0
        self._answers: list[Settlement] = []

    def wake(self) -> None:
        """There may be something to claim."""
        self._woken.set()

    @property
    def seats(self) -> int:
        """How many more may be claimed: CONCURRENCY in flight, twice that not yet recorded."""
        unanswered = len(self._sending) + self._reserved
        unrecorded = unanswered + len(self._answers) + self._recording
        return max(0, min(self.settings.concurrency - unanswered, 2 * self.settings.concurrency - unrecorded))

    @property
    def busy(self) -> list[str]:
        """Connections that get no more seats now: a slow one must leave some to the others."""
        share = max(1, self.settings.concurrency - self.settings.concurrency // 4)
        serial = self.gateways.default.name in ONE_AT_A_TIME
        return [connection for connection, count in self._in_flight.items() if count >= (4 if serial else share)]

    @property
    def idle(self) -> bool:
        return not (self._sending or self._reserved or self._answers or self._recording)

    async def run(self, stop: asyncio.Event) -> None:
        """Claims until `stop`; then waits for what is in flight, at most DRAIN_SECONDS."""
        self._stop = stop
        claimer = asyncio.create_task(self._claim_until_stop())
        others = [asyncio.create_task(self._record_for_ever()), asyncio.create_task(self._wake_to_stop())]
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
        recorder = asyncio.create_task(self._record_for_ever())
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

    async def claim(self, rows: Sequence[Enqueue] = ()) -> Claim | None:
        """Enqueues `rows`, if any, and starts to send what there are seats for. None where there are none."""
        seats = self.seats
        if not seats:
            return None
        self._reserved += seats
        self._held_back = self.busy
        try:
            claim = await self.store.claim(
                seats, self.gateways.default.name, self.settings.lease_seconds, self._held_back, rows
            )
        finally:
            self._reserved -= seats
        self.next_ready_at = claim.next_ready_at
        self._launch(claim)
        return claim

    async def _claim_until_stop(self) -> None:
        while not self._stop.is_set():
            try:
                await self._turn()
            except StoreRefused as e:
                log.error("jobs cannot be claimed", reason=str(e))
                await wait_for(self._stop, self.settings.poll_interval_seconds)

    async def _wake_to_stop(self) -> None:
        await self._stop.wait()
        self._woken.set()
        self._freed.set()

    async def _turn(self) -> None:
        self.vitals.beat("dispatcher")
        self._woken.clear()
        claim = await self.claim()
        if claim is None or claim.jobs:
            await self._seats_worth_a_call()
        else:
            await self._until_ready()

    async def _seats_worth_a_call(self) -> None:
        """Waits for a quarter of the seats, or for a moment after the first."""
        enough = max(1, self.settings.concurrency // 4)
        while not self.seats and not self._stop.is_set():
            self._freed.clear()
            await wait_for(self._freed, 1)
            if self._recording:
                self.vitals.beat("dispatcher")  # it waits for the recorder, whose own beat tells
        deadline = time.monotonic() + LINGER_SECONDS
        while self.seats < enough and (left := deadline - time.monotonic()) > 0:
            self._freed.clear()
            await wait_for(self._freed, left)

    async def _until_ready(self) -> None:
        """Sleeps until something is known to be ready or is announced, at most an interval."""
        wait = self.settings.poll_interval_seconds
        if self.next_ready_at:
            wait = min(wait, max(0.005, self.clock.until(self.next_ready_at)))
        await wait_for(self._woken, wait)

    def _launch(self, claim: Claim) -> None:
        if claim.jobs:
            self.metrics.claimed.inc(len(claim.jobs))
            self.metrics.batch("claim", len(claim.jobs))
        for row in claim.jobs:
            job = Job(
                row["id"],
                claim.token,
                row,
                parse_time(row["scheduled_at"]),
                claim.asked_at + float(row["lease_left"]),
            )
            self._in_flight[job.connection] += 1
            task = asyncio.create_task(self._send(job))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send(self, job: Job) -> None:
        try:
            settlement = await self._attempt(job)
        except asyncio.CancelledError:
            settlement = self._interrupted(job)
        except Exception:
            log.exception("a gateway raised instead of answering", gateway=job.row["gateway"], job=job.id)
            settlement = self._settle(job, Unconfirmed("the worker failed while it was sending; its log says how."))
        self._leave(job)
        self._answers.append(settlement)
        self._answered.set()

    def _interrupted(self, job: Job) -> Settlement:
        """What waited for its turn was not dialled."""
        if job.id in self._dialled:
            return self._settle(job, Unconfirmed("the worker was stopped before the gateway answered."))
        return Settlement(job.id, job.token, "released", wait=0)

    def _leave(self, job: Job) -> None:
        self._dialled.discard(job.id)
        self._in_flight[job.connection] -= 1
        if not self._in_flight[job.connection]:
            del self._in_flight[job.connection]
            self._turns.pop((job.row["gateway"], job.row["sender"] or job.connection), None)
        self._freed.set()
        if self._held_back:
            self._woken.set()

    async def _attempt(self, job: Job) -> Settlement:
        try:
            gateway = self.gateways.of(job.row["gateway"])
            message = to_message(job.row, self.settings)
        except BadMessage as e:
            return self._settle(job, Rejected(str(e)))
        except ConfigError as e:
            return self._settle(job, Stopped(str(e)))
        if gateway.name not in ONE_AT_A_TIME:
            return await self._dial(job, gateway, message)
        async with self._turns[gateway.name, message.sender]:
            return await self._dial(job, gateway, message)

    async def _dial(self, job: Job, gateway: Gateway, message: Message) -> Settlement:
        """Sends it on its slot, or hands it back untouched when that can no longer be."""
        wait = self.clock.until(parse_time(job.row["send_at"]))
        if (wait > 0 and await wait_for(self._stop, wait)) or not self._may_dial(job, gateway):
            return Settlement(job.id, job.token, "released", wait=0)
        self._dialled.add(job.id)
        outcome = await gateway.send(message)
        if isinstance(outcome, Stopped):
            self._stopped[job.connection] = time.monotonic()
            self.on_stopped()
        return self._settle(job, outcome)

    def _may_dial(self, job: Job, gateway: Gateway) -> bool:
        now = time.monotonic()
        if (
            self._stop.is_set()
            or now + gateway.timeout > job.lease_ends
            or now - self._stopped.get(job.connection, -STOPPED_SECONDS) < STOPPED_SECONDS
        ):
            return False
        # A paced message that missed its slot would come too close to the next one.
        tolerance = job.row["slot_tolerance"]
        return tolerance is None or -self.clock.until(parse_time(job.row["send_at"])) < max(0.01, tolerance)

    def _settle(self, job: Job, outcome: Outcome) -> Settlement:
        settlement = result.settle(job.id, job.token, job.row["attempts"], outcome, self.settings, self.clock.now())
        log.info(
            settlement.outcome,
            message=job.row["scheduled_message_id"],
            connection=job.connection,
            to=mask(job.row["recipient"]),
            late_ms=round(-self.clock.until(job.due) * 1000),
            **({"reason": settlement.error} if settlement.error else {}),
        )
        return settlement

    async def _record_for_ever(self) -> None:
        while True:
            self.vitals.beat("recorder")
            await wait_for(self._answered, IDLE_SECONDS)
            self._answered.clear()
            while self._answers:
                self.vitals.beat("recorder")
                await self._record()

    async def _record(self) -> None:
        batch, self._answers = self._answers[:RECORD_AT_ONCE], self._answers[RECORD_AT_ONCE:]
        self.metrics.settled([settlement.outcome for settlement in batch])
        self._recording += len(batch)
        try:
            await self._write(batch)
        finally:
            self._recording -= len(batch)
            self._freed.set()
            if any(s.wait is not None for s in batch):
                self._woken.set()

    async def _write(self, batch: list[Settlement]) -> None:
        """An outcome that the database refuses must not take its neighbours with it."""
        try:
            ours = await self.store.record(batch)
        except StoreRefused as e:
            if len(batch) == 1:
                log.error(
                    "an outcome cannot be recorded; its job becomes unconfirmed", job=batch[0].job_id, reason=str(e)
                )
                return
            await self._write(batch[: len(batch) // 2])
            await self._write(batch[len(batch) // 2 :])
            return
        if fenced := len(batch) - len(ours):
            self.metrics.fenced_out.inc(fenced)
            log.warning("answers came after their jobs had been settled otherwise", count=fenced)

    async def _drain(self, claimer: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + self.settings.drain_seconds
        while (self._sending or self._reserved) and (left := deadline - time.monotonic()) > 0:
            self._freed.clear()
            await wait_for(self._freed, min(left, 0.1))
        late = [claimer, *self._sending]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        while not self.idle and time.monotonic() < deadline + 5:
            self._freed.clear()
            await wait_for(self._freed, 0.5)
        if lost := len(self._answers) + self._recording:
            log.error(
                "stopped before it could be recorded what became of messages; they become unconfirmed", count=lost
            )


def to_message(row: dict[str, Any], settings: Settings) -> Message:
    """A claimed row as the gateways want it. Raises BadMessage."""
    what = plan.read(row, row["gateway"], settings)
    return Message(
        job_id=row["id"],
        connection_id=row["connection_id"],
        sender=row["sender"] or ("" if row["gateway"] == "cloud" else row["connection_id"]),
        recipient=row["recipient"],
        kind=what.kind,
        text=what.text,
        media=what.media,
        template=what.template,
        asset_id=what.asset_id,
        attempt=row["attempts"],
        more=what.more,
        throttled=row["throttled"],
        scheduled_message_id=row["scheduled_message_id"],
        owner_id=row["owner_id"],
        api_key=row["api_key"],
    )


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
