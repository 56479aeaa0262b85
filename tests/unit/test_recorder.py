"""What became of jobs is written down, whatever one of them holds."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.helpers.loops import ToldStore
from tests.helpers.nouns import settlement as settled
from tests.helpers.polling import auntil
from worker.errors import StoreRefused
from worker.jobs import Settlement
from worker.sending.recorder import Recorder
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

POISON = "Poison"


def refuse(batch: Sequence[Settlement]) -> None:
    if any(settlement.error == POISON for settlement in batch):
        raise StoreRefused("our own rule")


def refuse_even_plain(batch: Sequence[Settlement]) -> None:
    if any(settlement.job_id == "poison" for settlement in batch):
        raise StoreRefused("our own rule")


@pytest.mark.parametrize("plain", [True, False], ids=["written without its words", "written in no form"])
@pytest.mark.parametrize(("number", "place"), [(n, place) for n in (1, 2, 3, 5, 8) for place in range(n)])
async def test_an_outcome_that_cannot_be_written_takes_none_with_it(number: int, place: int, plain: bool) -> None:
    store: Any = ToldStore()
    store.recording = refuse if plain else refuse_even_plain
    told = list[Settlement]()
    recorder = Recorder(store, Metrics(), Vitals(60), told.extend, lambda _: None)
    batch = [settled(f"job-{n}", "sent", message_id="m") for n in range(number)]
    batch[place] = settled("poison", "failed", message_id="m", error=POISON)
    for settlement in batch:
        recorder.add(settlement)
    await recorder._record()

    written = {settlement.job_id: settlement for settlement in store.recorded}
    assert len(written) == len(store.recorded)
    assert set(written) == {s.job_id for s in batch} - (set() if plain else {"poison"})
    if plain:
        assert (written["poison"].verdict, written["poison"].message_id) == ("failed", None)
        assert "the log has them" in str(written["poison"].error)
    assert told == batch
    assert recorder.unrecorded == 0


async def test_what_is_added_while_a_call_is_under_way_is_counted_and_goes_with_the_next() -> None:
    store: Any = ToldStore()
    recorder = Recorder(store, Metrics(), Vitals(60), lambda _: None, lambda _: None)
    store.may_record.clear()
    running = asyncio.create_task(recorder.run())
    recorder.add(settled("a", "sent"))
    await auntil(lambda: recorder.writing == 1)
    recorder.add(settled("b", "sent"))
    recorder.add(settled("c", "sent"))
    assert recorder.unrecorded == 3
    store.may_record.set()
    await auntil(lambda: recorder.unrecorded == 0)
    running.cancel()
    assert [settlement.job_id for settlement in store.recorded] == ["a", "b", "c"]
