"""The Cloud API's templates cost nobody else anything: not while a long list is read, not where nobody keeps them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.gateways import server as wire
from tests.helpers.loops import settings
from tests.helpers.webhooks import told_of_template
from worker.daemon import Parts, _hear
from worker.errors import StoreError
from worker.gateway.approved import ApprovedTemplates
from worker.gateway.client import Http
from worker.http.webhook import Update, parse_updates
from worker.models import StatusUpdate
from worker.sources.approvals import ApprovalSource
from worker.store.api import Api
from worker.store.approvals import Approvals
from worker.store.clock import Clock
from worker.watch.metrics import Metrics
from worker.watch.vitals import LEAST, Vitals
from worker.watch.watchdog import Watchdog

# PostgREST, "Errors": a function that is not there, and what a `raise` or a constraint of a project's own answers.
ABSENT = wire.answer(404, {"code": "PGRST202", "message": "Could not find the function in the schema cache"})
REFUSED = wire.answer(400, {"code": "23514", "message": "violates check constraint"})
KEPT = wire.answer(200, [{"held": 0}])
LISTED = {"name": "visit", "language": "en_US", "status": "APPROVED", "components": []}

Build = Callable[..., Awaitable[ApprovalSource]]


@pytest.fixture
def vitals() -> Vitals:
    return Vitals(poll_interval=1)


@pytest.fixture
async def source(vitals: Vitals) -> AsyncIterator[Build]:
    """await source(database, page, …): what the database answers, and the pages of Meta's list."""
    async with AsyncExitStack() as opened:

        async def build(database: wire.Behaviour, *pages: wire.Behaviour) -> ApprovalSource:
            supabase = await opened.enter_async_context(wire.Server([database] * 20))
            meta = await opened.enter_async_context(wire.Server([*pages]))
            api = await Api.connect(settings(supabase_url=supabase.url), Clock(), Metrics())
            opened.push_async_callback(api.aclose)
            listed = ApprovedTemplates(Http(meta.url, {}, timeout=30, connections=1), "1022")
            opened.push_async_callback(listed.aclose)
            return ApprovalSource(Approvals(api), listed, settings(), vitals)

        yield build


async def test_a_long_list_that_meta_gives_out_slowly_is_no_stuck_loop(source: Build, vitals: Vitals) -> None:
    ended: list[int] = []
    dog = Watchdog(vitals, tick=1, end=ended.append)

    def page(number: int) -> wire.Behaviour:
        paging = {"cursors": {"after": str(number)}, **({"next": "https://graph.facebook.com/x"} if number < 4 else {})}
        answer = wire.answer(200, {"data": [LISTED], "paging": paging})

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: wire.Server) -> None:
            for _ in range(int(LEAST / 2)):
                dog.look()
            await answer(reader, writer, server)

        return late

    approvals = await source(KEPT, *map(page, range(5)))
    approvals.alarm.beat()
    await approvals.read()
    assert ended == []


@pytest.mark.parametrize("database", [ABSENT, REFUSED], ids=["the core alone", "a rule of theirs"])
async def test_where_nobody_keeps_them_nobody_waits(source: Build, database: wire.Behaviour) -> None:
    approvals = await source(database, wire.answer(200, {"data": [LISTED]}))
    told = cast(Any, parse_updates(told_of_template()))
    async with asyncio.timeout(30):
        await approvals.read()
        await approvals.hear(told)


async def test_receipts_are_recorded_before_what_became_of_a_template() -> None:
    recorded: list[StatusUpdate] = []

    class Held:
        async def hear(self, told: object) -> None:
            raise StoreError("a transaction that stays open holds what this needs")

    class Kept:
        async def record_deliveries(self, updates: list[StatusUpdate]) -> None:
            recorded.extend(updates)

    receipt = StatusUpdate(None, "wamid.1", "delivered", datetime.now(UTC))
    updates: list[Update] = [*parse_updates(told_of_template()), receipt]
    with pytest.raises(StoreError):
        await _hear(cast(Parts, SimpleNamespace(approvals=Held(), store=Kept())), updates)
    assert recorded == [receipt]
