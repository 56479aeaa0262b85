"""Gateways against a server in this process, with time-outs short enough to wait for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.gateways.given import JOB, MAKERS, TIMEOUT, Make, Serve
from tests.gateways.server import Behaviour, Server
from worker.gateway.client import Http
from worker.gateway.posting import PostingGateway
from worker.models import Message


@pytest.fixture
def message() -> Message:
    return Message(
        job_id=JOB,
        connection_id="shop",
        sender="shop",
        recipient="+919876543210",
        kind="text",
        text="Hello 😀",
    )


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """make("waha", url): a gateway, closed after the test."""
    async with AsyncExitStack() as stack:

        def build(name: str, url: str, *, timeout: float = TIMEOUT, connections: int = 5) -> PostingGateway:
            http = Http(url, {"x-secret": "s3cret"}, timeout=timeout, connections=connections)
            gateway = MAKERS[name](http)
            stack.push_async_callback(gateway.aclose)
            return gateway

        yield build


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """await serve(answer(…), …): a server that meets each request with the next behaviour."""
    async with AsyncExitStack() as stack:

        async def start(*script: Behaviour) -> Server:
            return await stack.enter_async_context(Server(list(script)))

        yield start
