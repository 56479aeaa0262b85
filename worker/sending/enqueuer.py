"""Writes decisions down: rows become jobs, or fail. One that the database refuses does not hold up its neighbours."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import structlog

from worker.errors import StoreOverfull, StoreRefused, WorkerError
from worker.jobs import Decision
from worker.planning import plan
from worker.store.refused import Refused, say_refused
from worker.store.store import Store
from worker.waiting import Alarm
from worker.watch.metrics import Metrics

log = structlog.get_logger()


class Enqueuer:
    """`claims` is told when there may be something to claim."""

    def __init__(self, store: Store, metrics: Metrics, claims: Alarm) -> None:
        self.store, self.metrics, self.claims = store, metrics, claims

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
