"""When it looks again, and what becomes of rows that it could not enqueue."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.helpers.loops import NOTHING, ToldGateway, ToldStore, claimed, due, parts
from tests.helpers.polling import auntil
from worker import waiting
from worker.errors import StoreError, StoreMisconfigured, StoreRefused
from worker.jobs import Decision, Job
from worker.sending import releaser
from worker.sending import scheduler as module
from worker.sending.scheduler import Scheduler

DAILY = {"recurrence_pattern": "daily", "timezone": "UTC"}


@pytest.fixture
def store() -> ToldStore:
    return ToldStore()


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(scheduler.run(stop))
    try:
        yield
    finally:
        stop.set()
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("found", "won", "late", "again"),
    [
        (0, 0, True, True),  # it fell due between the two looks
        (3, 3, True, True),  # there is more, or somebody held it
        (3, 0, True, False),  # another daemon is at it
        (0, 0, False, False),
        (3, 3, False, False),
    ],
)
async def test_what_fell_due_between_its_two_looks_does_not_wait_for_the_next_poll(
    store: ToldStore, monkeypatch: pytest.MonkeyPatch, found: int, won: int, late: bool, again: bool
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    store.pending = [[due(store, -1) for _ in range(found)]]
    store.won = lambda rows: [row.id for row in rows][:won]
    store.agenda = replace(NOTHING, next_due_at=store.clock.now() + timedelta(seconds=-5 if late else 500))
    async with running(scheduler):
        await auntil(lambda: scheduler.idle or store.agendas > 1, 5, "its first poll")
    assert (store.agendas > 1) is again


@pytest.mark.parametrize("gone", [2.0, 0.4])
async def test_it_comes_back_before_the_rows_that_it_could_hold_are_gone(store: ToldStore, gone: float) -> None:
    """There are more than an agenda holds. Where there is no time for that, it comes back when they are gone."""
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    until = store.clock.now() + timedelta(seconds=gone)
    store.agenda = replace(NOTHING, complete_until=until)
    async with running(scheduler):
        await auntil(lambda: store.agendas == 1)
        store.agenda = NOTHING
        await auntil(lambda: store.agendas == 2, 5, "a poll before the hour is over")
    assert (store.clock.until(until) > 0) == (gone > 2 * module.MOST_EARLY)


@pytest.mark.parametrize("claimed", ["nothing", "refused", "away"])
async def test_a_prepared_row_that_somebody_else_took_or_edited_is_looked_at_again(
    store: ToldStore, monkeypatch: pytest.MonkeyPatch, claimed: str
) -> None:
    monkeypatch.setattr(releaser, "AGAIN_SECONDS", 0.05)

    def jobs(*_: object) -> list[Job]:
        if claimed == "nothing":
            return []
        raise StoreRefused("no") if claimed == "refused" else StoreError("away")

    def won(rows: Sequence[Decision]) -> list[str]:
        raise StoreError("away")

    store.jobs, store.won = jobs, won
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    row = due(store, 0.2)
    store.agenda = replace(NOTHING, upcoming=[row])
    async with running(scheduler):
        await auntil(lambda: store.agendas == 1)
        store.agenda = NOTHING
        await auntil(lambda: store.claims, 5, "the row being claimed on its instant")
        await auntil(lambda: store.looks >= 2, 5, "another look before the hour is over")


async def test_a_row_that_no_call_can_carry_fails_alone_and_its_series_goes_on(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    rows = [due(store, -1, **DAILY) for _ in range(5)]

    def won(plans: Sequence[Decision]) -> list[str]:
        if any(p.id == rows[3].id and not p.error for p in plans):
            raise StoreRefused("our own rule")
        return [p.id for p in plans]

    store.pending, store.won = [rows], won
    assert await scheduler.poll() == 5
    assert {p.id for p in store.enqueued} == {row.id for row in rows}
    [failed] = [p for p in store.enqueued if p.error]
    assert failed.id == rows[3].id
    assert (failed.recipient, "The operator's log says why" in str(failed.error)) == (None, True)
    assert failed.next_at
    assert failed.timezone == "UTC"


async def test_where_its_series_is_refused_too_it_fails_alone(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler

    def won(plans: Sequence[Decision]) -> list[str]:
        if any(p.next_at for p in plans):
            raise StoreRefused("our own rule")
        return [p.id for p in plans]

    store.pending, store.won = [[due(store, -1, **DAILY)]], won
    assert await scheduler.poll() == 1
    [failed] = store.enqueued
    assert failed.error
    assert failed.next_at is None


async def test_a_row_that_can_be_written_in_no_form_does_not_end_the_pass(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    rows = [due(store, -1) for _ in range(3)]

    def won(plans: Sequence[Decision]) -> list[str]:
        if any(p.id == rows[0].id for p in plans):
            raise StoreRefused("our own rule")
        return [p.id for p in plans]

    store.pending, store.won = [rows], won
    assert await scheduler.poll() == 2


@pytest.mark.parametrize(
    ("seconds", "status", "polls"),
    [
        (5, "pending", True),
        (5, None, True),  # nothing is said of its state
        (None, "pending", True),  # nor of its time
        (None, None, True),
        (5, "sent", False),
        (None, "sent", False),
        (9000, "pending", False),
        (-5, "pending", True),
    ],
)
async def test_a_change_is_polled_for_if_it_falls_due_before_the_next_poll(
    store: ToldStore, seconds: float | None, status: str | None, polls: bool
) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    async with running(scheduler):
        await auntil(lambda: scheduler.idle)
        at = None if seconds is None else (store.clock.now() + timedelta(seconds=seconds)).isoformat()
        scheduler.on_change(at, status)
        assert scheduler.idle is not polls


async def test_a_change_with_a_time_that_nobody_can_read_is_polled_for(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    async with running(scheduler):
        await auntil(lambda: scheduler.idle)
        scheduler.on_change("soon", "pending")
        assert not scheduler.idle


async def test_what_falls_due_while_the_agenda_is_read_is_still_taken(store: ToldStore) -> None:
    """The agenda that is read meanwhile no longer tells of it, and the next poll may be an hour away."""
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    row, later = due(store, 0.05), due(store, 3000)
    store.agenda = replace(NOTHING, upcoming=[row, later])
    await scheduler.poll()
    await auntil(lambda: store.clock.until(row.scheduled_at) <= 0)
    store.agenda = replace(NOTHING, upcoming=[later])
    await scheduler.poll()
    async with running(scheduler):
        await auntil(lambda: store.taken_early)
    assert store.taken_early == [[row.id]]


async def test_what_an_agenda_no_longer_tells_of_before_its_time_is_not_taken(store: ToldStore) -> None:
    """It was edited, or withdrawn."""
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    kept = due(store, 0.4)
    store.agenda = replace(NOTHING, upcoming=[due(store, 0.3), kept])
    await scheduler.poll()
    store.agenda = replace(NOTHING, upcoming=[kept])
    async with running(scheduler):
        await auntil(lambda: store.taken_early)
    assert store.taken_early == [[kept.id]]


async def test_a_row_that_was_taken_is_not_taken_again_though_an_agenda_still_tells_of_it(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    row, later = due(store, 0.1), due(store, 0.6)
    store.agenda = replace(NOTHING, upcoming=[row, later])
    async with running(scheduler):
        await auntil(lambda: store.taken_early)
        await scheduler.poll()
        await auntil(lambda: len(store.taken_early) > 1)
    assert store.taken_early == [[row.id], [later.id]]


async def test_an_edit_of_a_row_that_was_taken_is_taken_too(store: ToldStore) -> None:
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    row = due(store, 0.1)
    store.agenda = replace(NOTHING, upcoming=[row])
    async with running(scheduler):
        await auntil(lambda: store.taken_early)
        store.agenda = replace(NOTHING, upcoming=[due(store, 0.3, id=row.id, revision=1)])
        await scheduler.poll()
        await auntil(lambda: len(store.taken_early) > 1)
    assert store.taken_early == [[row.id], [row.id]]


async def test_who_has_more_than_there_are_seats_goes_after_the_others(store: ToldStore) -> None:
    """They wait for their own connections' turns, and nobody else for them."""
    scheduler: Scheduler = parts(store, ToldGateway(), concurrency=3).scheduler
    many = [due(store, -0.01, owner_id="chain", connection_id=f"chain-{n}") for n in range(5)]
    few = [due(store, -0.005, owner_id=f"shop-{n}") for n in range(2)]
    store.agenda = replace(NOTHING, upcoming=[*many, *few])
    await scheduler.poll()
    async with running(scheduler):
        await auntil(lambda: len(store.taken_early) > 1)
    assert store.taken_early == [[row.id for row in few], [row.id for row in many]]


async def test_a_claim_that_is_under_way_when_it_is_told_to_stop_comes_to_its_end(store: ToldStore) -> None:
    """What it brings has left the table for this daemon: unsent and not handed back, it would be late by a lease."""
    gateway = ToldGateway()
    daemon = parts(store, gateway)
    row = due(store, 0.05)
    store.jobs = lambda *_: [claimed(store, scheduled_message_id=row.id)]
    store.may_claim.clear()
    store.agenda = replace(NOTHING, upcoming=[row])
    async with running(daemon.scheduler):
        await auntil(lambda: store.taken_early)
    store.may_claim.set()
    await auntil(lambda: len(gateway.sent) == 1, 5, "what was claimed being sent")


async def test_every_look_ahead_is_told_to_those_who_wait_for_it(store: ToldStore) -> None:
    told: list[object] = []
    scheduler: Scheduler = parts(store, ToldGateway(), listeners=[told.append, told.append]).scheduler
    await scheduler.poll()
    assert told == [NOTHING, NOTHING]


async def test_a_batch_that_meets_a_grant_that_is_missing_is_told_of_and_does_not_keep_the_next(
    store: ToldStore,
) -> None:
    scheduler: Scheduler = parts(store, ToldGateway(), batch_size=2).scheduler
    rows = [due(store, -1) for _ in range(4)]

    def won(plans: Sequence[Decision]) -> list[str]:
        if any(p.id == rows[0].id for p in plans):
            raise StoreMisconfigured("permission denied for table audit")
        return [p.id for p in plans]

    store.pending, store.won = [rows], won
    with pytest.raises(StoreMisconfigured, match="audit"):
        await scheduler.poll()
    assert {p.id for p in store.enqueued} == {row.id for row in rows[2:]}
    assert await scheduler.poll() == 0, "the next pass begins with a clean slate"


async def test_a_pass_that_fails_is_said_once_and_again_after_one_that_worked(
    store: ToldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.01)
    scheduler: Scheduler = parts(store, ToldGateway()).scheduler
    store.fault = StoreError("away")
    with capture_logs() as lines:
        async with running(scheduler):
            await auntil(lambda: store.looks >= 3)
            store.fault = None
            await auntil(lambda: store.agendas and scheduler.idle)
            store.fault, looks = StoreError("away"), store.looks
            scheduler.wake()
            await auntil(lambda: store.looks >= looks + 2)
    assert [line["reason"] for line in lines if "a pass" in line["event"]] == ["away", "away"]
