"""Which chat a number has at WhatsApp: asked once for each number and day, and never in the way of a send.

The answers are WAHA's (src/api/contacts.controller.ts, `{numberExists, chatId}`; 422 of a session that is down).
"""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.gateways import server as wire
from tests.gateways.given import ACCEPTED, PDF, SHORT, TIMEOUT, Serve
from tests.gateways.server import Behaviour, Received, Server, answer
from worker.gateway import numbers
from worker.gateway.client import Http
from worker.gateway.numbers import Numbers, other_form
from worker.gateway.waha import Waha
from worker.models import Message, Rejected, Sent

BRAZIL, BRAZILS_CHAT = "+5531987654321", "553187654321@c.us"
EXISTS = answer(200, {"numberExists": True, "chatId": BRAZILS_CHAT})
ABSENT = answer(200, {"numberExists": False})
TAKEN = answer(201, ACCEPTED["waha"])


@pytest.fixture
def waha() -> Callable[..., Waha]:
    def make(server: Server, timeout: float = TIMEOUT, check_numbers: bool = True) -> Waha:
        return Waha(Http(server.url, {}, timeout=timeout, connections=5), check_numbers=check_numbers)

    return make


def looked_up(received: list[Received]) -> list[str]:
    asked = [urlsplit(request.path) for request in received if request.method == "GET"]
    assert {url.path for url in asked} <= {"/api/contacts/check-exists"}
    return [parse_qs(url.query)["phone"][0] for url in asked]


def written_to(received: list[Received]) -> list[str]:
    return [request.body["chatId"] for request in received if request.method == "POST"]


@pytest.mark.parametrize("recipient", [BRAZIL, "5531987654321@c.us"])
async def test_the_chat_that_waha_knows_is_written_to(
    recipient: str, waha: Callable[..., Waha], serve: Serve, message: Message
) -> None:
    server = await serve(EXISTS, TAKEN)
    assert await waha(server).send(replace(message, recipient=recipient)) == Sent("id-1")
    assert server.received[0].path == "/api/contacts/check-exists?phone=5531987654321&session=shop"
    assert written_to(server.received) == [BRAZILS_CHAT]


async def test_a_number_is_asked_for_once(waha: Callable[..., Waha], serve: Serve, message: Message) -> None:
    server = await serve(EXISTS, TAKEN)
    gateway = waha(server)
    for _ in range(3):
        await gateway.send(replace(message, recipient=BRAZIL, kind="document", media=PDF, more=(PDF,)))
    assert looked_up(server.received) == ["5531987654321"]
    assert written_to(server.received) == [BRAZILS_CHAT] * 6


async def test_a_number_that_waha_does_not_find_is_refused_and_not_written_to(
    waha: Callable[..., Waha], serve: Serve, message: Message
) -> None:
    server = await serve(ABSENT)
    gateway = waha(server)
    for _ in range(2):
        outcome = await gateway.send(message)
        assert isinstance(outcome, Rejected)
        assert "WAHA says that no WhatsApp account has this number" in outcome.reason
    assert looked_up(server.received) == ["919876543210"]
    assert written_to(server.received) == []


async def test_a_number_that_exists_under_its_other_form_is_found(
    waha: Callable[..., Waha], serve: Serve, message: Message
) -> None:
    there = answer(200, {"numberExists": True, "chatId": "5491112345678@c.us"})
    server = await serve(ABSENT, there, TAKEN)
    assert await waha(server).send(replace(message, recipient="+541112345678")) == Sent("id-1")
    assert looked_up(server.received) == ["541112345678", "5491112345678"]
    assert written_to(server.received) == ["5491112345678@c.us"]


@pytest.mark.parametrize(
    "recipient", ["120363025246125486@g.us", "120363025246125486@newsletter", "210913009393817@lid"]
)
async def test_what_is_no_number_is_not_asked_for(
    recipient: str, waha: Callable[..., Waha], serve: Serve, message: Message
) -> None:
    server = await serve(TAKEN)
    await waha(server).send(replace(message, recipient=recipient))
    assert (looked_up(server.received), written_to(server.received)) == ([], [recipient])


async def test_a_setting_switches_it_off(waha: Callable[..., Waha], serve: Serve, message: Message) -> None:
    server = await serve(TAKEN)
    await waha(server, check_numbers=False).send(message)
    assert looked_up(server.received) == []


@pytest.mark.parametrize(
    "fault",
    [
        answer(404, {"message": "Cannot GET /api/contacts/check-exists"}),
        answer(422, {"error": "Session status is not as expected", "status": "STARTING", "expected": ["WORKING"]}),
        answer(500, {"statusCode": 500, "exception": {"message": "Evaluation failed"}}),
        answer(200, {}), answer(200, {"numberExists": True}), answer(200, {"numberExists": True, "chatId": "a@b.com"}),
        answer(200, []), wire.html(200), wire.html(502), wire.slow_headers, wire.reset_after_reading, wire.no_http,
    ],
)  # fmt: skip
async def test_a_look_up_that_fails_stands_in_nobodys_way(
    fault: Behaviour, waha: Callable[..., Waha], serve: Serve, message: Message
) -> None:
    server = await serve(fault, TAKEN)
    gateway = waha(server, timeout=6 * SHORT if fault is wire.slow_headers else TIMEOUT)  # a sixth is the look-up's
    assert [await gateway.send(message) for _ in range(3)] == [Sent("id-1")] * 3
    assert len(looked_up(server.received)) == 1  # a gateway that cannot tell is not asked again for a while
    assert written_to(server.received) == ["919876543210@c.us"] * 3


class Directory:
    """Numbers over a made-up clock; `answers` are given in turn, the last one stays."""

    def __init__(self, *answers: str | None) -> None:
        self.now, self.answers, self.asked = 0.0, [*answers], list[tuple[str, str]]()
        self.numbers = Numbers(self.look_up, lambda: self.now)

    async def look_up(self, session: str, digits: str) -> str | None:
        self.asked.append((session, digits))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_an_answer_holds_for_a_day_and_for_its_session() -> None:
    directory = Directory("1@c.us")
    for now in (0.0, 3600.0, 86_399.0, 86_400.0):
        directory.now = now
        assert await directory.numbers.of("a", "1") == "1@c.us"
    await directory.numbers.of("b", "1")
    assert directory.asked == [("a", "1"), ("a", "1"), ("b", "1")]


async def test_who_joins_whatsapp_waits_for_an_hour_at_most() -> None:
    directory = Directory("", "1@c.us")
    answers = []
    for directory.now in (0.0, 3599.0, 3600.0):
        answers.append(await directory.numbers.of("a", "1"))
    assert answers == ["", "", "1@c.us"]


async def test_a_session_that_could_not_be_asked_is_asked_again_after_a_minute() -> None:
    directory = Directory(None, "1@c.us")
    answers = []
    for directory.now in (0.0, 59.0, 60.0):
        answers.append(await directory.numbers.of("a", "1"))
    assert answers == [None, None, "1@c.us"]
    assert len(directory.asked) == 2


async def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "MOST", 3)
    directory = Directory("x@c.us")
    for digits in ("1", "2", "3", "1", "4", "4", "2", "1"):
        await directory.numbers.of("a", digits)
    assert [digits for _, digits in directory.asked] == ["1", "2", "3", "4", "1"]


async def test_the_other_form_is_asked_of_the_same_session() -> None:
    directory = Directory("", "5491112345678@c.us")
    assert await directory.numbers.of("a", "541112345678") == "5491112345678@c.us"
    assert directory.asked == [("a", "541112345678"), ("a", "5491112345678")]


async def test_a_session_that_could_not_be_asked_stands_in_no_others_way() -> None:
    directory = Directory(None, "1@c.us")
    assert [await directory.numbers.of(session, "1") for session in ("a", "b", "a")] == [None, "1@c.us", None]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("5531987654321", "553187654321"), ("553187654321", "5531987654321"), ("553133334444", None),
        ("525512345678", "5215512345678"), ("5215512345678", "525512345678"),
        ("541112345678", "5491112345678"), ("5491112345678", "541112345678"), ("919876543210", None),
    ],
)  # fmt: skip
def test_numbers_that_whatsapp_knows_under_two_forms(one: str, other: str | None) -> None:
    assert other_form(one) == other
