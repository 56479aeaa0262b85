"""procrastinate with many jobs at a time."""

import asyncio

import asyncpg
import procrastinate
from batch import BATCHED, POLL_SECONDS, URL, Sender, keep


async def main() -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL, min_size=10, max_size=20))
    sender = Sender(await asyncpg.create_pool(URL, min_size=10, max_size=10, reset=keep))

    @app.task(name="send", queue="default")
    async def send(id: str) -> None:  # noqa: A002
        await sender.send(id)

    async with app.open_async():
        there = await app.connector.execute_query_one_async("select to_regclass('procrastinate_jobs') as name")
        if there["name"] is None:
            await app.schema_manager.apply_schema_async()
        print("ready", flush=True)
        await app.run_worker_async(
            concurrency=100 if BATCHED else 20,
            install_signal_handlers=False,
            delete_jobs="always",
            fetch_job_polling_interval=POLL_SECONDS,
        )


asyncio.run(main())
