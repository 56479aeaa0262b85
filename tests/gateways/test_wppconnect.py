"""wppconnect-server: what it is sent, and the failures that it hides in a 201."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.given import ACCEPTED, AUDIO, IMAGE, PDF, VIDEO, Make, Serve
from tests.gateways.server import answer
from worker.gateway.posting import DOUBT
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

TO = {"phone": "919876543210", "isGroup": False, "isNewsletter": False, "isLid": False}


def file(kind: str, url: str | None, name: str) -> dict[str, Any]:
    return {"path": url, "filename": name, "caption": "Hello 😀", "options": {"type": kind}}


@pytest.mark.parametrize(
    ("fields", "path", "body"),
    [
        ({}, "send-message", {"message": "Hello 😀", "options": {"linkPreview": False}}),
        ({"kind": "image", "media": IMAGE}, "send-image", file("image", IMAGE.url, "a.png")),
        ({"kind": "video", "media": VIDEO}, "send-file", file("video", VIDEO.url, "video.mp4")),
        ({"kind": "document", "media": PDF}, "send-file", file("document", PDF.url, "r.pdf")),
        (
            {"kind": "audio", "media": AUDIO, "text": ""},
            "send-voice",
            {"path": AUDIO.url, "filename": "n.mp3"},
        ),
    ],
)
async def test_each_kind_is_posted_as_documented(
    fields: dict[str, Any], path: str, body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["wppconnect"]))
    assert await make("wppconnect", server.url).send(replace(message, **fields)) == Sent("id-1")
    (request,) = server.received
    assert (request.method, request.path, request.body) == ("POST", f"/api/shop/{path}", {**TO, **body})


async def test_a_picture_that_is_sent_as_a_document_stays_one(make: Make, serve: Serve, message: Message) -> None:
    """The server would detect its kind (wppconnect, sender.layer.ts)."""
    server = await serve(answer(201, ACCEPTED["wppconnect"]))
    await make("wppconnect", server.url).send(replace(message, kind="document", media=replace(IMAGE, kind="document")))
    assert server.received[0].path == "/api/shop/send-file"
    assert server.received[0].body["options"] == {"type": "document"}


async def test_there_are_no_templates(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(answer(201, ACCEPTED["wppconnect"]))
    outcome = await make("wppconnect", server.url).send(replace(message, kind="template", template={"name": "t"}))
    assert outcome == Rejected("This gateway has no templates: write a text")
    assert server.received == []


@pytest.mark.parametrize(
    ("recipient", "flags"),
    [
        ("919876543210@c.us", {}),
        ("919876543210@s.whatsapp.net", {}),
        ("5511999999999-1623158371@g.us", {"phone": "5511999999999-1623158371", "isGroup": True}),
        ("210913009393817@lid", {"phone": "210913009393817", "isLid": True}),
        ("120363@newsletter", {"phone": "120363", "isNewsletter": True}),
    ],
)
async def test_the_kind_of_recipient_is_a_flag(
    recipient: str, flags: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["wppconnect"]))
    await make("wppconnect", server.url).send(replace(message, recipient=recipient))
    assert {**server.received[0].body, "options": None} == {**TO, **flags, "message": "Hello 😀", "options": None}


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        ({"id": "true_91@c.us_3EB0", "ack": 1}, Sent("true_91@c.us_3EB0")),
        ({"id": {"_serialized": "true_91@c.us_3EB0"}, "ack": 0}, Sent("true_91@c.us_3EB0")),
        ({"id": "x", "ack": -1}, Retry("WhatsApp Web could not send it")),
        ({"id": "x", "ack": 0, "isSendFailure": True}, Retry("WhatsApp Web could not send it")),
        ({"ack": 0}, Unconfirmed("wppconnect accepted it, but named no message")),
    ],
)
async def test_a_201_is_read_to_the_end(
    sent: dict[str, Any], outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, {"status": "success", "response": [sent], "mapper": "return"}))
    assert await make("wppconnect", server.url).send(message) == outcome


async def test_an_error_in_a_200_leaves_doubt(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(answer(200, {"status": "Error", "message": "Erro ao enviar a mensagem."}))
    reason = "wppconnect accepted it, but reports a fault (Erro ao enviar a mensagem.)"
    assert await make("wppconnect", server.url).send(message) == Unconfirmed(reason)


DOWN = "The wppconnect session is not connected to WhatsApp (A sessão do WhatsApp não está ativa.)"
LOST = "wppconnect lost WhatsApp's answer (Call timed out Error sending.)"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (
            404,
            {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."},
            Stopped(DOWN),
        ),
        (401, {"error": "No"}, Stopped("The gateway does not accept our credentials (No)")),
        (
            500,
            {"status": "Error", "message": "Erro ao enviar a mensagem.", "error": {}},
            Unconfirmed(f"{DOUBT.reason} (Erro ao enviar a mensagem.)"),
        ),
        (
            500,
            {"status": "Error", "message": "Error sending.", "error": {"message": "Call timed out"}},
            Unconfirmed(LOST),
        ),
        (400, {"message": "Bad body"}, Unconfirmed(f"{DOUBT.reason} (Bad body)")),
    ],
)
async def test_each_refusal_is_told_apart(
    status: int, body: dict[str, Any], outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(status, body))
    assert await make("wppconnect", server.url).send(message) == outcome


@pytest.mark.parametrize(
    ("body", "health"),
    [
        ({"status": "CONNECTED", "qrcode": None, "version": "2.10.4"}, Health(True, "session CONNECTED")),
        ({"status": "QRCODE", "qrcode": "data:"}, Health(False, "session QRCODE")),
        ({"status": "CLOSED", "qrcode": None}, Health(False, "session CLOSED")),
        ({"status": True, "message": "Connected"}, Health(False, "session unknown")),
        ({}, Health(False, "session unknown")),
    ],
)
async def test_a_check_reads_the_sessions_state(body: dict[str, Any], health: Health, make: Make, serve: Serve) -> None:
    server = await serve(answer(200, body))
    assert await make("wppconnect", server.url).check("my shop") == health
    assert server.received[0].path == "/api/my%20shop/status-session"
