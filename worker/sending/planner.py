"""Decides about rows: looks up together whom they are to, then plans each by itself, without holding up the others."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime

import structlog

from worker.config import Settings
from worker.errors import LACKING
from worker.jobs import Decision, Due, Known
from worker.planning import plan
from worker.store.store import Store
from worker.waiting import Alarm

log = structlog.get_logger()

TURN_SECONDS = 0.005  # of planning at a stretch; then the loop is the others' for as long
AGAIN_SECONDS = (
    1.0  # until the next look at a row that was held, edited or taken, or for which this machine lacked something
)


class Planner:
    """`polls` is told where a row has to be looked at again."""

    def __init__(self, store: Store, settings: Settings, polls: Alarm) -> None:
        self.store, self.settings, self.polls = store, settings, polls

    async def plan(self, rows: Sequence[Due]) -> list[Decision]:
        """Of those that can be planned. Never more than half of the loop's time, however dear the rules are."""
        known = await self.store.look_up_recipients([row.id for row in rows])
        now, decisions, began = self.store.clock.now(), list[Decision](), time.monotonic()
        for row in rows:
            if time.monotonic() - began > TURN_SECONDS:
                await asyncio.sleep(TURN_SECONDS)
                began = time.monotonic()
            if decision := self._decide(row, known.get(row.id), now):
                decisions.append(decision)
        return decisions

    def _decide(self, row: Due, known: Known | None, now: datetime) -> Decision | None:
        """A row that we cannot even think about fails; the daemon does not. None for one that must be tried again.

        Planning reads no file of ours: what the operating system refuses meanwhile is a library's, and no row's fault.
        """
        try:
            return plan.decide(row, known, self.settings, now)
        except LACKING as fault:
            log.error("a row waits for what this machine lacks", message=row.id, reason=str(fault))
            self.polls.within(AGAIN_SECONDS)
            return None
        except Exception:
            log.exception("a row cannot be planned", message=row.id)
            error = "This message could not be understood. The operator's log says why."
            return Decision(row.id, row.revision, plan.new_job_id(), error=error)
