"""Realtime as a nudge: an event only says that a row changed. What is due, the poll finds out.

The client library goes deaf in many ways, some without a word (a raised callback, phx_close, a join that
the server counts twice), and its own reconnecting is one of them. So nothing here is repaired: at the first
sign of trouble the whole client is thrown away and a new one made.
"""

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog
from realtime import (
    PHOENIX_CHANNEL,
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    ChannelEvents,
    PostgresChangesPayload,
    RealtimeAcknowledgementStatus,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
    SuccessSystemPayload,
)
from websockets.exceptions import InvalidStatus

log = structlog.get_logger()

OnChange = Callable[[str | None, str | None], None]
State = Literal["off", "deaf", "listening"]
_NO_REALTIME = {200, 404, 405, 426, 501}  # what a server without Realtime answers to the upgrade


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A pause doubles with every failure in a row, between the two numbers of its pair."""

    retry: tuple[float, float] = (1, 60)
    absent: tuple[float, float] = (60, 600)
    connect: float = 10
    subscribe: float = 30
    beat: float = 10
    close: float = 0.4

    def pause(self, failures: int, *, absent: bool) -> float:
        first, longest = self.absent if absent else self.retry
        doubled = math.ldexp(first, min(failures - 1, 16))
        return min(doubled, longest) * random.uniform(0.8, 1.2)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is heard. `absent`: the server has no Realtime at all."""

    reason: str
    absent: bool = False


class Subscription:
    """One socket with one channel, good until the first trouble."""

    def __init__(self, url: str, key: str, on_change: OnChange, on_ready: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._on_change, self._on_ready = on_change, on_ready
        self._ready: asyncio.Future[None] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._client = AsyncRealtimeClient(f"{url}/realtime/v1", key, auto_reconnect=False, max_retries=1)
        self._channel = self._client.channel("scheduled_messages")
        self._channel.on_system(self._on_system)
        for event in (RealtimePostgresChangesListenEvent.Insert, RealtimePostgresChangesListenEvent.Update):
            self._channel.on_postgres_changes(
                event,
                self._on_event,
                schema="public",
                table="scheduled_messages",
                filter="status=eq.pending",  # else every outcome that a daemon writes comes back to it
                select=["scheduled_at", "status"],  # older servers ignore it and send the whole row
            )
        # The library sends heartbeats and drops their answers; a channel for their topic gets to see them.
        self._phoenix = AsyncRealtimeChannel(self._client, PHOENIX_CHANNEL)
        self._phoenix._joined_once = True
        self._client.channels[PHOENIX_CHANNEL] = self._phoenix

    async def open(self, timing: Timing) -> None:
        """Returns once the database's changes flow, which is 1 to 3 s after SUBSCRIBED, or trouble came.

        Raises TimeoutError, OSError or websockets' InvalidHandshake.
        """
        async with asyncio.timeout(timing.connect):
            await self._client.connect()
        for task in filter(None, (self._client._listen_task, self._client._heartbeat_task)):
            task.add_done_callback(self._on_task_end)
        async with asyncio.timeout(timing.subscribe):
            await self._channel.subscribe(self._on_state)
            either: tuple[asyncio.Future[Any], ...] = (self._ready, self._lost)
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    @property
    def lost(self) -> str:
        """The first trouble; "" where there was none."""
        return self._lost.result() if self._lost.done() else ""

    async def hold(self, beat: float) -> str:
        """Listens until trouble comes; returns its reason. Notices a half-open socket within two beats."""
        while not self._lost.done():
            async with asyncio.timeout(beat):
                answered = await self._ask()
            await asyncio.wait({self._lost}, timeout=beat)
            if not (answered.is_set() and self._channel.is_joined):
                self._lose("the server does not answer heartbeats")
        return self._lost.result()

    async def _ask(self) -> asyncio.Event:
        answered = asyncio.Event()
        push = await self._phoenix.push(ChannelEvents.heartbeat, {})
        push.receive(RealtimeAcknowledgementStatus.Ok, lambda _: answered.set())
        return answered

    async def close(self, seconds: float) -> None:
        """Leaves no task and no socket behind, in at most twice `seconds`."""
        socket = self._client._ws_connection
        tasks = [task for task in self._tasks() if task]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*tasks, return_exceptions=True)
                if socket:
                    await socket.close()
        if socket:
            socket.transport.abort()
            await asyncio.wait({socket.connection_lost_waiter}, timeout=seconds)

    def _tasks(self) -> Iterator[asyncio.Task[Any] | None]:
        """Everything that the library has running; its own close() forgets the timers."""
        yield self._client._listen_task
        yield self._client._heartbeat_task
        for channel in (self._channel, self._phoenix):
            yield channel.rejoin_timer.timer
            yield from channel._background_tasks
            yield from (push.timeout_task for push in channel.messages_waiting_for_ack.values())

    def _lose(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            self._lose(f"{state.value} {error or ''}".strip())

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._lose(f"a callback raised {type(error).__name__}" if error else "the connection ended")

    def _on_system(self, payload: SuccessSystemPayload) -> None:
        if payload.extension == "postgres_changes" and not self._lost.done():
            if not self._ready.done():
                self._ready.set_result(None)
            self._on_ready()

    def _on_event(self, payload: PostgresChangesPayload) -> None:
        record = payload["data"].get("record") or {}
        self._on_change(record.get("scheduled_at"), record.get("status"))


def trouble_of(error: Exception, key: str) -> Trouble:
    """What kept a subscription from being opened or held, without the key."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return Trouble(f"HTTP {status}", absent=status in _NO_REALTIME)
    return Trouble(_redact(f"{type(error).__name__}: {error}".removesuffix(": "), key))


async def listen_once(url: str, key: str, timing: Timing | None = None) -> Trouble | None:
    """Subscribes as a daemon does and ends it: what was in the way, None where changes flow."""
    _quiet()
    timing = timing or Timing(connect=5, subscribe=10)
    subscription = Subscription(url.rstrip("/"), key, lambda *_: None, lambda: None)
    try:
        await subscription.open(timing)
    except Exception as error:  # whatever it is, it is what the daemon would meet
        return trouble_of(error, key)
    else:
        return Trouble(_redact(subscription.lost, key)) if subscription.lost else None
    finally:
        await subscription.close(timing.close)


def _quiet() -> None:
    """The library's own lines quote whole frames, message text included, and repeat what is said here."""
    logging.getLogger("realtime").setLevel(logging.CRITICAL)


def _redact(reason: str, key: str) -> str:
    return reason.replace(key, "[key]")[:200]


class Wake:
    """Keeps one subscription to pending rows of public.scheduled_messages alive, for ever.

    url: the project's ("https://ref.supabase.co"). key: the service key.
    on_change(scheduled_at, status): a row was inserted or changed; both as the server wrote them, or None
    where it did not. on_ready(): changes flow from now on, so poll for what came before. on_state(state): what
    it is from now on. All are sync and must be quick; one that raises costs a new subscription.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        on_change: OnChange,
        on_ready: Callable[[], None],
        on_state: Callable[[State], None] = lambda _: None,
        timing: Timing | None = None,
    ) -> None:
        _quiet()
        self._url, self._key = url.rstrip("/"), key
        self._on_change, self._on_ready, self._on_state = on_change, on_ready, on_state
        self._timing = timing or Timing()
        self._said = False
        self.state: State = "off"
        self._heard_since = 0.0  # time.monotonic() when it last began to listen; 0 = never

    async def run(self, stop: asyncio.Event) -> None:
        """Ends when `stop` is set or it is cancelled; nothing that a server does ends it."""
        self._enter("deaf")
        try:
            async with asyncio.TaskGroup() as group:
                ear = group.create_task(self._listen_for_ever())
                await stop.wait()
                ear.cancel()
        finally:
            self._enter("off")

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_state(state)

    async def _listen_for_ever(self) -> None:
        failures = 0
        while True:
            trouble = await self._listen_once()
            failures = 1 if self._listened_long() else failures + 1
            self._go_deaf(trouble)
            await asyncio.sleep(self._timing.pause(failures, absent=trouble.absent))

    async def _listen_once(self) -> Trouble:
        subscription = Subscription(self._url, self._key, self._on_change, self._hear)
        try:
            await subscription.open(self._timing)
            return Trouble(_redact(await subscription.hold(self._timing.beat), self._key))
        except Exception as error:  # whatever it is, not trying again would be the only real fault
            trouble = trouble_of(error, self._key)
            return replace(trouble, absent=trouble.absent and not self._heard_since)
        finally:
            await subscription.close(self._timing.close)

    def _listened_long(self) -> bool:
        """A connection that held is no reason to wait longer for the next."""
        return self.state == "listening" and time.monotonic() - self._heard_since >= self._timing.retry[1]

    def _hear(self) -> None:
        if self.state != "listening":
            log.info("Realtime is listening", action="realtime_listening")
            self._enter("listening")
            self._said = False
            self._heard_since = time.monotonic()
        self._on_ready()

    def _go_deaf(self, trouble: Trouble) -> None:
        if self.state == "listening":
            self._enter("deaf")
        if not self._said:
            self._said = True
            sentence = "this server has no Realtime" if trouble.absent else "Realtime is deaf"
            log.warning(f"{sentence}; polling carries on", action="realtime_deaf", reason=trouble.reason)
