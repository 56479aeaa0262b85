"""When it claims: as often as seats, connections and handed-back jobs make it worth while; never beyond its seats."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.helpers.loops import NOTHING, ToldGateway, ToldStore, claimed, parts
from tests.helpers.polling import auntil
from worker import waiting
from worker.errors import StoreError, StoreRefused
from worker.sending.dispatcher import Dispatcher


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(dispatcher.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def settle() -> None:
    """Whatever can happen without waiting has happened."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("fault", [StoreRefused("no"), StoreError("away"), RuntimeError("ours")])
async def test_a_claim_that_fails_keeps_no_seat(fault: Exception) -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway, concurrency=3).dispatcher

    def refuse(*_: object) -> Any:
        raise fault

    store.jobs = refuse
    for _ in range(4):
        with pytest.raises(type(fault)):
            await dispatcher.claim()
    assert (dispatcher.seats, dispatcher.idle) == (3, True)
    store.jobs = lambda seats, _: [claimed(store) for _ in range(seats)]
    claim = await dispatcher.claim()
    assert claim is not None
    assert len(claim.jobs) == 3
    await auntil(lambda: len(gateway.sent) == 3)


async def test_a_job_that_was_handed_back_is_claimed_again_without_a_poll() -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway).dispatcher
    left = iter([1, 60])
    store.jobs = lambda *_: [claimed(store, lease_left=lease)] if (lease := next(left, None)) else []
    async with running(dispatcher):
        await auntil(lambda: len(gateway.sent) == 1, 5, "the job being claimed again")
    assert [settlement.verdict for settlement in store.recorded] == ["released", "sent"]


@pytest.mark.parametrize(("ready", "claims"), [(-1, 4), (60, 1), (None, 1)])
async def test_one_pass_goes_on_past_those_who_have_nothing_to_send_while_others_are_ready(
    ready: float | None, claims: int
) -> None:
    """Twenty connections that are paused were all that a pass looked at."""
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway).dispatcher
    store.ready_at = None if ready is None else store.clock.now() + timedelta(seconds=ready)
    given = iter([[], [], [claimed(store)]])

    def jobs(*_: object) -> list[Any]:
        found = next(given, [])
        if found:  # then nobody is ready any more
            store.ready_at = None
        return found

    store.jobs = jobs
    await dispatcher.send_all()
    assert (len(store.claims), len(gateway.sent)) == (claims, int(claims > 1))


async def test_one_pass_does_not_ask_for_ever_for_what_another_daemon_holds() -> None:
    store, gateway = ToldStore(), ToldGateway()
    store.ready_at = store.clock.now()
    await parts(store, gateway).dispatcher.send_all()
    assert 1 < len(store.claims) <= 100


@pytest.mark.parametrize("busy", ["serial connection", "connection", "payer"])
async def test_whoever_was_held_back_is_claimed_for_as_soon_as_a_seat_of_theirs_is_free(busy: str) -> None:
    """One that takes one message at a time may hold four seats, any other three in four; an owner nine in ten."""
    store, gateway = ToldStore(), ToldGateway(name="waha" if busy == "serial connection" else "mock")
    gateway.open.clear()
    dispatcher = parts(store, gateway).dispatcher
    chain = {"owner_id": "chain", "gateway": gateway.name}
    shops = {"serial connection": ["shop"] * 4, "connection": ["shop"] * 15, "payer": [f"shop-{n}" for n in range(18)]}
    held = ["chain" if busy == "payer" else "shop"]
    for missing in (1, 0):
        sender = parts(store, gateway).sender
        sender.in_flight.update(shops[busy][missing:])
        sender.paid_for["chain"] = len(shops[busy][missing:])
        sender._serial.update(["shop"] if busy == "serial connection" else [])
        assert sender.busy() == ([] if missing else held)
    given = iter([[claimed(store, shop, **chain) for shop in shops[busy]]])
    store.jobs = lambda *_: next(given, [])
    async with running(dispatcher):
        await auntil(lambda: len(gateway.sent) >= (1 if busy == "serial connection" else len(shops[busy])))
        dispatcher.wake()
        await auntil(lambda: store.claims[-1] == held, 5, "a claim that leaves it out")
        gateway.open.set()
        await auntil(lambda: store.claims[-1] == [], 5, "a claim that leaves nobody out")


async def test_what_is_not_written_down_holds_seats_so_that_a_database_that_hangs_is_not_owed_ever_more() -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway, concurrency=3).dispatcher
    store.jobs = lambda seats, _: [claimed(store, f"shop-{n}", gateway="mock") for n in range(seats)]
    store.may_record.clear()
    async with running(dispatcher):
        await auntil(lambda: len(gateway.sent) == 6, 5, "twice the seats")
        await settle()
        assert (dispatcher.seats, len(gateway.sent)) == (0, 6)
        store.may_record.set()
        await auntil(lambda: len(gateway.sent) > 6, 5, "seats being free again")


async def test_never_more_are_sent_at_once_than_there_are_seats() -> None:
    store, gateway = ToldStore(), ToldGateway()
    gateway.open.clear()
    dispatcher = parts(store, gateway, concurrency=3).dispatcher
    store.jobs = lambda seats, _: [claimed(store, f"shop-{n}", gateway="mock") for n in range(seats)]
    async with running(dispatcher):
        await auntil(lambda: len(gateway.sent) == 3)
        await settle()
        assert (dispatcher.seats, len(gateway.sent), len(store.claims)) == (0, 3, 1)
        gateway.open.set()


async def test_what_is_due_to_be_ready_is_claimed_then() -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway).dispatcher
    async with running(dispatcher):
        await auntil(lambda: len(store.claims) == 1)
        store.ready_at = store.clock.now() + timedelta(seconds=0.1)
        dispatcher.wake()
        await auntil(lambda: len(store.claims) == 2, 5, "a claim by a word")
        store.ready_at, known = None, store.ready_at
        await auntil(lambda: len(store.claims) == 3, 5, "a claim at the instant that the last one told")
        assert store.clock.until(known) <= 0


async def test_what_a_transaction_holds_is_asked_for_ever_less_often_until_something_is_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that its claims, which wait for it, do not take the seats of all others again and again."""
    store = ToldStore()
    dispatcher = parts(store, ToldGateway()).dispatcher
    store.ready_at = store.clock.now() - timedelta(seconds=5)
    waits = list[float]()  # seconds until the next claim, as each claim sets them
    monkeypatch.setattr(dispatcher.claims, "within", waits.append)

    for jobs in (0, 0, 0, 0, 0, 0, 0, 0, 1, 0):
        store.jobs = lambda *_, number=jobs: [claimed(store) for _ in range(number)]
        await dispatcher.claim()

    assert waits == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5, 0, 0.02]


async def test_a_claim_that_fails_is_said_once_and_again_after_one_that_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.01)
    store = ToldStore()
    dispatcher = parts(store, ToldGateway()).dispatcher
    store.fault = StoreError("away")
    with capture_logs() as lines:
        async with running(dispatcher):
            await auntil(lambda: len(store.claims) >= 3)
            store.fault, claims = None, len(store.claims)
            dispatcher.wake()
            await auntil(lambda: len(store.claims) > claims)
            store.fault = StoreError("away")
            dispatcher.wake()
            await auntil(lambda: len(store.claims) >= claims + 3)
    assert [line["reason"] for line in lines if "cannot be claimed" in line["event"]] == ["away", "away"]


async def test_two_claims_at_once_do_not_take_the_same_seats() -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway, concurrency=3).dispatcher
    store.jobs = lambda seats, _: [claimed(store, f"shop-{n}", gateway="mock") for n in range(seats)]
    store.may_claim.clear()
    first = asyncio.create_task(dispatcher.claim())
    await auntil(lambda: store.claims)
    assert (dispatcher.seats, dispatcher.idle) == (0, False)
    assert await asyncio.wait_for(dispatcher.claim(), 5) is None
    store.may_claim.set()
    claim = await first
    assert claim is not None
    assert (len(claim.jobs), len(store.claims)) == (3, 1)


async def test_what_a_claim_brings_that_is_under_way_at_the_end_is_handed_back() -> None:
    """No other daemon could take it before its lease is over."""
    store, gateway = ToldStore(), ToldGateway()
    dispatcher, stop = parts(store, gateway, drain_seconds=0).dispatcher, asyncio.Event()
    store.jobs = lambda *_: [claimed(store)]
    store.may_claim.clear()
    running = asyncio.create_task(dispatcher.run(stop))
    await auntil(lambda: store.claims)
    stop.set()
    await auntil(lambda: store.hurried, 5, "calls to Supabase being told that there is little time")
    await settle()
    store.may_claim.set()
    await asyncio.wait_for(running, 10)
    assert [settlement.verdict for settlement in store.recorded] == ["released"]
    assert gateway.sent == []


@pytest.mark.parametrize("known", [True, False])
async def test_an_agenda_tells_it_when_something_will_be_ready(known: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    dispatcher = parts(store, gateway).dispatcher
    async with running(dispatcher):
        await auntil(lambda: len(store.claims) == 1)
        ready_at = store.clock.now() + timedelta(seconds=0.1)
        dispatcher.plan(replace(NOTHING, next_ready_at=ready_at if known else None))
        await settle()
        assert len(store.claims) == 1
        if known:
            await auntil(lambda: len(store.claims) == 2, 5, "a claim at that instant")
            assert store.clock.until(ready_at) <= 0
