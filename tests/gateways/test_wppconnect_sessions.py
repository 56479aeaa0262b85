"""wppconnect: a token for each session, and a number that "does not exist".

The double checks tokens as wppconnect-server/src/middleware/auth.ts does, and makes them as encryptController.ts.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote

import pytest
from pytest_mock import MockerFixture

from tests.gateways import server as wire
from tests.gateways.given import ACCEPTED, SHORT, TIMEOUT, Serve, connects_in_its_own_time
from worker import config
from worker.errors import ConfigError
from worker.gateway.client import Http
from worker.gateway.session_tokens import NO_TOKENS, SessionTokens
from worker.gateway.wppconnect import Wppconnect
from worker.models import Health, Message, Outcome, Rejected, Retry, Sent, Stopped, Unconfirmed
from worker.operating.doctor import session

SECRET = "THISIS/MYSECURE+TOKEN"
REFUSED = {"error": "Check that the Session and Token are correct"}
DENIED = {"response": None, "status": "Connected", "message": "O número 919876543210 não existe."}


@dataclass
class Double:
    """`epoch` changes all tokens, as a new SECRET_KEY does. `said`: what a path's last word is answered instead."""

    secret: str = SECRET
    epoch: int = 0
    said: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def token(self, session: str) -> str:
        return f"$2b$10$.{self.epoch}.{session}"

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: wire.Server) -> None:
        status, body = self.reply(await wire.take(reader, server))
        raw = wire.json.dumps(body).encode()
        writer.write(wire.head(status, len(raw), "application/json") + raw)
        await writer.drain()

    def reply(self, request: wire.Received) -> tuple[int, Any]:
        _, _, session, *verb = request.path.split("/")
        self.asked.append("generate-token" if verb[-1] == "generate-token" else verb[0])
        if verb[-1] == "generate-token":
            if "generate-token" in self.said:
                return self.said["generate-token"]
            if unquote(verb[0]) != self.secret:
                return 400, {"response": False, "message": "The SECRET_KEY is incorrect"}
            return 201, {"status": "success", "session": session, "token": self.token(session), "full": "…"}
        if request.headers.get("authorization") != f"Bearer {self.token(session)}":
            return 401, REFUSED
        return self.said.get(verb[0], (200, {"status": "CONNECTED"}) if request.method == "GET" else ACCEPTED_201)


ACCEPTED_201 = (201, ACCEPTED["wppconnect"])
Gateway = Callable[..., Wppconnect]


@pytest.fixture
def double() -> Double:
    return Double()


@pytest.fixture
async def url(serve: Serve, double: Double) -> str:
    return (await serve(double)).url


@pytest.fixture
async def gateway(url: str) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:

        def build(**secrets: str) -> Wppconnect:
            http = Http(url, {}, timeout=TIMEOUT, connections=2)
            made = Wppconnect(http, tokens=SessionTokens(http, **secrets))
            stack.push_async_callback(made.aclose)
            return made

        yield build


async def test_each_session_gets_a_token_of_its_own_once(double: Double, gateway: Gateway, message: Message) -> None:
    one = gateway(secret_key=SECRET)
    for sender in ("shop", "other", "shop", "other"):
        assert await one.send(replace(message, sender=sender)) == Sent("id-1")
    assert double.asked == [
        "generate-token", "send-message", "generate-token", "send-message", "send-message", "send-message",
    ]  # fmt: skip


async def test_a_refused_token_is_made_anew_once_and_the_message_goes_out(
    double: Double, gateway: Gateway, message: Message
) -> None:
    one = gateway(secret_key=SECRET)
    await one.send(message)
    for _ in range(2):
        double.epoch, double.asked = double.epoch + 1, []
        assert await one.send(message) == Sent("id-1")
        assert double.asked == ["send-message", "generate-token", "send-message"]
    double.epoch, double.asked = double.epoch + 1, []
    assert await one.check("shop") == Health(True, "session CONNECTED")
    assert double.asked == ["status-session", "generate-token", "status-session"]


async def test_a_server_that_refuses_its_own_tokens_is_asked_no_more_than_twice(
    double: Double, gateway: Gateway, message: Message
) -> None:
    double.said["send-message"] = (401, REFUSED)
    outcome = await gateway(secret_key=SECRET).send(message)
    assert isinstance(outcome, Stopped)
    assert double.asked == ["generate-token", "send-message", "generate-token", "send-message"]


async def test_a_wrong_secret_stops_the_connection_and_is_not_told(
    double: Double, gateway: Gateway, message: Message
) -> None:
    one = gateway(secret_key="not-the-servers")
    outcome, health = await one.send(message), await one.check("shop")
    assert outcome == Stopped(
        "wppconnect does not accept WPPCONNECT_SECRET_KEY: it must be the server's own SECRET_KEY"
    )
    assert not health.ok
    assert "not-the-servers" not in f"{outcome}{health}"
    assert double.asked == ["generate-token"] * 2


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (
            (500, {"message": "no route for /api/shop/k3y/generate-token"}),
            Retry("wppconnect made no token (status 500)"),
        ),
        ((404, {"message": "Cannot POST /api/shop/k3y/generate-token"}), NO_TOKENS),
        ((201, {"status": "success", "session": "k3y"}), NO_TOKENS),
    ],
)
async def test_without_a_token_nothing_is_posted_and_the_key_is_not_repeated(
    said: tuple[int, Any], outcome: Outcome, double: Double, gateway: Gateway, message: Message
) -> None:
    double.said["generate-token"] = said
    assert await gateway(secret_key="k3y").send(message) == outcome
    assert "k3y" not in str(outcome)
    assert double.asked == ["generate-token"]


async def test_a_sender_may_hold_its_own_token(double: Double, gateway: Gateway, message: Message) -> None:
    one = gateway(token="of another session")
    sender = f"shop:{double.token('shop')}"
    assert await one.send(replace(message, sender=sender)) == Sent("id-1")
    assert (await one.check(sender)).ok
    assert double.asked == ["send-message", "status-session"]


async def test_neither_a_token_nor_the_secret_is_printed(double: Double, gateway: Gateway) -> None:
    one = gateway(secret_key="not-the-servers")
    found = [
        await session(cast(Any, SimpleNamespace(of=lambda _: one)), "wppconnect", s) for s in ("shop", "shop:t0ken")
    ]
    assert "gateway wppconnect, shop: " in str(found[0])
    assert "gateway wppconnect, shop: " in str(found[1])
    assert "t0ken" not in str(found)
    assert "not-the-servers" not in str(found)


def test_either_a_secret_or_a_token_is_needed() -> None:
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "wppconnect"}
    given["WPPCONNECT_URL"] = "http://wpp:21465"
    with pytest.raises(ConfigError, match="also needs WPPCONNECT_TOKEN or WPPCONNECT_SECRET_KEY"):
        config.load(given, dotenv=None)
    for name in ("WPPCONNECT_TOKEN", "WPPCONNECT_SECRET_KEY"):
        loaded = config.load({**given, name: "s3cret"}, dotenv=None)
        assert "s3cret" not in repr(loaded)


async def test_a_token_of_another_session_stops_the_connection(
    gateway: Gateway, message: Message, double: Double
) -> None:
    outcome = await gateway(token=double.token("other")).send(message)
    assert isinstance(outcome, Stopped)
    assert "WPPCONNECT_SECRET_KEY" in outcome.reason


@pytest.mark.parametrize(
    ("again", "session", "outcome"),
    [
        ((200, {"status": "success", "response": {"numberExists": False}}), "CONNECTED", Rejected),
        ((200, {"status": "success", "response": {"numberExists": True}}), "CONNECTED", Unconfirmed),
        ((500, {"status": "error", "message": "Error on check number status"}), "CONNECTED", Unconfirmed),
        ((404, {"message": "Cannot GET"}), "CONNECTED", Rejected),  # a server that cannot be asked
        ((404, {"message": "Cannot GET"}), "CLOSED", Unconfirmed),
        ((404, {"status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}), "QRCODE", Unconfirmed),
    ],
)
async def test_a_number_does_not_exist_when_whatsapp_says_so_and_not_when_asking_failed(
    again: tuple[int, Any], session: str, outcome: type, double: Double, gateway: Gateway, message: Message
) -> None:
    double.said = {
        "send-message": (400, DENIED),
        "check-number-status": again,
        "status-session": (200, {"status": session}),
    }
    told = await gateway(secret_key=SECRET).send(message)
    assert isinstance(told, outcome), told
    assert double.asked.count("send-message") == 1


@pytest.mark.parametrize(
    "refusal",
    [
        {**DENIED, "message": "El número 919876543210 no existe."},
        {**DENIED, "message": "Number not found"},
        {**DENIED, "message": ""},
        {"message": DENIED["message"]},  # where the state is not passed on, by its own words
        {"message": "The number 919876543210 does not exist"},
    ],
)
async def test_a_number_is_asked_for_once_more_whatever_the_language_of_the_refusal(
    refusal: dict[str, Any], double: Double, gateway: Gateway, message: Message
) -> None:
    double.said = {
        "send-message": (400, refusal),
        "check-number-status": (200, {"response": {"numberExists": False}}),
    }
    assert isinstance(await gateway(secret_key=SECRET).send(message), Rejected)
    assert "check-number-status" in str(double.asked)


async def test_asking_again_takes_no_longer_than_a_send_may(
    serve: Serve, message: Message, mocker: MockerFixture
) -> None:
    async def answer_the_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: wire.Server) -> None:
        behave = wire.answer(400, DENIED) if not server.received else wire.slow_headers
        await behave(reader, writer, server)

    server = await serve(answer_the_first)
    gateway = Wppconnect(connects_in_its_own_time(Http(server.url, {}, timeout=SHORT, connections=2)))
    called = mocker.spy(gateway.http, "call")
    async with asyncio.timeout(30):
        assert isinstance(await gateway.send(message), Unconfirmed)
    deadlines = {deadline for _, _, deadline, *_ in (call.args for call in called.call_args_list)}
    assert len(deadlines) == 1
    assert [received.method for received in server.received] == ["POST", "GET"]
    await gateway.aclose()
