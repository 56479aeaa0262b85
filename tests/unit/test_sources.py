"""Campaigns, rehearsals and appointments go on beside each other: what one of them meets is no other's trouble."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.gateways import server as wire
from tests.helpers.loops import settings
from tests.helpers.polling import auntil
from worker.errors import StoreAbsent, StoreMisconfigured, StoreRefused
from worker.sources.loop import Sources
from worker.store.api import Api
from worker.store.appointments import Appointments
from worker.store.approvals import Approvals
from worker.store.audit import Audit, Place
from worker.store.campaigns import Campaigns
from worker.store.clock import Clock
from worker.store.rehearsals import Rehearsals
from worker.watch.metrics import Metrics
from worker.watch.vitals import Vitals

NAMES = ("campaigns", "rehearsals", "appointments")


class Told:
    """A source that counts its passes; each raises `fault`, and one that hangs never ends."""

    def __init__(self, fault: Exception | None = None, hangs: bool = False) -> None:
        self.fault, self.hangs, self.passes = fault, hangs, 0

    async def advance(self) -> float:
        self.passes += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault:
            raise self.fault
        await asyncio.sleep(0)
        return 0.0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "bad",
    [
        Told(StoreRefused("a rule of theirs")),
        Told(StoreMisconfigured("permission denied")),
        Told(StoreAbsent("no such function")),
        Told(OSError(24, "Too many open files")),
        Told(hangs=True),
    ],
    ids=["refused", "a grant is missing", "absent", "no descriptors", "no answer"],
)
async def test_one_that_cannot_go_on_keeps_no_other(name: str, bad: Told) -> None:
    told = {each: bad if each == name else Told() for each in NAMES}
    sources = Sources(*cast(Any, told.values()), settings(), Vitals(poll_interval=60))
    others = [one for one in told.values() if one is not bad]
    with capture_logs() as said:
        running = asyncio.create_task(sources.run(asyncio.Event()))
        await auntil(lambda: bad.passes and all(one.passes > 5 for one in others))
        assert not running.done()
        running.cancel()
    assert all(name in line["event"] for line in said)
    assert len(said) == (0 if bad.hangs else 1)


# The first that each loop, webhook and page asks of a database that may have the core alone.
FIRST_CALLS: dict[str, Callable[[Api], Awaitable[object]]] = {
    "campaigns": lambda api: Campaigns(api).get_agenda(),
    "rehearsals": lambda api: Rehearsals(api).take(),
    "appointments": lambda api: Appointments(api).numbers_asked(1),
    "the list of templates": lambda api: Approvals(api).record("1022", [], is_default=True),
    "a template's webhook": lambda api: Approvals(api).record_statuses([], is_default=True),
    "exports": lambda api: Audit(api).read(Place(), 1),
    "status": lambda api: Campaigns(api).get_status(600),
}


@pytest.mark.parametrize("who", FIRST_CALLS)
async def test_a_database_with_the_core_alone_is_told_at_once_and_is_no_outage(who: str) -> None:
    """A call that waits for its function would keep it said that Supabase is away, and hide when it really is."""
    absent = wire.answer(404, {"code": "PGRST202", "message": "Could not find the function in the schema cache"})
    trouble: list[str] = []
    async with wire.Server([absent]) as server:
        asked = settings(supabase_url=server.url)
        api = await Api.connect(asked, Clock(), Metrics(), on_trouble=trouble.append)
        try:
            async with asyncio.timeout(10):
                with pytest.raises(StoreAbsent):
                    await FIRST_CALLS[who](api)
        finally:
            await api.aclose()
    assert trouble == []
