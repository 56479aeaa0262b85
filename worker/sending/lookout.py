"""Says whom the daemon waits for: transactions that stay open and hold rows that it needs."""

import asyncio
import contextlib

import structlog

from worker.errors import WorkerError
from worker.store.calls import Agenda, Row
from worker.store.store import Store
from worker.waiting import wait_for
from worker.watch.vitals import Holder, Vitals

log = structlog.get_logger()

LOOK_SECONDS = 10.0  # between two looks


class Lookout:
    """Each poll tells; while there is none, we ask: it may be waiting for just that."""

    def __init__(self, store: Store, vitals: Vitals) -> None:
        self.store, self.vitals = store, vitals
        self._seen, self._said = set[str](), set[str]()  # transactions of the last look

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        while not stop.is_set():
            self.vitals.beat("lookout")
            if self.vitals.store_trouble:
                with contextlib.suppress(WorkerError):  # the others say what is wrong
                    self.take_note(await self.store.get_holders())
            await wait_for(stop, LOOK_SECONDS)

    def plan(self, agenda: Agenda) -> None:
        """Takes note of whom a poll found."""
        self.take_note(agenda.holders)

    def take_note(self, holders: list[Row]) -> None:
        """Says each once. One whose age its role may not see counts when it is seen a second time."""
        held = [one for one in holders if one["seconds"] is not None or one["transaction"] in self._seen]
        self.vitals.holders = [Holder(one["seconds"] or 0.0, one["words"]) for one in held]
        for one in held:
            if one["transaction"] not in self._said:
                log.warning("a transaction holds what this daemon needs", reason=one["words"])
        self._said = {one["transaction"] for one in held}
        self._seen = {one["transaction"] for one in holders}
