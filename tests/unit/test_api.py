"""One call to Supabase: what is waited for, what is not, and what the rest of the daemon is told meanwhile."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.gateways import server as wire
from tests.helpers.loops import settings
from tests.helpers.polling import auntil
from worker.errors import StoreAbsent, StoreMisconfigured, StoreOverfull, StoreRefused
from worker.store.api import Api
from worker.store.clock import Clock
from worker.store.reading import Calls
from worker.watch.metrics import Metrics

Connect = Callable[..., Awaitable[Api]]
ROW = {"fenced_out": ["job"], "refused": None}
GRANT = wire.answer(403, {"code": "42501", "message": "permission denied for table audit"})
AWAY = wire.answer(503, {"code": "PGRST001", "message": "Database client error"})
ABSENT = wire.answer(404, {"code": "PGRST202", "message": "Could not find the function in the schema cache"})
RULE = wire.answer(400, {"code": "23514", "message": "violates check constraint"})
LARGE = wire.html(413)


def fenced_out(row: Any) -> Any:
    return row["fenced_out"]


@pytest.fixture
async def connect() -> AsyncIterator[tuple[Connect, list[wire.Server]]]:
    """await connect(answer(…), …): an Api whose server meets each call with the next behaviour."""
    servers: list[wire.Server] = []
    async with AsyncExitStack() as opened:

        async def build(*script: wire.Behaviour, **told: Any) -> Api:
            servers.append(await opened.enter_async_context(wire.Server(list(script))))
            api = await Api.connect(settings(supabase_url=servers[-1].url), Clock(), Metrics(), **told)
            opened.push_async_callback(api.aclose)
            return api

        yield build, servers


@pytest.mark.parametrize(
    "passing",
    [
        AWAY,
        ABSENT,  # just after a migration
        wire.html(200),  # a captive portal
        wire.raw(200, b'[{"fenced', "application/json"),
        wire.answer(200, {"fenced_out": []}),
        wire.answer(200, []),
        wire.answer(200, [ROW, ROW]),  # somebody else's function: ours returns one row
        wire.answer(200, [{"message": "ok"}]),
        wire.answer(200, [None]),
        wire.reset_after_reading,
        LARGE,
    ],
    ids=range(11),
)
async def test_what_passes_is_waited_for(connect: tuple[Connect, list[wire.Server]], passing: wire.Behaviour) -> None:
    build, servers = connect
    api = await build(passing, wire.answer(200, [ROW]))
    assert await asyncio.wait_for(Calls(api).row("record_outcomes", {}, fenced_out), 30) == ["job"]
    assert len(servers[0].received) == 2


@pytest.mark.parametrize(
    ("met", "how", "error"),
    [
        (RULE, {}, StoreRefused),
        (RULE, {"patient": True}, StoreRefused),
        (GRANT, {}, StoreMisconfigured),
        (LARGE, {"divisible": True}, StoreOverfull),
        (ABSENT, {"optional": True}, StoreAbsent),
    ],
)
async def test_what_will_not_pass_by_itself_is_told_at_once(
    connect: tuple[Connect, list[wire.Server]], met: wire.Behaviour, how: dict[str, bool], error: type[Exception]
) -> None:
    build, servers = connect
    api = await build(met)
    with pytest.raises(error):
        await Calls(api).row("record_outcomes", {}, fenced_out, **how)
    assert len(servers[0].received) == 1


async def test_an_outcome_waits_for_a_grant_that_is_missing(connect: tuple[Connect, list[wire.Server]]) -> None:
    """It is known here alone: what is not written down would be unconfirmed for ever."""
    build, _ = connect
    api = await build(GRANT, GRANT, wire.answer(200, [ROW]))
    waiting = Calls(api).row("record_outcomes", {}, fenced_out, patient=True)
    assert await asyncio.wait_for(waiting, 30) == ["job"]


async def test_trouble_is_over_when_every_call_that_waited_is_answered(
    connect: tuple[Connect, list[wire.Server]],
) -> None:
    down, told = {"claim", "record"}, list[str]()

    async def by_name(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: wire.Server) -> None:
        asked = await wire.take(reader, server)
        is_down = asked.path.rpartition("/")[2] in down
        body = json.dumps({"code": "PGRST001", "message": "away"} if is_down else [{"id": "1"}]).encode()
        writer.write(wire.head(503 if is_down else 200, len(body), "application/json") + body)
        await writer.drain()

    build, _ = connect
    api = await build(by_name, on_trouble=told.append)
    calls = {name: asyncio.create_task(Calls(api).rows(name, lambda row: row["id"])) for name in sorted(down)}
    await auntil(lambda: len(told) >= 4)
    assert all("away" in reason for reason in told)
    down.remove("claim")
    assert await calls["claim"] == ["1"]
    assert "" not in told
    down.remove("record")
    assert await calls["record"] == ["1"]
    assert told[-1] == ""
    assert told.count("") == 1


async def test_who_has_little_time_left_waits_no_longer(connect: tuple[Connect, list[wire.Server]]) -> None:
    build, _ = connect
    api = await build(AWAY)
    waiting = asyncio.create_task(api._pause(3600))
    await asyncio.sleep(0)
    api.hurry()
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(api._pause(3600), 10)


async def test_every_try_and_every_pause_says_that_the_loop_which_waits_is_not_stuck(
    connect: tuple[Connect, list[wire.Server]],
) -> None:
    build, servers = connect
    signs = list[Any]()
    api = await build(AWAY, AWAY, wire.answer(200, [ROW]), on_try=lambda: signs.append(None))
    await Calls(api).row("record_outcomes", {}, fenced_out)
    assert len(servers[0].received) == 3
    assert len(signs) >= 3


async def test_the_clock_goes_by_when_an_answer_came_and_not_by_when_it_was_read(
    connect: tuple[Connect, list[wire.Server]],
) -> None:
    """What reading takes would make messages later by as much."""
    build, _ = connect
    told = {"db_now": datetime.now(UTC).isoformat()}
    api, began = await build(wire.answer(200, [told])), list[float]()

    await Calls(api).row("get_agenda", {}, lambda _: began.append(time.monotonic()))

    assert api.clock._observed_at <= began[0]
