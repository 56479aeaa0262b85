"""Campaigns, rehearsals and appointments go on beside each other: what one of them meets is no other's trouble."""

import asyncio
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.helpers.loops import settings
from tests.helpers.polling import auntil
from worker.errors import StoreAbsent, StoreMisconfigured, StoreRefused
from worker.sources.loop import Sources
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
