"""Rows become jobs, or fail: all that is due, or what is given. One that is refused does not hold up its neighbours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import structlog

from worker.errors import StoreMisconfigured, StoreOverfull, StoreRefused, WorkerError
from worker.jobs import Decision
from worker.planning import plan
from worker.sending.planner import Line, Planner
from worker.store.refused import Refused, say_refused
from worker.store.store import Store
from worker.waiting import Alarm
from worker.watch.metrics import Metrics

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some of what is due: how many were decided about, how many left `pending`.

    is_last: nothing more is due. wrong: why the database took none of them, where that is its set-up's fault.
    """

    decided: int
    won: int
    is_last: bool
    wrong: StoreMisconfigured | None


class Enqueuer:
    """`claims` is told when there may be something to claim."""

    def __init__(self, store: Store, planner: Planner, metrics: Metrics, claims: Alarm) -> None:
        self.store, self.planner, self.metrics, self.claims = store, planner, metrics, claims

    async def enqueue_due(self, size: int) -> AsyncIterator[Batch]:
        """Enqueues all that is due, `size` rows at a time, and tells of each batch when it is written."""
        batches = self._due(size)
        decisions = await anext(batches, None)
        while decisions is not None:
            # The next rows are read and planned while these are written.
            (won, wrong), following = await asyncio.gather(self._enqueue_or_go_on(decisions), anext(batches, None))
            yield Batch(len(decisions), won, following is None, wrong)
            decisions = following

    async def _due(self, size: int) -> AsyncIterator[list[Decision]]:
        """All that is due, planned, in batches, each with the next rows of everybody who has any."""
        line = Line()
        rows = await self.store.get_pending()
        several = len(rows) > size
        while rows:
            last = rows[-1].place
            line.add(rows)
            while line:
                if several:  # more than one batch: whoever is not among the oldest rows must not wait for them all
                    line.add(await self.store.get_due_of_others(line.payers))
                yield await self.planner.plan(line.take(size))
            rows, several = await self.store.get_pending(after=last), True

    async def _enqueue_or_go_on(self, decisions: list[Decision]) -> tuple[int, StoreMisconfigured | None]:
        """What one whole batch meets, such as a trigger without a grant, the next one need not meet."""
        try:
            return await self.enqueue(decisions), None
        except StoreMisconfigured as e:
            return 0, e

    async def enqueue(self, decisions: Sequence[Decision], early: float = 0.0) -> int:
        """Enqueues what it can, up to `early` seconds before it is due. How many rows left `pending`."""
        if not decisions:
            return 0
        try:
            done = await self.store.enqueue(decisions, early)
        except (StoreRefused, StoreOverfull) as e:
            if len(decisions) == 1:
                return await self._give_up(decisions[0], e)
            half = len(decisions) // 2
            return await self.enqueue(decisions[:half], early) + await self.enqueue(decisions[half:], early)
        self.claims.wake()
        self.say_refused(done.refused)
        told = set(done.ids) - {row.id for row in done.refused}
        for decision in decisions:
            if decision.id in told:
                self._say(decision)
        return len(done.ids)

    def say_refused(self, refused: Sequence[Refused]) -> None:
        """Counts and tells of what the database refused of rows."""
        self.metrics.refused.inc(len(refused))
        self.metrics.failed.inc(sum(row.became == "failed" for row in refused))
        say_refused("a row", refused)

    async def _give_up(self, decision: Decision, reason: WorkerError) -> int:
        """It fails, and its series goes on; where that is refused too, it fails alone."""
        log.error("a row cannot be enqueued", message=decision.id, reason=str(reason))
        error = "The database refused to schedule this message. The operator's log says why."
        for failed in (replace(decision, recipient=None, error=error), plan.failed(decision, error)):
            with contextlib.suppress(StoreRefused):
                return len((await self.store.enqueue([failed])).ids)
        return 0

    def _say(self, decision: Decision) -> None:
        if decision.error:
            self.metrics.failed.inc()
            log.info("failed", message=decision.id, reason=decision.error)
        if decision.missed:
            self.metrics.missed.inc(decision.missed)
            log.warning(
                "occurrences were missed; only the latest counts",
                message=decision.id,
                missed=decision.missed,
                occurrence=decision.occurrence and decision.occurrence.isoformat(),
            )
