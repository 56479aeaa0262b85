"""pgqueuer on asyncpg, which its benchmarks find faster than psycopg, fetching hundreds of jobs at a time."""

import asyncio
from datetime import timedelta

import asyncpg
from batch import BATCHED, POLL_SECONDS, URL, Sender, keep
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver


async def main() -> None:
    connection, pool = await asyncpg.connect(URL), await asyncpg.create_pool(URL, min_size=10, max_size=10, reset=keep)
    queries = Queries(AsyncpgDriver(connection))
    if not await queries.schema_is_installed():
        await queries.install()
    queue, sender = PgQueuer(AsyncpgDriver(connection)), Sender(pool)

    @queue.entrypoint("send")
    async def send(job) -> None:
        await sender.send(job.payload.decode())

    print("ready", flush=True)
    await queue.run(
        batch_size=500 if BATCHED else 100, dequeue_timeout=timedelta(seconds=POLL_SECONDS), max_concurrent_tasks=1000
    )


asyncio.run(main())
