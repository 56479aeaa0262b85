"""What can happen on the way to any gateway, and what the dispatcher is told."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from httpcore._async import http11

from local.postgres import free_port
from tests.gateways import server as wire
from tests.gateways.given import ACCEPTED, AUDIO, IMAGE, SHORT, Make, Serve, connects_in_its_own_time
from worker.gateway.client import clean, dig, first_text, retry_after
from worker.gateway.posting import DOUBT
from worker.models import Media, Message, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

GATEWAYS = [*ACCEPTED]
every_gateway = pytest.mark.parametrize("name", GATEWAYS)


@every_gateway
async def test_the_gateways_id_is_the_message_id(name: str, make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(201, ACCEPTED[name]))
    assert await make(name, server.url).send(message) == Sent("id-1")
    assert server.received[0].headers["x-secret"] == "s3cret"
    assert server.received[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "behaviour",
    [
        wire.slow_headers, wire.dribbling_body, wire.cut_off_body, wire.reset_before_reading,
        wire.reset_after_reading, wire.no_http, wire.truncated(200), wire.truncated(201), wire.html(200),
        wire.raw(201, b'{"id":"id-1"}', "text/plain"), wire.raw(200, b"", "application/json"),
        wire.raw(200, b"null", "application/json"), wire.raw(200, b"[" * 100_000, "application/json"),
        wire.answer(200, {}), wire.answer(200, []), wire.answer(201, "ok"), wire.nonsense(200),
        wire.answer(504, {}),
    ],
    ids=lambda behaviour: behaviour.__qualname__.split(".")[0],
)  # fmt: skip
async def test_what_may_have_gone_out_is_unconfirmed_and_in_time(
    behaviour: wire.Behaviour, make: Make, serve: Serve, message: Message
) -> None:
    """Also while the server goes on holding the connection: it does so for a minute."""
    server = await serve(behaviour)
    gateways = [make(name, server.url, timeout=SHORT) for name in GATEWAYS]
    for gateway in gateways:
        connects_in_its_own_time(gateway.http)
    async with asyncio.timeout(30):
        outcomes = await asyncio.gather(*(gateway.send(message) for gateway in gateways))
    assert {type(outcome) for outcome in outcomes} == {Unconfirmed}


@every_gateway
async def test_a_proxys_502_is_unconfirmed_unless_it_is_metas_own(
    name: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.html(502))
    outcome = await make(name, server.url).send(message)
    assert isinstance(outcome, Retry if name == "cloud" else Unconfirmed)


@every_gateway
@pytest.mark.parametrize(
    "words",
    [
        "<center>The plain HTTP request was sent to HTTPS port</center>",
        "Client sent an HTTP request to an HTTPS server.",
    ],
)
async def test_an_address_without_its_s_stops_the_connection_and_says_so(
    name: str, words: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.raw(400, words.encode(), "text/html"))
    assert await make(name, server.url).send(message) == Stopped("The gateway's address must begin with https://")


@every_gateway
async def test_a_refused_connection_is_tried_again(name: str, make: Make, message: Message) -> None:
    outcome = await make(name, f"http://127.0.0.1:{free_port()}").send(message)
    assert isinstance(outcome, Retry)
    assert outcome.reason == "The gateway cannot be reached (All connection attempts failed)"


@every_gateway
async def test_a_name_that_does_not_resolve_is_tried_again(name: str, make: Make, message: Message) -> None:
    outcome = await make(name, "http://no-such-host.invalid", timeout=SHORT).send(message)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("The gateway cannot be reached")


@every_gateway
async def test_a_tls_fault_is_tried_again(name: str, make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.no_tls)
    outcome = await make(name, server.url.replace("http:", "https:")).send(message)
    assert isinstance(outcome, Retry)
    assert outcome.reason.startswith("The gateway cannot be reached ([SSL")


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """A port whose queue of connections is full, so that the kernel drops what comes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


async def test_a_connection_that_nobody_accepts_is_tried_again(deaf_port: int, make: Make, message: Message) -> None:
    outcome = await make("waha", f"http://127.0.0.1:{deaf_port}", timeout=SHORT).send(message)
    assert outcome == Retry("The gateway cannot be reached (ConnectTimeout)")


async def test_waiting_for_a_free_connection_is_tried_again(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.slow_headers)
    gateway = make("waha", server.url, timeout=SHORT, connections=1)
    connects_in_its_own_time(gateway.http)
    first, second = await asyncio.gather(gateway.send(message), gateway.send(message))
    assert isinstance(first, Unconfirmed)
    assert second == Retry("The gateway cannot be reached (PoolTimeout)")
    assert len(server.received) == 1


async def test_all_connections_can_be_busy_at_once(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.slow_headers)
    gateway = make("waha", server.url, connections=20)
    sending = [asyncio.create_task(gateway.send(message)) for _ in range(20)]
    async with asyncio.timeout(30):
        while len(server.received) < 20:
            server.asked.clear()
            await server.asked.wait()
    server.script[:] = [wire.answer(201, ACCEPTED["waha"])]
    await server.release()
    assert {type(outcome) for outcome in await asyncio.gather(*sending)} == {Unconfirmed}
    assert await gateway.send(message) == Sent("id-1")


async def test_a_cancelled_send_stays_cancelled(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.slow_headers)
    sending = asyncio.create_task(make("waha", server.url).send(message))
    await asyncio.wait_for(server.asked.wait(), 5)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_connection_is_used_again(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(201, ACCEPTED["waha"]))
    gateway = make("waha", server.url)
    for _ in range(3):
        assert await gateway.send(message) == Sent("id-1")
    assert server.connections == 1


@pytest.mark.parametrize(("idle", "connections"), [(2, 1), (4, 2), (60, 2)])
async def test_a_connection_that_has_been_idle_for_so_long_that_node_closes_it_is_not_used(
    idle: float, connections: int, make: Make, serve: Serve, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 5 s (nodejs.org/api/http.html, server.keepAliveTimeout); what is written then may be lost, or not."""
    server = await serve(wire.answer(201, ACCEPTED["waha"]))
    gateway, later = make("waha", server.url), 0.0
    monkeypatch.setattr(http11, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + later))
    assert await gateway.send(message) == Sent("id-1")
    later = idle
    assert await gateway.send(message) == Sent("id-1")
    assert server.connections == connections


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_of_ours_that_does_not_lead_to_the_gateway_is_no_doubt(
    status: int, make: Make, serve: Serve, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for a tunnel (RFC 9110 §9.3.6) and said no: nothing of the message was written."""
    proxy = await serve(wire.html(status))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    outcome = await make("waha", "https://gateway.example").send(message)
    assert isinstance(outcome, Retry)
    assert [request.method for request in proxy.received] == ["CONNECT"]


async def test_an_idle_connection_that_the_gateway_closed_is_not_used(
    make: Make, serve: Serve, message: Message
) -> None:
    async def answer_and_close(reader, writer, server) -> None:  # type: ignore[no-untyped-def]
        await wire.answer(201, ACCEPTED["waha"])(reader, writer, server)
        writer.close()
        await writer.wait_closed()
        closed.set()

    closed = asyncio.Event()
    server = await serve(answer_and_close)
    gateway = make("waha", server.url)
    for _ in range(5):
        assert await gateway.send(message) == Sent("id-1")
        await closed.wait()
        closed.clear()
    assert server.connections == 5


@every_gateway
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (301, Stopped("The gateway's address redirects: set the final one")),
        (401, Stopped("The gateway does not accept our credentials")),
        (403, Stopped("The gateway does not accept our credentials")),
        (405, Stopped("The gateway does not know this session or address")),
        (407, Stopped("The network between here and the gateway asks for a login")),
        (421, Stopped("The gateway does not know this session or address")),
        (511, Stopped("The network between here and the gateway asks for a login")),
        (413, Rejected("The message is too large for the gateway")),
        (429, Throttled("The gateway asks us to slow down", "connection")),
    ],
)
async def test_a_status_that_proves_that_nothing_was_sent_has_one_meaning_for_all(
    name: str, status: int, outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    for behaviour in (wire.html(status), wire.answer(status, {"unknown": "shape"}), wire.nonsense(status, 1)):
        server = await serve(behaviour)
        assert await make(name, server.url).send(message) == outcome


SELF_HOSTED = [name for name in GATEWAYS if name != "cloud"]


@pytest.mark.parametrize("status", [400, 402, 409, 418, 422, 500, 501, 503, 507, 599])
@pytest.mark.parametrize("name", SELF_HOSTED)
async def test_a_self_hosted_gateways_other_statuses_leave_doubt(
    name: str, status: int, make: Make, serve: Serve, message: Message
) -> None:
    for behaviour in (wire.html(status), wire.answer(status, {"unknown": "shape"}), wire.nonsense(status, 1)):
        server = await serve(behaviour)
        assert await make(name, server.url).send(message) == DOUBT


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Rejected("The gateway refuses this message")),
        (404, Stopped("The gateway does not know this session or address")),
        (500, Retry("The gateway had a fault")),
        (501, Rejected("The gateway cannot do this")),
        (503, Retry("The gateway is not available")),
        (507, Retry("The gateway had a fault")),
    ],
)
async def test_metas_statuses_are_refusals(
    status: int, outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    for behaviour in (wire.html(status), wire.answer(status, {"unknown": "shape"}), wire.nonsense(status, 1)):
        server = await serve(behaviour)
        assert await make("cloud", server.url).send(message) == outcome


@pytest.mark.parametrize("name", SELF_HOSTED)
@pytest.mark.parametrize(
    ("status", "page", "outcome"),
    [
        (404, b"404 page not found\n", Stopped),
        (404, b"<pre>Cannot POST /api/sendText</pre>", Stopped),
        (503, b"no available server\n", Retry),
        (503, b"<h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n", Retry),
        (503, b"<h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center>", Retry),
        (521, b"error code: 521", Retry),
        (502, b"<center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center>", Unconfirmed),
        (503, b"upstream connect error or disconnect/reset before headers", Unconfirmed),
        (522, b"error code: 522", Unconfirmed),
    ],
)
async def test_a_proxy_that_reached_nobody_proves_that_nothing_was_sent(
    name: str, status: int, page: bytes, outcome: type, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.raw(status, page, "text/plain"))
    assert isinstance(await make(name, server.url).send(message), outcome)


@every_gateway
async def test_retry_after_is_obeyed(name: str, make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(429, {}, {"Retry-After": "17"}))
    gateway = make(name, server.url)
    assert await gateway.send(message) == Throttled("The gateway asks us to slow down", "connection", 17)


async def test_retry_after_may_be_a_date(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(503, {}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    assert await make("cloud", server.url).send(message) == Retry("The gateway is not available", 0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("", None), ("soon", None), ("nan", None), ("-5", None), ("0", 0), ("999999999", 86_400)],
)
def test_a_retry_after_is_seconds_of_at_most_a_day(value: str, seconds: float | None) -> None:
    assert retry_after(value) == seconds


async def test_each_attachment_goes_out_as_a_message_of_its_own(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(*(wire.answer(201, {"id": f"id-{n}"}) for n in (1, 2, 3)))
    more = (
        Media("https://e.com/b.pdf", "document", "application/pdf", "b.pdf", caption="second"),
        Media("https://e.com/c.mp4", "video"),
    )
    several = replace(message, kind="image", media=IMAGE, more=more)
    assert await make("waha", server.url).send(several) == Sent("id-1")
    assert [(r.path, r.body["caption"]) for r in server.received] == [
        ("/api/sendImage", "Hello 😀"), ("/api/sendFile", "second"), ("/api/sendVideo", ""),
    ]  # fmt: skip


async def test_the_text_beside_audio_follows_as_a_message(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(wire.answer(201, ACCEPTED["waha"]))
    spoken = replace(message, kind="audio", media=AUDIO)
    assert await make("waha", server.url).send(spoken) == Sent("id-1")
    assert [r.path for r in server.received] == ["/api/sendVoice", "/api/sendText"]
    assert server.received[1].body["text"] == "Hello 😀"


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (wire.answer(503, {}), Unconfirmed(f"1 of 2 parts went out, then: {DOUBT.reason}")),
        (
            wire.answer(401, {}),
            Rejected("1 of 2 parts went out, then: The gateway does not accept our credentials"),
        ),
        (wire.answer(429, {}), Rejected("1 of 2 parts went out, then: The gateway asks us to slow down")),
        (
            wire.answer(201, {}),
            Unconfirmed("1 of 2 parts went out, then: WAHA accepted it, but named no message"),
        ),
    ],
)
async def test_once_a_part_went_out_the_rest_is_not_tried_again(
    behaviour: wire.Behaviour, outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.answer(201, ACCEPTED["waha"]), behaviour)
    several = replace(message, kind="image", media=IMAGE, more=(IMAGE,))
    assert await make("waha", server.url).send(several) == outcome


@every_gateway
async def test_an_attachment_without_an_address_is_not_sent(
    name: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(wire.answer(201, ACCEPTED[name]))
    asset = replace(message, kind="document", media=Media(None, "document"), asset_id="5f7d")
    assert await make(name, server.url).send(asset) == Rejected("The attachment has no address: give one in media_url")
    assert server.received == []


@every_gateway
async def test_a_gateway_that_cannot_be_asked_is_not_healthy(name: str, make: Make, serve: Serve) -> None:
    health = await make(name, f"http://127.0.0.1:{free_port()}").check("shop")
    assert not health.ok
    assert health.detail == "The gateway cannot be reached (All connection attempts failed)"
    server = await serve(wire.answer(401, {}), wire.html(200), wire.reset_after_reading)
    gateway = make(name, server.url)
    assert (await gateway.check("shop")).detail == "The gateway does not accept our credentials"
    assert not (await gateway.check("shop")).ok
    assert (await gateway.check("shop")).detail.startswith("The gateway did not answer")
    assert {r.method for r in server.received} == {"GET"}


def test_a_gateways_words_lose_tokens_links_and_numbers() -> None:
    words = "Malformed token EAAGm0PX4ZCpsBAKZCmdG34ZB1234 for\n +91 98765-43210\tat https://e.com/aaaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert clean(words) == "Malformed token … for … at …"
    assert clean("(#131026) Message undeliverable") == "(#131026) Message undeliverable"
    assert len(clean("word " * 100)) <= 160


def test_digging_in_any_shape_ends_in_none() -> None:
    assert dig({"a": [{"b": 1}]}, "a", 0, "b") == 1
    assert [dig(body, "a", 0) for body in (None, 1, "text", [], {"a": {}}, {"a": None})] == [None] * 6
    assert first_text({"a": 1, "b": " ", "c": "x"}, ("a",), ("b",), ("c",)) == "x"
