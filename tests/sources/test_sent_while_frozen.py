"""Who is frozen does not wait until everybody else of a hundred thousand is; here ten are frozen at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.helpers.rows import one
from tests.sources.conftest import Shop, soon, take_forward
from tests.sources.test_many_recipients import look
from worker.daemon import Parts
from worker.sources import campaigns as campaigns_module

COUNT = 35


@pytest.fixture(autouse=True)
def by_tens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaigns_module, "FROZEN_AT_ONCE", 10)


async def one_look(daemon: Parts, shop: Shop) -> dict[str, Any]:
    """What the daemon does for campaigns until it first comes to messages, and these; the run, its counts looked at."""
    await daemon.sources.campaigns.advance()
    await daemon.scheduler.poll()
    await daemon.dispatcher.send_all()
    return look(shop.db) or {"total": None, "sent": 0, "finished_at": None}


async def some_sent(daemon: Parts, shop: Shop) -> dict[str, Any]:
    """Until the first have gone out, with others still to be frozen."""
    for _ in range(20):
        run = await one_look(daemon, shop)
        if run["sent"]:
            assert run["total"] is None
            return run
    raise AssertionError("nothing was sent")


async def test_the_first_are_sent_before_the_last_are_known_and_the_counts_add_up_at_every_look(shop, parts):
    shop.contacts(COUNT)
    campaign = shop.campaign()
    daemon = await parts()

    run = await some_sent(daemon, shop)
    while run["finished_at"] is None:
        run = await one_look(daemon, shop)

    assert (run["status"], run["total"], run["sent"]) == ("completed", COUNT, COUNT)
    assert [m["message"] for m in shop.messages(campaign)] == [f"Hello Name {n}" for n in range(COUNT)]


@contextmanager
def held(stack: dict[str, str]) -> Iterator[None]:
    """The run, as by whoever freezes a portion of it: what is counted meanwhile is put down."""
    with psycopg.connect(stack["DATABASE_URL"]) as holder:
        holder.execute("select from public.campaign_runs for no key update")
        yield


async def sent_while_held(daemon: Parts, shop: Shop, stack: dict[str, str]) -> int:
    """How many were sent, and put down."""
    while not one(shop.db, "select count(*) from scheduled_messages where status = 'pending'"):
        await daemon.sources.campaigns.advance()
    with held(stack):
        await daemon.scheduler.poll()
        await daemon.dispatcher.send_all()
    return int(one(shop.db, "select sum(sent) from private.run_tallies"))


async def test_what_is_counted_while_a_portion_is_frozen_is_added_up_with_the_next(shop, parts, stack):
    """The run is held through most of its freezing; its window must not look full for so long."""
    shop.contacts(COUNT)
    campaign = shop.campaign()
    daemon = await parts()
    before = await some_sent(daemon, shop)
    put_down = await sent_while_held(daemon, shop, stack)

    source = daemon.sources.campaigns
    await source.campaigns.freeze(before["id"], source.numbers.rules, "mock", 10)

    assert shop.run(campaign)["sent"] == before["sent"] + put_down
    assert one(shop.db, "select count(*) from private.run_tallies") == 0


async def test_cancelled_with_nothing_under_way_but_what_was_put_down_it_is_over(shop, parts, stack):
    shop.contacts(COUNT)
    campaign = shop.campaign()
    daemon = await parts()
    before = await some_sent(daemon, shop)
    put_down = await sent_while_held(daemon, shop, stack)

    shop.set(campaign, status="cancelled")

    run = shop.run(campaign)
    assert (run["status"], run["sent"], run["pending"]) == ("cancelled", before["sent"] + put_down, 0)
    assert run["finished_at"]


async def test_the_last_that_is_put_down_is_added_up_though_nothing_of_the_run_follows(shop, parts, stack):
    shop.contacts(5)
    campaign = shop.campaign()
    daemon = await parts()
    assert await sent_while_held(daemon, shop, stack) == 5

    source = daemon.sources.campaigns
    while not source._estimate_at:  # every ten seconds
        await source.advance()
    await source.campaigns.estimate()
    await take_forward(daemon)

    assert (shop.run(campaign)["status"], shop.run(campaign)["sent"]) == ("completed", 5)


async def test_to_fail_at_the_daily_limit_is_too_late_for_what_has_begun(shop, parts):
    """None of the counts may be taken back."""
    shop.contacts(COUNT)
    shop.settings(daily_limit=20)
    campaign = shop.campaign()
    daemon = await parts()
    await some_sent(daemon, shop)

    shop.set(campaign, at_daily_limit="fail")
    await take_forward(daemon)

    run = look(shop.db)
    assert run is not None
    assert (run["total"], run["sent"], run["pending"], run["failed"]) == (COUNT, 20, 15, 0)


async def test_a_number_of_a_later_portion_that_was_sent_to_is_not_sent_to_again(shop, parts):
    shop.contacts(COUNT)
    shop.db.execute(
        "insert into contacts (owner_id, phone_number, contact_name, labels)"
        " values (%s, '+919876500001', 'Twice', '{gold}')",
        (shop.user.id,),
    )
    campaign = shop.campaign()
    daemon = await parts()

    await some_sent(daemon, shop)
    await take_forward(daemon)

    run = shop.run(campaign)
    assert (run["total"], run["sent"], run["skipped"]) == (COUNT + 1, COUNT, 1)


@pytest.mark.parametrize("columns", [{"at_daily_limit": "fail"}, {"zone_of": "recipient"}], ids=str)
async def test_where_the_last_may_decide_for_the_first_nothing_is_made_before_all_are_frozen(shop, parts, columns):
    """The daily limit refuses all or none; by the recipients' own clocks somebody else may be first."""
    shop.contacts(COUNT)
    shop.campaign(scheduled_at=soon(40), timezone="Asia/Kolkata", **columns)
    daemon = await parts()

    for _ in range(20):
        await daemon.sources.campaigns.advance()
        run = look(shop.db)
        if run and run["total"] is not None:
            break
        if run:  # nor for another daemon, whatever it has read
            assert (await daemon.sources.campaigns.campaigns.advance(run["id"], 100)).made == 0
        assert shop.db.execute("select from scheduled_messages").fetchone() is None

    assert run["total"] == COUNT
    await take_forward(daemon, send=False)
    assert shop.db.execute("select from scheduled_messages").fetchone() is not None


async def test_with_nothing_under_way_it_is_not_over_before_all_are_frozen(shop, parts):
    """Whatever another daemon has read of it."""
    shop.contacts(COUNT)
    campaign = shop.campaign()
    daemon = await parts()
    run = await some_sent(daemon, shop)
    while run["pending"]:
        await daemon.sources.campaigns.campaigns.advance(run["id"], 100)
        await daemon.scheduler.poll()
        await daemon.dispatcher.send_all()
        run = shop.run(campaign)

    assert await daemon.sources.campaigns.campaigns.finish(run["id"]) is None

    assert (shop.run(campaign)["total"], shop.run(campaign)["finished_at"]) == (None, None)


async def test_cancelled_meanwhile_it_counts_those_who_were_frozen(shop, parts):
    shop.contacts(COUNT)
    campaign = shop.campaign()
    await some_sent(await parts(), shop)

    shop.set(campaign, status="cancelled")

    run = shop.run(campaign)
    assert (run["status"], run["pending"]) == ("cancelled", 0)
    assert run["sent"] + run["cancelled"] == run["total"] == run["frozen_position"] < COUNT


async def test_paused_meanwhile_it_stops_and_resumed_it_goes_on_to_everybody_once(shop, parts):
    shop.contacts(COUNT)
    campaign = shop.campaign()
    daemon = await parts()
    before = await some_sent(daemon, shop)

    shop.set(campaign, status="paused")
    await take_forward(daemon)
    paused = shop.run(campaign)
    shop.set(campaign, status="scheduled")
    await take_forward(daemon)

    assert (paused["status"], paused["total"], paused["sent"]) == ("paused", None, before["sent"])
    run = shop.run(campaign)
    assert (run["status"], run["total"], run["sent"]) == ("completed", COUNT, COUNT)
    assert len({m["contact_id"] for m in shop.messages(campaign)}) == COUNT
