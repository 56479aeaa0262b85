"""Whose turn it is, and what becomes of the rows: nobody's rows hold up anybody else's."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog

from worker.config import Settings
from worker.errors import LACKING
from worker.jobs import Decision, Due, Known
from worker.planning import plan
from worker.store.store import Store
from worker.waiting import Alarm

log = structlog.get_logger()

SHARE = 100  # rows of one while another waits
TURN_SECONDS = 0.0005  # of planning at a stretch; then whoever else has something to do has a turn
AGAIN_SECONDS = (
    1.0  # until the next look at a row that was held, edited or taken, or for which this machine lacked something
)


def of_the_few(payers: Sequence[str], most: int) -> list[int]:
    """The places of those who are here at most so many times; all places where that is everybody, or nobody."""
    times = Counter(payers)
    few = [place for place, name in enumerate(payers) if times[name] <= most]
    return few or list(range(len(payers)))


class Line:
    """Rows that wait to be planned: one queue a payer, in the order in which they were listed.

    However many rows somebody has, everybody else's next ones come with them.
    """

    def __init__(self) -> None:
        self._queues: dict[str, deque[Due]] = {}
        self._ids: set[str] = set()  # of those in the queues
        self._taken: tuple[list[Due], list[Due]] = [], []  # the batch being written, and the one before

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def payers(self) -> list[str]:
        """Who waits here and need not be looked for."""
        return [*self._queues]

    def add(self, rows: Iterable[Due]) -> None:
        """Those that are not here already."""
        known = self._ids.union(row.id for rows in self._taken for row in rows)
        for row in rows:
            if row.id not in known:
                known.add(row.id)
                self._ids.add(row.id)
                self._queues.setdefault(row.payer, deque()).append(row)

    def take(self, number: int) -> list[Due]:
        """The next ones: up to SHARE of everybody, and again while there is room."""
        taken: list[Due] = []
        while self._queues and len(taken) < number:
            name, queue = next(iter(self._queues.items()))
            del self._queues[name]
            share = min(SHARE, len(queue), number - len(taken))
            taken += [queue.popleft() for _ in range(share)]
            if queue:
                self._queues[name] = queue  # behind the others
        self._ids.difference_update(row.id for row in taken)
        self._taken = taken, self._taken[0]
        return taken


class Planner:
    """Looks up together whom rows are to, then decides about each by itself.

    polls: is told where a row has to be looked at again.
    """

    def __init__(self, store: Store, settings: Settings, polls: Alarm) -> None:
        self.store, self.settings, self.polls = store, settings, polls

    async def plan(self, rows: Sequence[Due]) -> list[Decision]:
        """Of those that can be planned. Whoever else has something to do waits half a millisecond, or for one rule."""
        known = await self.store.look_up_recipients([row.id for row in rows])
        now, decisions, began = self.store.clock.now(), list[Decision](), time.monotonic()
        for row in rows:
            if time.monotonic() - began > TURN_SECONDS:
                await asyncio.sleep(0)
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
