"""Says whom the daemon waits for: transactions that stay open and hold rows that it needs."""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

import structlog

from worker.errors import WorkerError
from worker.store.answers import Agenda, Holder
from worker.store.store import Store
from worker.waiting import Alarm
from worker.watch.vitals import Hold, Vitals

log = structlog.get_logger()

LOOK_SECONDS = 10.0  # between two looks


class Lookout:
    """Each poll tells; while there is none, we ask: it may be waiting for just that."""

    def __init__(self, store: Store, vitals: Vitals) -> None:
        self.store, self.vitals = store, vitals
        self._alarm = Alarm(partial(vitals.beat, "lookout"), every=LOOK_SECONDS)
        self._seen, self._said = set[str](), set[str]()  # transactions of the last look

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        while await self._alarm.rings(stop):
            if self.vitals.store_trouble:
                with contextlib.suppress(WorkerError):  # the others say what is wrong
                    self.take_note(await self.store.get_holders())

    def plan(self, agenda: Agenda) -> None:
        """Takes note of whom a poll found."""
        self.take_note(agenda.holders)

    def take_note(self, holders: Sequence[Holder]) -> None:
        """Says each once. One whose age its role may not see counts when it is seen a second time."""
        held = [one for one in holders if one.seconds is not None or one.transaction in self._seen]
        self.vitals.holders = [Hold(one.seconds or 0.0, one.words) for one in held]
        for one in held:
            if one.transaction not in self._said:
                log.warning("a transaction holds what this daemon needs", reason=one.words)
        self._said = {one.transaction for one in held}
        self._seen = {one.transaction for one in holders}
