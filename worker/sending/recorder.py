"""Writes down what became of jobs, in batches that grow with the work."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from worker.errors import StoreOverfull, StoreRefused, WorkerError
from worker.store.calls import Row, Settlement
from worker.store.store import Store
from worker.waiting import wait_for
from worker.watch.log import info_many, say_refused
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

AT_ONCE = 1000
IDLE_SECONDS = 20  # how long a loop with nothing to do waits before it says that it is alive


class Recorder:
    """`on_recorded` is told of every batch, also of one that could not be written."""

    def __init__(self, store: Store, metrics: Metrics, vitals: Vitals) -> None:
        self.store, self.metrics, self.vitals = store, metrics, vitals
        self.on_recorded: Callable[[list[Settlement]], None] = lambda _: None
        self._answered = asyncio.Event()
        self._answers: list[Settlement] = []
        self.writing = 0

    def add(self, settlement: Settlement) -> None:
        self._answers.append(settlement)
        self._answered.set()

    @property
    def unrecorded(self) -> int:
        return len(self._answers) + self.writing

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self.vitals.beat("recorder")
            await wait_for(self._answered, IDLE_SECONDS)
            self._answered.clear()
            while self._answers:
                self.vitals.beat("recorder")
                await self._record()

    async def _record(self) -> None:
        batch, self._answers = self._answers[:AT_ONCE], self._answers[AT_ONCE:]
        self._say(batch)
        self.writing += len(batch)
        try:
            await self._write(batch)
        finally:
            self.writing -= len(batch)
            self.on_recorded(batch)

    def _say(self, batch: list[Settlement]) -> None:
        self.metrics.settled([settlement.outcome for settlement in batch])
        self.metrics.lags(max(0.0, s.line["late_ms"] / 1000) for s in batch if s.line and s.outcome == "sent")
        info_many([settlement.line for settlement in batch if settlement.line])

    async def _write(self, batch: list[Settlement]) -> None:
        """An outcome that no call can carry must not take its neighbours with it."""
        try:
            fenced_out, refused = await self.store.record(batch)
        except (StoreRefused, StoreOverfull) as e:
            if len(batch) == 1:
                await self._write_plainly(batch[0], e)
                return
            await self._write(batch[: len(batch) // 2])
            await self._write(batch[len(batch) // 2 :])
            return
        self._say_recorded(fenced_out, refused)

    async def _write_plainly(self, settlement: Settlement, reason: WorkerError) -> None:
        """Without the gateway's words, which may hold what no column takes."""
        log.error("an outcome is written down without its words", job=settlement.job_id, reason=str(reason))
        error = settlement.error and "The gateway's words cannot be written down; the log has them."
        try:
            self._say_recorded(*await self.store.record([replace(settlement, message_id=None, error=error)]))
        except StoreRefused as e:
            log.error(
                "an outcome cannot be recorded; its job becomes unconfirmed", job=settlement.job_id, reason=str(e)
            )

    def _say_recorded(self, fenced_out: list[str], refused: list[Row]) -> None:
        self.metrics.refused.inc(len(refused))
        say_refused("an outcome", refused)
        if fenced_out:
            self.metrics.fenced_out.inc(len(fenced_out))
            log.warning("answers came after their jobs had been settled otherwise", count=len(fenced_out))
