"""What is dialled, and what is handed back untouched because its time, its lease or its connection is gone."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.loops import ToldGateway, ToldStore, claimed, parts
from tests.helpers.polling import auntil
from worker.jobs import Settlement
from worker.kinds import KINDS, kind_of
from worker.models import Message, Outcome, Stopped
from worker.sending.sender import Sender
from worker.store.clock import Clock


def is_released(settlement: Settlement) -> bool:
    return (settlement.verdict, settlement.wait, settlement.error) == ("released", 0, None)


def made(store: ToldStore, gateway: ToldGateway, on_stopped: Callable[[], None] = lambda: None) -> Sender:
    sender: Sender = parts(store, gateway, on_stopped).sender
    return sender


@pytest.mark.parametrize(("lease_left", "dialled"), [(60, True), (11, True), (9, False), (0, False), (-5, False)])
async def test_a_lease_that_may_end_before_the_gateway_answers_is_given_back(lease_left: float, dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    settlement = await made(store, gateway).send(claimed(store, lease_left=lease_left))
    assert (settlement.verdict == "sent", len(gateway.sent)) == (dialled, int(dialled))
    assert dialled or is_released(settlement)


@pytest.mark.parametrize(("seconds", "dialled"), [(30, True), (-0.5, False)])
async def test_a_slot_that_was_missed_is_not_made_up_for(seconds: float, dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    until = store.clock.now() + timedelta(seconds=seconds)
    settlement = await made(store, gateway).send(claimed(store, send_until=until))
    assert (is_released(settlement), len(gateway.sent)) == (not dialled, int(dialled))


@pytest.mark.parametrize("ahead", [-1, 3600], ids=["its slot has come", "it waits for its slot"])
async def test_nothing_is_dialled_any_more_once_we_are_told_to_stop(ahead: float) -> None:
    store, gateway = ToldStore(), ToldGateway()
    sender = made(store, gateway)
    slot = store.clock.now() + timedelta(seconds=ahead)
    sending = asyncio.create_task(sender.send(claimed(store, send_at=slot, lease_left=7200)))
    sender.halt()
    assert is_released(await asyncio.wait_for(sending, 5))
    assert gateway.sent == []


async def test_what_was_claimed_before_its_connection_stopped_goes_back_and_the_next_claim_s_goes_out() -> None:
    store, gateway = ToldStore(), ToldGateway(Stopped("session down"))
    told = [0]
    sender = made(store, gateway, lambda: told.__setitem__(0, told[0] + 1))
    first, second, other = claimed(store), claimed(store), claimed(store, connection="other")
    assert (await sender.send(first)).verdict == "stopped"
    assert told == [1]
    assert is_released(await sender.send(second))
    assert len(gateway.sent) == 1
    gateway.outcome = ToldGateway().outcome
    assert (await sender.send(other)).verdict == "sent"
    assert (await sender.send(replace(second, claimed_at=second.claimed_at + 5))).verdict == "sent"


@pytest.mark.parametrize("dialled", [True, False])
async def test_a_send_that_is_cancelled_is_in_doubt_only_where_the_gateway_was_asked(dialled: bool) -> None:
    store, gateway = ToldStore(), ToldGateway()
    gateway.open.clear()
    sender = made(store, gateway)
    slot = store.clock.now() + timedelta(seconds=-1 if dialled else 3600)
    sending = asyncio.create_task(sender.send(claimed(store, send_at=slot, lease_left=7200)))
    await auntil(lambda: gateway.sent if dialled else sender.in_flight["shop"])
    sending.cancel()
    settlement = await asyncio.wait_for(sending, 5)
    assert (settlement.verdict == "unconfirmed", is_released(settlement)) == (dialled, not dialled)
    assert (sender.in_flight, sender.paid_for, sender.busy()) == ({}, {}, [])


@pytest.mark.parametrize("gateway", KINDS)
async def test_whom_its_gateway_cannot_write_to_gets_nothing_though_it_was_enqueued_for_another(gateway: str) -> None:
    """A connection may get another gateway, by its settings or the environment, while its jobs wait."""
    takes = kind_of(gateway).takes_user_ids
    store, told = ToldStore(), ToldGateway(name=gateway)
    job = claimed(store, gateway=gateway, recipient="IN.1234567890123456")
    settlement = await made(store, told).send(job)
    assert (settlement.verdict, len(told.sent)) == (("sent", 1) if takes else ("failed", 0))
    assert takes or "choose a connection of it, or write the phone number" in str(settlement.error)


@pytest.mark.parametrize("paced", [False, True])
async def test_what_nothing_paces_is_dialled_when_its_instant_has_come_for_certain(paced: bool) -> None:
    """The database's clock is known within bounds alone; a message is never early. A slot is one of ours."""
    store, gateway = ToldStore(), NotingGateway()
    store.clock = Clock()
    asked_at = time.monotonic()
    store.clock.observe(datetime.now(UTC), asked_at - 0.4)
    gateway.clock = store.clock
    slot = store.clock.now() + timedelta(seconds=0.1)
    until = slot + timedelta(seconds=30) if paced else None
    settlement = await made(store, gateway).send(claimed(store, send_at=slot, send_until=until))
    assert settlement.verdict == "sent"
    [dialled_at] = gateway.at
    assert dialled_at >= slot + timedelta(seconds=0 if paced else store.clock.uncertainty)
    assert store.clock.uncertainty >= 0.2


class NotingGateway(ToldGateway):
    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.at: list[datetime] = []

    async def send(self, message: Message) -> Outcome:
        self.at.append(self.clock.now())
        return await super().send(message)


@pytest.mark.parametrize(
    ("fault", "dialled"),
    [(OSError(24, "Too many open files"), True), (MemoryError(), True), (OSError(24, "Too many open files"), False)],
)
async def test_what_this_machine_lacked_after_dialling_is_in_doubt_and_before_it_is_tried_again(
    fault: Exception, dialled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, gateway = ToldStore(), ToldGateway()
    sender = made(store, gateway)

    async def fail(*_: object) -> Any:
        raise fault

    monkeypatch.setattr(gateway if dialled else sender.resolver, "send" if dialled else "refuse_inside", fail)
    media = {"type": "image", "media_url": "https://e.com/a.png"}
    settlement = await sender.send(claimed(store, **media))
    assert settlement.verdict == ("unconfirmed" if dialled else "released")
    assert (settlement.wait is None) == dialled


@pytest.mark.parametrize(
    ("senders", "gateway", "together"),
    [(("a", "a"), "waha", 1), (("a", "b"), "waha", 2), ((None, None), "waha", 2), (("a", "a"), "mock", 2)],
)
async def test_connections_that_share_a_session_send_one_after_the_other(
    senders: tuple[str | None, str | None], gateway: str, together: int
) -> None:
    store, told = ToldStore(), ToldGateway(name=gateway)
    told.open.clear()
    sender = made(store, told)
    jobs = [claimed(store, f"shop-{n}", sender=name, gateway=gateway) for n, name in enumerate(senders)]
    sending = [asyncio.create_task(sender.send(one)) for one in jobs]
    await auntil(lambda: len(told.sent) == together)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(told.sent) == together
    told.open.set()
    assert [settlement.verdict for settlement in await asyncio.gather(*sending)] == ["sent", "sent"]


async def test_a_session_sends_what_is_written_to_one_before_the_many_that_were_claimed_earlier() -> None:
    store, told = ToldStore(), ToldGateway(name="waha")
    told.open.clear()
    sender = made(store, told)
    jobs = [claimed(store, sender="a", gateway="waha", priority=priority) for priority in (1, 1, 1, 0, 0)]
    sending = [asyncio.create_task(sender.send(one)) for one in jobs]
    await auntil(lambda: len(told.sent) == 1)
    sending[3].cancel()  # one that is called off while it waits keeps nobody waiting
    told.open.set()
    await asyncio.gather(*sending, return_exceptions=True)
    assert [message.job_id for message in told.sent] == [jobs[n].id for n in (0, 4, 1, 2)]
