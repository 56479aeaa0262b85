"""Whatever goes wrong between the daemon and Realtime, it hears again and says so by asking for a poll."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus

import pytest
from realtime import ChannelStates
from structlog.testing import capture_logs

from tests.helpers.polling import auntil
from tests.realtime_double import RealtimeDouble
from worker.sending.wake import Subscription, Timing, Wake, listen_once, trouble_of

KEY = "sb_secret_do_not_print_me"
ROW = {"id": "1", "scheduled_at": "2026-11-22 01:20:17.899+00", "status": "pending", "message": "hello"}
QUICK = Timing(retry=(0.01, 0.05), absent=(0.02, 0.05), connect=0.5, subscribe=0.3, beat=0.1, close=0.2)


@dataclass
class Heard:
    """What a wake told its scheduler."""

    wake: Wake
    readies: int = 0
    changes: list[tuple[str | None, str | None]] = field(default_factory=list)
    raise_next: bool = False

    def on_ready(self) -> None:
        self.readies += 1

    def on_change(self, scheduled_at: str | None, status: str | None) -> None:
        self.changes.append((scheduled_at, status))
        if self.raise_next:
            self.raise_next = False
            raise KeyError("a fault of ours")


def strays() -> list[asyncio.Task[object]]:
    """Tasks of the wake and its client. (The double pings nobody, so a keepalive is the client's.)"""
    ours = (
        "worker/sending/wake.py",
        "realtime/_async",
        "websockets/asyncio/connection.py",
        "websockets/asyncio/client.py",
    )
    files = {task: task.get_coro().cr_code.co_filename for task in asyncio.all_tasks()}  # type: ignore[union-attr]
    return [task for task, file in files.items() if any(part in file for part in ours)]


@asynccontextmanager
async def listening(url: str, timing: Timing = QUICK) -> AsyncIterator[Heard]:
    """Runs a wake; on leaving, it must stop within a second and leave no task behind."""
    heard = Heard(wake=None)  # type: ignore[arg-type]
    heard.wake = Wake(url, KEY, on_change=heard.on_change, on_ready=heard.on_ready, timing=timing)
    stop = asyncio.Event()
    run = asyncio.create_task(heard.wake.run(stop))
    try:
        yield heard
    finally:
        stop.set()
        async with asyncio.timeout(1):
            await run
        assert heard.wake.state == "off"
        assert not strays()


async def hears(server: RealtimeDouble, heard: Heard) -> bool:
    before = len(heard.changes)
    await server.publish("INSERT", ROW)
    await auntil(lambda: len(heard.changes) > before)
    return heard.changes[-1] == (ROW["scheduled_at"], "pending")


@pytest.fixture
async def server() -> AsyncIterator[RealtimeDouble]:
    async with RealtimeDouble() as double:
        yield double


@pytest.fixture(autouse=True)
def the_key_is_never_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO)
    with capture_logs() as lines:
        yield
    assert KEY not in caplog.text + repr(lines)
    assert "hello" not in caplog.text + repr(lines)


async def test_it_subscribes_to_pending_rows_and_asks_for_a_poll(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        assert heard.wake.state == "listening"
        assert await hears(server, heard)
        [channel] = server.channels.values()
        assert [(b["event"], b["filter"], b["select"]) for b in channel.bindings] == [
            ("INSERT", "status=eq.pending", ["scheduled_at", "status"]),
            ("UPDATE", "status=eq.pending", ["scheduled_at", "status"]),
        ]


async def test_an_update_wakes_and_what_the_daemon_writes_does_not(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        await server.publish("UPDATE", ROW | {"status": "sent"})
        await server.publish("UPDATE", ROW | {"scheduled_at": "later"})
        await auntil(lambda: bool(heard.changes))
        assert heard.changes == [("later", "pending")]


async def test_it_is_not_listening_before_the_database_streams(server: RealtimeDouble) -> None:
    server.joins.append("no_changes")
    async with listening(server.url, replace(QUICK, subscribe=5)) as heard:
        await auntil(lambda: bool(server.channels))
        assert (heard.wake.state, heard.readies) == ("deaf", 0)
        await server.system("postgres_changes", "ok", "Subscribed to PostgreSQL")
        await auntil(lambda: heard.wake.state == "listening")
        assert heard.readies == 1


async def test_a_stream_that_began_anew_asks_for_another_poll(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        await server.system("postgres_changes", "ok", "Subscribed to PostgreSQL")
        await auntil(lambda: heard.readies == 2)
        assert len(server.handshakes) == 1


Fault = Callable[[RealtimeDouble], Awaitable[None]]
FAULTS: dict[str, Fault] = {
    "an abort": lambda server: server.abort(),
    "close 1000": lambda server: server.close(1000),
    "close 1001": lambda server: server.close(1001),
    "close 1011": lambda server: server.close(1011),
    "a half-open socket": lambda server: server.fall_silent(),
    "phx_error": lambda server: server.phx_error(),
    "phx_close": lambda server: server.phx_close(),
    "a system error of the changes": lambda server: server.system("postgres_changes", "error", "no slot"),
    "a system error of the server": lambda server: server.system("system", "error", "Token has expired"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_it_hears_again_after(fault: Fault, server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        await fault(server)
        await auntil(lambda: heard.readies == 2)
        assert await hears(server, heard)


@pytest.mark.parametrize("fault", ["error", "silence", "late", "mismatch", "no_changes"])
async def test_it_joins_again_when_the_join_meets(fault: str, server: RealtimeDouble) -> None:
    server.late = QUICK.subscribe + 0.1
    server.joins.append(fault)
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        assert len(server.handshakes) == 2
        assert await hears(server, heard)


async def test_a_server_that_quotes_the_key_has_it_taken_out(server: RealtimeDouble) -> None:
    """A proxy before it may quote the whole address, whose query is the key. The log is looked at after each test."""
    server.joins.append("error")
    server.error = f"no route for /websocket?apikey={KEY}&vsn=1.0.0"
    async with listening(server.url) as heard:
        with capture_logs() as lines:
            await auntil(lambda: heard.readies == 1)
    assert "/websocket?apikey=[key]&vsn" in lines[0]["reason"]
    server.joins.append("error")
    trouble = await listen_once(server.url, KEY, QUICK)
    assert trouble
    assert "apikey=[key]&vsn" in trouble.reason
    assert "[key]" in trouble_of(OSError(f"{server.url}/websocket?apikey={KEY} did not answer"), KEY).reason


async def test_a_close_that_follows_the_join_as_for_a_duplicate_is_survived(server: RealtimeDouble) -> None:
    server.joins.append("duplicate")
    async with listening(server.url) as heard:
        await auntil(lambda: len(server.handshakes) == 2 and heard.wake.state == "listening")
        assert await hears(server, heard)


async def test_a_callback_that_raises_does_not_end_it(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        heard.raise_next = True
        with capture_logs() as lines:
            await server.publish("INSERT", ROW)
            await auntil(lambda: heard.readies == 2)
        assert lines[0]["reason"] == "a callback raised KeyError"
        assert await hears(server, heard)


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_it_keeps_trying_while_the_server_refuses_with(status: int, server: RealtimeDouble) -> None:
    server.refuse = HTTPStatus(status)
    async with listening(server.url) as heard:
        await auntil(lambda: len(server.handshakes) >= 3)
        assert heard.wake.state == "deaf"
        server.refuse = None
        await auntil(lambda: heard.readies == 1)
        assert await hears(server, heard)


async def test_it_outlives_a_restart_of_the_server(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        await server.stop()
        await auntil(lambda: heard.wake.state == "deaf")
        await server.start()
        await auntil(lambda: heard.readies == 2)
        assert await hears(server, heard)


@pytest.mark.parametrize("noise", ["unknown_event", "garbage"])
async def test_what_it_cannot_read_is_passed_over(noise: str, server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: heard.readies == 1)
        await getattr(server, noise)()
        assert await hears(server, heard)
        assert len(server.handshakes) == 1


async def test_answered_heartbeats_keep_one_connection(server: RealtimeDouble) -> None:
    async with listening(server.url) as heard:
        await auntil(lambda: server.heartbeats >= 6)
        assert (len(server.handshakes), heard.readies) == (1, 1)


async def test_a_channel_that_the_library_has_closed_without_a_word_is_lost_though_heartbeats_are_answered(
    server: RealtimeDouble,
) -> None:
    subscription = Subscription(server.url, KEY, lambda *_: None, lambda: None)
    try:
        await subscription.open(QUICK)
        holding = asyncio.create_task(subscription.hold(QUICK.beat))
        await auntil(lambda: server.heartbeats >= 2)
        assert not holding.done()
        subscription._channel.state = ChannelStates.CLOSED
        assert await asyncio.wait_for(holding, 5)
    finally:
        await subscription.close(QUICK.close)


async def test_a_long_deafness_is_said_once_and_its_end_once(server: RealtimeDouble) -> None:
    server.refuse = HTTPStatus.UNAUTHORIZED
    with capture_logs() as lines:
        async with listening(server.url) as heard:
            await auntil(lambda: len(server.handshakes) >= 5)
            server.refuse = None
            await auntil(lambda: heard.readies == 1)
    assert [line["event"] for line in lines] == [
        "Realtime is deaf; polling carries on",
        "Realtime is listening",
    ]
    assert lines[0]["reason"] == "HTTP 401"


@pytest.mark.parametrize("status", [200, 404, 426])
async def test_a_server_without_realtime_is_said_once_and_asked_rarely(status: int, server: RealtimeDouble) -> None:
    server.refuse = HTTPStatus(status)
    with capture_logs() as lines:
        async with listening(server.url, replace(QUICK, absent=(0.2, 0.2))):
            began = asyncio.get_running_loop().time()
            await auntil(lambda: len(server.handshakes) == 3)
            assert asyncio.get_running_loop().time() - began > 0.3
    assert [line["event"] for line in lines] == ["this server has no Realtime; polling carries on"]


async def test_a_404_from_a_server_that_had_realtime_is_an_outage_like_any_other(
    server: RealtimeDouble,
) -> None:
    async with listening(server.url, replace(QUICK, absent=(600, 600))) as heard:
        await auntil(lambda: heard.readies == 1)
        server.refuse = HTTPStatus.NOT_FOUND
        await server.abort()
        await auntil(lambda: len(server.handshakes) >= 3)
        server.refuse = None
        await auntil(lambda: heard.readies == 2)


async def test_it_stops_at_once_while_a_server_keeps_it_waiting() -> None:
    connected = asyncio.Event()

    async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await released.wait()
        writer.close()

    released = asyncio.Event()
    mute = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        port = mute.sockets[0].getsockname()[1]
        async with listening(f"http://127.0.0.1:{port}", Timing()):
            await asyncio.wait_for(connected.wait(), 2)
    finally:
        released.set()
        mute.close()


async def test_it_stops_at_once_on_a_half_open_socket(server: RealtimeDouble) -> None:
    async with listening(server.url, Timing()) as heard:
        await auntil(lambda: heard.readies == 1)
        await server.fall_silent()


async def test_a_cancelled_run_leaves_no_task(server: RealtimeDouble) -> None:
    wake = Wake(server.url, KEY, on_change=lambda *_: None, on_ready=lambda: None, timing=QUICK)
    run = asyncio.create_task(wake.run(asyncio.Event()))
    await auntil(lambda: wake.state == "listening")
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(run, 1)
    await auntil(lambda: not server.channels)
    assert not strays()
    assert wake.state == "off"


def test_pauses_double_up_to_the_longest_with_jitter() -> None:
    pauses = [Timing().pause(n, absent=False) for n in range(1, 2000)]
    assert all(math.ldexp(0.8, n) <= pause <= math.ldexp(1.2, n) for n, pause in enumerate(pauses[:6]))
    assert max(pauses) <= 72
    assert min(pauses[6:]) >= 48
    assert 48 <= Timing().pause(1, absent=True) <= 72
    assert 480 <= Timing().pause(9, absent=True) <= 720


@pytest.mark.parametrize(("longest", "pauses"), [(0.05, [1, 2, 3, 1]), (600, [1, 2, 3, 4])])
async def test_only_a_connection_that_held_makes_the_next_pause_a_short_one(
    longest: float, pauses: list[int], server: RealtimeDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = list[int]()

    def pause(_: Timing, failures: int, *, absent: bool) -> float:
        noted.append(failures)
        if len(noted) == 3:
            server.refuse = None
        return 0.01

    monkeypatch.setattr(Timing, "pause", pause)
    server.refuse = HTTPStatus.SERVICE_UNAVAILABLE
    async with listening(server.url, replace(QUICK, retry=(0.01, longest))) as heard:
        await auntil(lambda: server.heartbeats >= 3)  # a tenth of a second each
        await server.abort()
        await auntil(lambda: len(noted) >= 4 and heard.readies == 2)
    assert noted[:4] == pauses
