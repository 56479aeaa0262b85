"""When it looks for what dead daemons left, and what it does about jobs that are no longer in Redis."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.helpers.loops import NOTHING, ToldGateway, ToldStore, parts, settings
from tests.helpers.nouns import hand_over
from tests.helpers.polling import auntil
from worker import waiting
from worker.daemon import run_until
from worker.errors import StoreError
from worker.models import HandedOver, Outcome, Rejected, Retry, Stopped, Unconfirmed
from worker.sending.rescue import Rescue
from worker.waiting import Alarm
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals


async def looks(lease: float, poll: float, known: float) -> int:
    """How often it looks in the moment after an agenda that tells of an expiry in `known` seconds."""
    store: Any = ToldStore()
    gateways: Any = ToldGateway()
    short = settings().model_copy(update={"lease_seconds": lease, "poll_interval_seconds": poll})
    rescue = Rescue(store, gateways, short, Metrics(), Vitals(60), Alarm(lambda: None))
    stop = asyncio.Event()
    task = asyncio.create_task(rescue.run(stop))
    rescue.plan(replace(NOTHING, next_expiry_at=store.clock.now() + timedelta(seconds=known)))
    try:
        await auntil(lambda: store.rescues, 0.5)
    except AssertionError:
        pass
    finally:
        stop.set()
        task.cancel()
        await asyncio.wait([task])
    return int(store.rescues)


async def test_what_was_put_aside_is_not_forgotten_for_an_agenda_that_was_read_before() -> None:
    """Nor for a pass that was under way: else it waits for the next poll."""
    store: Any = ToldStore()
    gateways: Any = ToldGateway()
    rescue = Rescue(store, gateways, settings(), Metrics(), Vitals(60), Alarm(lambda: None))
    at = store.clock.now() + timedelta(seconds=5)
    for later in (at, at + timedelta(seconds=3)):
        rescue.again(later)
        rescue.plan(NOTHING)
        assert rescue._alarm.at < time.monotonic() + 6

    await rescue.rescue()

    assert rescue._alarm.at > time.monotonic() + 6, "it was dealt with"


@pytest.mark.parametrize(
    ("lease", "poll", "known", "soon"),
    [
        (0.1, 3600, 86_400, True),  # a lease that was made after the agenda was read
        (60, 3600, 0.1, True),
        (60, 3600, -5, True),
        (60, 1, 86_400, False),
    ],
)
async def test_it_looks_at_the_next_expiry_that_it_knows_and_once_a_lease(
    lease: float, poll: float, known: float, soon: bool
) -> None:
    assert (await looks(lease, poll, known) > 0) == soon


@pytest.mark.parametrize(
    ("outcome", "asked"),
    [
        (HandedOver(), 3),
        (Rejected("too long"), 3),
        (Stopped("Redis cannot be reached"), 1),
        (Retry("Redis cannot be reached"), 1),
        (Unconfirmed("Redis did not answer"), 1),
    ],
)
async def test_where_redis_does_not_answer_the_others_are_left_for_the_next_pass(outcome: Outcome, asked: int) -> None:
    store, gateway = ToldStore(), ToldGateway(outcome, "bullmq")
    store.hand_overs = [hand_over() for _ in range(3)]
    await parts(store, gateway).rescue.rescue()
    assert [message.job_id for message in gateway.sent] == [order.id for order in store.hand_overs][:asked]


async def test_one_that_cannot_be_handed_over_any_more_does_not_keep_the_next() -> None:
    store, gateway = ToldStore(), ToldGateway(HandedOver(), "bullmq")
    store.hand_overs = [hand_over(message=""), hand_over()]
    await parts(store, gateway).rescue.rescue()
    assert [message.job_id for message in gateway.sent] == [store.hand_overs[1].id]


@pytest.mark.parametrize("rescued", [0, 2])
async def test_where_somebody_died_while_sending_what_else_they_left_is_claimed_for(rescued: int) -> None:
    store = ToldStore()
    store.rescued = rescued
    daemon = parts(store, ToldGateway())
    daemon.claims.reset(3600)
    await daemon.rescue.rescue()
    told = daemon.claims.at <= time.monotonic()
    assert bool(told) is bool(rescued)


async def test_one_that_fails_is_tried_again_soon_and_said_once_until_one_has_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.01)
    store = ToldStore()
    rescue, stop = parts(store, ToldGateway()).rescue, asyncio.Event()
    expired = replace(NOTHING, next_expiry_at=store.clock.now())
    store.fault = StoreError("away")
    with capture_logs() as lines:
        running = asyncio.create_task(run_until(stop, rescue.run(stop)))
        rescue.plan(expired)
        await auntil(lambda: store.rescues >= 3)
        store.fault, rescues = None, store.rescues
        await auntil(lambda: store.rescues > rescues)
        store.fault = StoreError("away")
        rescue.plan(expired)
        await auntil(lambda: store.rescues >= rescues + 3)
        stop.set()
        await running
    assert [line["reason"] for line in lines if "a rescue failed" in line["event"]] == ["away", "away"]


async def test_it_looks_when_the_next_lease_ends_that_its_last_pass_told_of() -> None:
    store = ToldStore()
    rescue, stop = parts(store, ToldGateway()).rescue, asyncio.Event()
    store.next_expiry_at = store.clock.now() + timedelta(seconds=0.1)
    await rescue.rescue()
    store.next_expiry_at = None
    running = asyncio.create_task(run_until(stop, rescue.run(stop)))
    await auntil(lambda: store.rescues == 2, 5, "a second pass")
    stop.set()
    await running
