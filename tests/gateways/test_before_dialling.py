"""What keeps a message from being dialled at all: values that no request holds, and what this machine lacks."""

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.gateways import server as wire
from tests.gateways.given import ACCEPTED, IMAGE, Make, Serve
from worker.errors import BadMessage, Shortage
from worker.gateway.bullmq import BullMQ
from worker.models import Media, Message, Rejected, Sent
from worker.text.wire import encoded
from worker.watch.shortage import is_shortage

every_gateway = pytest.mark.parametrize("name", [*ACCEPTED])

DEEP: list[object] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("-inf"), float("nan"), "\ud800", {"\udfff": 1}, DEEP, {1, 2}, {"a": [{"b": 1e400}]}],
    ids=["inf", "-inf", "nan", "half", "half a key", "deep", "set", "inside"],
)
def test_what_json_cannot_hold_is_said_so(value: object) -> None:
    with pytest.raises(BadMessage, match="cannot be sent"):
        encoded(value)


@pytest.mark.parametrize("value", ["é😀\0", 10**250, -0.0, {"a": None}, [True, 1e308]])
def test_what_json_can_hold_is_written(value: object) -> None:
    assert encoded(value)


@every_gateway
@pytest.mark.parametrize("text", ["a \ud800 half", "\udfff"])
async def test_it_is_refused_and_nobody_is_dialled(
    name: str, text: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.answer(201, ACCEPTED[name]))
    outcome = await make(name, server.url).send(replace(message, text=text))
    assert isinstance(outcome, Rejected)
    assert server.received == []


async def test_the_queue_of_the_node_worker_is_spared_it_too(message: Message) -> None:
    """Node's JSON.parse takes no Infinity: the job would be lost in its queue."""
    gateway = BullMQ("redis://127.0.0.1:1", queue="q", prefix="p", job="j")
    media = Media("https://example.com/a.png", "image", "image/png", "a.png", "\ud800")
    outcome = await gateway.send(replace(message, kind="image", text="\ud800", media=media))
    assert isinstance(outcome, Rejected)
    await gateway.aclose()


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """The kernel gives this process none, as when strangers hold them all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # 0, 1 and 2 are in use
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@every_gateway
async def test_a_want_of_descriptors_is_no_try(name: str, make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(201, ACCEPTED[name]))
    gateway = make(name, server.url)
    with no_more_descriptors(), pytest.raises(Shortage):
        await gateway.send(message)
    assert server.received == []
    assert isinstance(await gateway.send(message), Sent)


async def test_after_a_first_part_it_is_the_end_all_the_same(make: Make, message: Message, monkeypatch) -> None:
    """Sent again, the first part would go out twice."""
    gateway = make("cloud", "http://127.0.0.1:1")
    outcomes: list[Callable[[], Sent]] = [lambda: Sent("id-1"), lambda: (_ for _ in ()).throw(Shortage("none left"))]

    async def part(*_: object) -> Sent:
        await asyncio.sleep(0)
        return outcomes.pop(0)()

    monkeypatch.setattr(gateway, "send_part", part)
    outcome = await gateway.send(replace(message, kind="image", media=IMAGE, more=(IMAGE,)))
    assert isinstance(outcome, Rejected)
    assert "1 of 2" in outcome.reason


@pytest.mark.parametrize(
    ("fault", "lacks"),
    [
        (OSError(24, "EMFILE"), True),
        (OSError(23, "ENFILE"), True),
        (OSError(12, "ENOMEM"), True),
        (MemoryError(), True),
        (ExceptionGroup("several", [OSError(24, "EMFILE"), OSError(111, "refused")]), True),
        (ConnectionRefusedError(111, "refused"), False),
        (ValueError("wrong"), False),
    ],
)
def test_what_a_shortage_is(fault: Exception, lacks: bool) -> None:
    assert is_shortage(fault) is lacks
    outer = RuntimeError("outer")
    outer.__cause__ = fault
    assert is_shortage(outer) is lacks
