"""One statement for all that a turn of the event loop asks for, by hand."""

import asyncio
import os
import sys
from uuid import uuid4

ONE = """
update public.bench_messages set status = 'sent', due_at = null, message_id = $2, sent_at = now(), updated_at = now()
where id = $1::uuid
"""
MANY = """
update public.bench_messages as m
set status = 'sent', due_at = null, message_id = g.message_id, sent_at = now(), updated_at = now()
from unnest($1::uuid[], $2::text[]) as g (id, message_id) where m.id = g.id
"""
BATCHED = sys.argv[1:] == ["batched"]
URL = os.environ["DATABASE_URL"]
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))


async def keep(_: object) -> None:
    """Of what a pool does when a connection comes back: nothing, since the handlers change none of its settings."""


class Sender:
    """`send` returns when the row is `sent`. pool: asyncpg's."""

    def __init__(self, pool) -> None:
        self.pool = pool
        self.waiting: list[tuple[str, str, asyncio.Future[None]]] = []
        self.flushing: set[asyncio.Task[None]] = set()

    async def send(self, message: str) -> None:
        message_id = f"mock-{uuid4()}"
        if not BATCHED:
            await self.pool.execute(ONE, message, message_id)
            return
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.start)
        done = asyncio.get_running_loop().create_future()
        self.waiting.append((message, message_id, done))
        await done

    def start(self) -> None:
        batch, self.waiting = self.waiting, []
        task = asyncio.create_task(self.flush(batch))
        self.flushing.add(task)
        task.add_done_callback(self.flushing.discard)

    async def flush(self, batch: list[tuple[str, str, asyncio.Future[None]]]) -> None:
        await self.pool.execute(MANY, [b[0] for b in batch], [b[1] for b in batch])
        for _, _, done in batch:
            done.set_result(None)
