"""The wake at work: changes of the real table, told by the protocol double, reach a whole daemon at once."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import psycopg
import pytest

from tests.helpers.polling import auntil
from tests.helpers.rows import Database, add_connections, message, schedule
from tests.realtime_double import RealtimeDouble
from worker import daemon
from worker.daemon import Parts
from worker.sending.wake import Wake

FEED = """
create or replace function public.test_feed() returns trigger language plpgsql as $$
begin
    perform pg_notify('test_feed', json_build_object(
        'kind', tg_op, 'id', new.id, 'scheduled_at', new.scheduled_at, 'status', new.status)::text);
    return null;
end $$;
create or replace trigger test_feed after insert or update on scheduled_messages
for each row execute function public.test_feed();
"""


@pytest.fixture
def feed(db: Database, stack: dict[str, str]) -> Iterator[Callable[[RealtimeDouble], None]]:
    """feed(double): every change of the table is published by it, as the real server does from the log."""
    db.execute(FEED)
    ended = threading.Event()
    threads: list[threading.Thread] = []
    listener = psycopg.connect(stack["DATABASE_URL"], autocommit=True)
    listener.execute("listen test_feed")

    def forward(double: RealtimeDouble, loop: asyncio.AbstractEventLoop) -> None:
        while not ended.is_set():
            for note in listener.notifies(timeout=0.1):
                change = json.loads(note.payload)
                asyncio.run_coroutine_threadsafe(double.publish(change.pop("kind"), change), loop)

    def start(double: RealtimeDouble) -> None:
        threads.append(threading.Thread(target=forward, args=(double, asyncio.get_running_loop())))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()
    listener.close()
    db.execute("drop function public.test_feed() cascade")


@contextlib.asynccontextmanager
async def running(parts: Parts, url: str) -> AsyncIterator[Wake]:
    """A daemon's loops, its Realtime being at `url`."""
    stop = asyncio.Event()
    wake = Wake(url, "key", on_change=parts.scheduler.on_change, on_ready=lambda: parts.scheduler.wake("realtime"))
    works = [
        parts.dispatcher.run(stop),
        *(daemon.run_until(stop, run(stop)) for run in (parts.scheduler.run, wake.run)),
    ]
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield wake
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def test_a_message_that_is_due_now_does_not_wait_for_the_poll(
    db: Database, parts: Callable[..., Awaitable[Parts]], feed: Callable[[RealtimeDouble], None]
) -> None:
    add_connections(db, "shop")
    async with RealtimeDouble() as double:
        feed(double)
        one = await parts(poll_interval_seconds=3600)
        async with running(one, double.url) as wake:
            await auntil(lambda: wake.state == "listening")
            await auntil(lambda: one.scheduler.idle)
            row = schedule(db)
            await auntil(lambda: message(db, row)["status"] == "sent", seconds=5)


async def test_a_message_for_the_near_future_moves_the_timer(
    db: Database, parts: Callable[..., Awaitable[Parts]], feed: Callable[[RealtimeDouble], None]
) -> None:
    add_connections(db, "shop")
    async with RealtimeDouble() as double:
        feed(double)
        one = await parts(poll_interval_seconds=3600)
        async with running(one, double.url) as wake:
            await auntil(lambda: wake.state == "listening")
            soon = db.execute("select now() + interval '1 second' as at").fetchone()
            assert soon is not None
            row = schedule(db, scheduled_at=soon["at"])
            sent = await auntil(lambda: message(db, row)["sent_at"], seconds=5)
            assert sent >= soon["at"]


async def test_without_realtime_the_next_poll_finds_it(
    db: Database, parts: Callable[..., Awaitable[Parts]], stack: dict[str, str]
) -> None:
    add_connections(db, "shop")
    one = await parts(poll_interval_seconds=1)
    async with running(one, stack["SUPABASE_URL"]) as wake:
        row = schedule(db)
        await auntil(lambda: message(db, row)["status"] == "sent", seconds=10)
        assert wake.state == "deaf"
