"""Writes down what became of jobs, in batches that grow with the work."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from worker.errors import StoreOverfull, StoreRefused, WorkerError
from worker.jobs import Settlement
from worker.planning.recipient import mask
from worker.store.answers import Done
from worker.store.refused import say_refused
from worker.store.store import Store
from worker.waiting import Alarm
from worker.watch.log import info_many
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

log = structlog.get_logger()

AT_ONCE = 1000


class Recorder:
    """on_recorded: is told of every batch, also of one that could not be written."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        vitals: Vitals,
        on_recorded: Callable[[list[Settlement]], None],
        on_put_aside: Callable[[datetime], None],
    ) -> None:
        """on_put_aside: is told when what could not be written now is to be written."""
        self.store, self.metrics, self._on_recorded, self._on_put_aside = store, metrics, on_recorded, on_put_aside
        self._alarm = Alarm(partial(vitals.beat, "recorder"), first=math.inf)
        self._answers: list[Settlement] = []
        self.writing = 0

    def add(self, settlement: Settlement) -> None:
        self._answers.append(settlement)
        self._alarm.wake()

    @property
    def unrecorded(self) -> int:
        return len(self._answers) + self.writing

    async def run(self) -> None:
        """Until it is cancelled."""
        while await self._alarm.rings():
            while self._answers:
                self._alarm.beat()
                await self._record()

    async def _record(self) -> None:
        batch, self._answers = self._answers[:AT_ONCE], self._answers[AT_ONCE:]
        self._say(batch)
        self.writing += len(batch)
        try:
            await self._write(batch)
        finally:
            self.writing -= len(batch)
            self._on_recorded(batch)

    def _say(self, batch: list[Settlement]) -> None:
        self.metrics.settled([settlement.verdict for settlement in batch])
        self.metrics.by_source((settlement.job.source, settlement.verdict) for settlement in batch)
        self.metrics.lags(max(0.0, settlement.late) for settlement in batch if settlement.verdict == "sent")
        info_many([line(settlement) for settlement in batch if settlement.verdict != "released"])

    async def _write(self, batch: list[Settlement]) -> None:
        """An outcome that no call can carry must not take its neighbours with it."""
        try:
            done = await self.store.record(batch)
        except (StoreRefused, StoreOverfull) as e:
            if len(batch) == 1:
                await self._write_plainly(batch[0], e)
                return
            await self._write(batch[: len(batch) // 2])
            await self._write(batch[len(batch) // 2 :])
            return
        self._say_recorded(done)

    async def _write_plainly(self, settlement: Settlement, reason: WorkerError) -> None:
        """Without the gateway's words, which may hold what no column takes."""
        log.error("an outcome is written down without its words", job=settlement.job_id, reason=str(reason))
        error = settlement.error and "The gateway's words cannot be written down; the log has them."
        try:
            self._say_recorded(await self.store.record([replace(settlement, message_id=None, error=error)]))
        except StoreRefused as e:
            log.error(
                "an outcome cannot be recorded; its job becomes unconfirmed", job=settlement.job_id, reason=str(e)
            )

    def _say_recorded(self, done: Done) -> None:
        self.metrics.refused.inc(len(done.refused))
        say_refused("an outcome", done.refused)
        if done.again_at:
            self._on_put_aside(done.again_at)
        if done.ids:
            self.metrics.fenced_out.inc(len(done.ids))
            log.warning("answers came after their jobs had been settled otherwise", count=len(done.ids))


def line(settlement: Settlement) -> dict[str, Any]:
    """What the log says of it."""
    job = settlement.job
    said = {
        "event": settlement.verdict,
        "message": job.scheduled_message_id,
        "connection": job.connection_id,
        "to": mask(job.recipient),
        "late_ms": round(settlement.late * 1000),
    }
    return said | {"reason": settlement.error} if settlement.error else said
