"""What is dialled, and what is handed back untouched because its time, its lease or its connection is gone."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.loops import ToldGateway, ToldStore, claimed, parts
from tests.helpers.polling import auntil
from worker.models import Stopped
from worker.sending.sender import Job, Sender
from worker.store.calls import Claim, Settlement


def job(store: ToldStore, **columns: Any) -> Job:
    row = claimed(store, **columns)
    return Job.of(row, Claim("token", [row], None, asyncio.get_running_loop().time()))


def is_released(settlement: Settlement) -> bool:
    return (settlement.outcome, settlement.wait, settlement.error) == ("released", 0, None)


def made(store: ToldStore, gateway: ToldGateway) -> Sender:
    sender: Sender = parts(store, gateway).sender
    return sender


@pytest.mark.parametrize(("lease_left", "dialled"), [(60, True), (11, True), (9, False), (0, False), (-5, False)])
async def test_a_lease_that_may_end_before_the_gateway_answers_is_given_back(lease_left: float, dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    settlement = await made(store, gateway).send(job(store, lease_left=lease_left))
    assert (settlement.outcome == "sent", len(gateway.sent)) == (dialled, int(dialled))
    assert dialled or is_released(settlement)


@pytest.mark.parametrize(("seconds", "dialled"), [(30, True), (-0.5, False)])
async def test_a_slot_that_was_missed_is_not_made_up_for(seconds: float, dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    until = (store.clock.now() + timedelta(seconds=seconds)).isoformat()
    settlement = await made(store, gateway).send(job(store, send_until=until))
    assert (is_released(settlement), len(gateway.sent)) == (not dialled, int(dialled))


@pytest.mark.parametrize("ahead", [-1, 3600], ids=["its slot has come", "it waits for its slot"])
async def test_nothing_is_dialled_any_more_once_we_are_told_to_stop(ahead: float) -> None:
    store, gateway = ToldStore(), ToldGateway()
    sender = made(store, gateway)
    slot = (store.clock.now() + timedelta(seconds=ahead)).isoformat()
    sending = asyncio.create_task(sender.send(job(store, send_at=slot, lease_left=7200)))
    sender.stop.set()
    assert is_released(await asyncio.wait_for(sending, 5))
    assert gateway.sent == []


async def test_what_was_claimed_before_its_connection_stopped_goes_back_and_the_next_claim_s_goes_out() -> None:
    store, gateway = ToldStore(), ToldGateway(Stopped("session down"))
    sender, told = made(store, gateway), [0]
    sender.on_stopped = lambda: told.__setitem__(0, told[0] + 1)
    first, second, other = job(store), job(store), job(store, connection="other")
    assert (await sender.send(first)).outcome == "stopped"
    assert told == [1]
    assert is_released(await sender.send(second))
    assert len(gateway.sent) == 1
    gateway.outcome = ToldGateway().outcome
    assert (await sender.send(other)).outcome == "sent"
    assert (await sender.send(second._replace(claimed_at=second.claimed_at + 5))).outcome == "sent"


@pytest.mark.parametrize("dialled", [True, False])
async def test_a_send_that_is_cancelled_is_in_doubt_only_where_the_gateway_was_asked(dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    gateway.open.clear()
    sender = made(store, gateway)
    slot = (store.clock.now() + timedelta(seconds=-1 if dialled else 3600)).isoformat()
    sending = asyncio.create_task(sender.send(job(store, send_at=slot, lease_left=7200)))
    await auntil(lambda: gateway.sent if dialled else sender.in_flight["shop"])
    sending.cancel()
    settlement = await asyncio.wait_for(sending, 5)
    assert (settlement.outcome == "unconfirmed", is_released(settlement)) == (dialled, not dialled)
    assert (sender.in_flight, sender.paid_for, sender.busy()) == ({}, {}, [])
