"""Whatever a gateway answers: `sent` only by an id that it gave, and nothing goes out again where doubt is left."""

import asyncio
from collections.abc import Callable
from itertools import islice

import pytest

from tests.gateways import server as wire
from tests.gateways.fuzz import answers
from tests.gateways.given import Make, Serve
from worker.models import Message, Retry, Sent, Stopped, Throttled

GOES_OUT_AGAIN = (Retry, Stopped, Throttled)


@pytest.mark.parametrize("name", ["cloud", "evolution", "waha", "wppconnect"])
async def test_no_answer_is_taken_for_more_than_it_says(
    name: str, make: Make, serve: Serve, message: Message, size: Callable[[int], int]
) -> None:
    tried = list(islice(answers(name, seed=1), size(5000)))
    sent = doubtful = 0
    one = tried[0]

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: wire.Server) -> None:
        await wire.take(reader, server)
        writer.write(wire.head(one.status, len(one.body), one.content_type) + one.body)

    server = await serve(say)
    gateway = make(name, server.url)
    for number, one in enumerate(tried):
        server.received.clear()
        outcome = await gateway.send(message)
        told = f"number {number}: {one} was taken for {outcome}"
        assert [received.method for received in server.received].count("POST") == 1, told
        if isinstance(outcome, Sent):
            sent += 1
            assert outcome.message_id in one.ids, told
            assert 200 <= one.status < 300, told
        if one.doubtful:
            doubtful += 1
            assert not isinstance(outcome, GOES_OUT_AGAIN), told
    assert sent > len(tried) // 50, "the fuzzer accepts too little to show anything"
    assert doubtful > len(tried) // 50 or name == "cloud"
