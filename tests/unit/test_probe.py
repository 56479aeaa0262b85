"""When it asks after connections that were stopped, and whom it tells what it found."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.loops import NOTHING, ToldGateway, ToldStore, parts
from tests.helpers.polling import auntil
from worker.daemon import run_until
from worker.errors import StoreError
from worker.models import Health
from worker.sending import probe as module
from worker.store.answers import Connection

PAUSED = Connection("shop", None, None)


@asynccontextmanager
async def running(loop: Any) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_until(stop, loop.run(stop)))
    try:
        yield
    finally:
        stop.set()
        await task


async def test_a_connection_that_is_back_is_claimed_for_at_once() -> None:
    store = ToldStore()
    daemon = parts(store, ToldGateway())
    async with running(daemon.dispatcher):
        await auntil(lambda: len(store.claims) == 1)
        store.paused = [PAUSED]
        await daemon.probe.probe()
        assert store.well == ["shop"]
        await auntil(lambda: len(store.claims) == 2, 5, "a claim, though it polls once an hour")


async def test_a_connection_that_is_still_stopped_wakes_nobody() -> None:
    store, gateway = ToldStore(), ToldGateway()
    gateway.health = Health(False, "session down")
    daemon = parts(store, gateway)
    async with running(daemon.dispatcher):
        await auntil(lambda: len(store.claims) == 1)
        store.paused = [PAUSED]
        await daemon.probe.probe()
        await asyncio.sleep(0)
        assert (store.well, len(store.claims)) == ([], 1)


@pytest.mark.parametrize("told_by", ["the agenda", "a stop", "the last look", "what was found"])
async def test_it_asks_again_when_it_was_told_to(told_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.05)
    store = ToldStore()
    probe = parts(store, ToldGateway()).probe
    soon = store.clock.now() + timedelta(seconds=0.05)
    looks = 1
    if told_by == "the agenda":
        probe.plan(replace(NOTHING, next_probe_at=soon))
    elif told_by == "a stop":
        probe.stopped()
    elif told_by == "the last look":
        store.probe_at = soon
        await probe.probe()
        looks, store.probe_at = 2, None
    else:
        store.probe_at = soon
        await probe._look_at(PAUSED)
        store.probe_at = None
    async with running(probe):
        await auntil(lambda: store.probes == looks, 5, "a look before the five minutes are over")


async def test_a_look_that_fails_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ToldStore()
    probe = parts(store, ToldGateway()).probe
    store.fault = StoreError("away")
    probe.plan(replace(NOTHING, next_probe_at=store.clock.now()))
    async with running(probe):
        await auntil(lambda: store.probes == 1)
        store.fault = None
        probe.plan(replace(NOTHING, next_probe_at=store.clock.now()))
        await auntil(lambda: store.probes == 2)


@pytest.mark.parametrize("paused", [True, False])
async def test_what_another_daemon_found_well_is_well_here_too(paused: bool) -> None:
    """The environment's gateway was found ill here; an agenda without a paused connection says that it is over."""
    store, gateway = ToldStore(), ToldGateway(name="cloud")
    gateway.health = Health(False, "this number is banned")
    daemon = parts(store, gateway)
    store.paused = [PAUSED]
    await daemon.probe.probe()
    assert daemon.vitals.problems() == ["gateway: this number is banned"]
    daemon.probe.plan(replace(NOTHING, next_probe_at=store.clock.now() if paused else None))
    assert bool(daemon.vitals.problems()) is paused


async def test_a_connection_of_its_own_gateway_or_sender_says_nothing_of_the_environments() -> None:
    store, gateway = ToldStore(), ToldGateway(name="cloud")
    gateway.health = Health(False, "this number is banned")
    daemon = parts(store, gateway)
    store.paused = [replace(PAUSED, sender="1066"), replace(PAUSED, gateway="waha")]
    await daemon.probe.probe()
    assert daemon.vitals.problems() == []


async def test_a_gateway_that_raises_while_it_is_asked_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    store, gateway = ToldStore(), ToldGateway(name="cloud")

    async def fail(_: str) -> Health:
        raise RuntimeError("ours")

    monkeypatch.setattr(gateway, "check", fail)
    daemon = parts(store, gateway)
    store.paused = [PAUSED]
    await daemon.probe.probe()
    assert store.well == []
    assert daemon.vitals.problems() == ["gateway: the worker failed while it asked; its log says how"]
