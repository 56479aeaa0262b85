"""WAHA: what it is sent, its shapes of ids, and what each of its errors means for the row."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.given import ACCEPTED, AUDIO, IMAGE, PDF, VIDEO, Make, Serve
from tests.gateways.server import answer
from worker.gateway.posting import DOUBT
from worker.gateway.words import NOT_FOUND
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

TO = {"session": "shop", "chatId": "919876543210@c.us"}


@pytest.mark.parametrize(
    ("fields", "path", "body"),
    [
        ({}, "/api/sendText", {"text": "Hello 😀", "linkPreview": False}),
        (
            {"kind": "image", "media": IMAGE},
            "/api/sendImage",
            {"file": {"mimetype": "image/png", "filename": "a.png", "url": IMAGE.url}, "caption": "Hello 😀"},
        ),
        (
            {"kind": "video", "media": VIDEO},
            "/api/sendVideo",
            {
                "file": {"mimetype": "video/mp4", "filename": "video.mp4", "url": VIDEO.url},
                "caption": "Hello 😀",
            },
        ),
        (
            {"kind": "audio", "media": AUDIO, "text": ""},
            "/api/sendVoice",
            {"file": {"mimetype": "audio/mpeg", "filename": "n.mp3", "url": AUDIO.url}, "convert": True},
        ),
        (
            {"kind": "document", "media": PDF},
            "/api/sendFile",
            {
                "file": {"mimetype": "application/pdf", "filename": "r.pdf", "url": PDF.url},
                "caption": "Hello 😀",
            },
        ),
    ],
)
async def test_each_kind_is_posted_as_documented(
    fields: dict[str, Any], path: str, body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["waha"]))
    assert await make("waha", server.url).send(replace(message, **fields)) == Sent("id-1")
    (request,) = server.received
    assert (request.method, request.path, request.body) == ("POST", path, {**TO, **body})


@pytest.mark.parametrize(("mime_type", "converts"), [("video/mp4", None), ("video/quicktime", True)])
async def test_a_video_that_whatsapp_does_not_play_is_converted(
    mime_type: str, converts: bool | None, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["waha"]))
    video = replace(VIDEO, mime_type=mime_type, filename="v")
    await make("waha", server.url).send(replace(message, kind="video", media=video))
    assert server.received[0].body.get("convert") is converts


async def test_there_are_no_templates(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(answer(201, ACCEPTED["waha"]))
    outcome = await make("waha", server.url).send(replace(message, kind="template", template={"name": "t"}))
    assert outcome == Rejected("This gateway has no templates: write a text")
    assert server.received == []


@pytest.mark.parametrize(
    ("recipient", "chat_id"),
    [
        ("+919876543210", "919876543210@c.us"),
        ("919876543210@c.us", "919876543210@c.us"),
        ("919876543210@s.whatsapp.net", "919876543210@c.us"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
        ("210913009393817@lid", "210913009393817@lid"),
    ],
)
async def test_recipients_become_chat_ids(
    recipient: str, chat_id: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["waha"]))
    await make("waha", server.url).send(replace(message, recipient=recipient))
    assert server.received[0].body["chatId"] == chat_id


@pytest.mark.parametrize(
    "body",
    [
        {"id": "true_91@c.us_3EB0", "timestamp": 1, "fromMe": True, "ack": 0, "ackName": "PENDING"},
        {"id": {"fromMe": True, "remote": "91@c.us", "id": "3EB0", "_serialized": "true_91@c.us_3EB0"}},
        {
            "key": {"remoteJid": "91@s.whatsapp.net", "fromMe": True, "id": "true_91@c.us_3EB0"},
            "status": "PENDING",
        },
        {"_data": {"id": {"_serialized": "true_91@c.us_3EB0"}}},
    ],
)
async def test_every_engines_shape_of_an_id_is_read(
    body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, body))
    assert await make("waha", server.url).send(message) == Sent("true_91@c.us_3EB0")


@pytest.mark.parametrize("body", [{"id": "x", "ack": -1, "ackName": "ERROR"}, {"id": "x", "_data": {"ack": -1}}])
async def test_an_accepted_message_with_an_error_ack_is_tried_again(
    body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, body))
    assert await make("waha", server.url).send(message) == Retry("WhatsApp Web could not send it")


async def test_an_accepted_message_without_an_id_is_unconfirmed(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(answer(201, {"timestamp": 1}))
    assert await make("waha", server.url).send(message) == Unconfirmed("WAHA accepted it, but named no message")


def engine(message: str) -> dict[str, Any]:
    """As WAHA reports an exception; it repeats the request, which must not be mistaken for its words."""
    return {
        "statusCode": 500, "exception": {"message": message, "name": "Error"},
        "request": {"path": "/api/sendText", "body": {"text": "timed out, connection closed, no lid"}},
    }  # fmt: skip


DOWN = "The WAHA session is not connected to WhatsApp"
NO_LID = "2 UNKNOWN: no LID found for 525537135075@s.whatsapp.net from server"
PLUS = "The feature is available only in Plus version for 'WEBJS' engine."
NOT_READY = {"error": "Session status is not as expected", "session": "shop", "status": "SCAN_QR_CODE"}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (422, NOT_READY, Stopped(f"{DOWN} (Session status is not as expected)")),
        (401, {"message": "No"}, Stopped("The gateway does not accept our credentials (No)")),
        (422, {"message": PLUS}, Rejected(f"This edition or engine of WAHA cannot send this kind ({PLUS})")),
        (
            500,
            engine(NO_LID),
            Rejected(f"{NOT_FOUND.reason} (2 UNKNOWN: no LID found for … from server)"),
        ),
        (500, engine("Connection Closed"), Stopped(f"{DOWN} (Connection Closed)")),
        (
            500,
            engine("Call timed out"),
            Unconfirmed("WAHA lost WhatsApp's answer (Call timed out)"),
        ),
        (500, engine("Evaluation failed"), Unconfirmed(f"{DOUBT.reason} (Evaluation failed)")),
        (
            400,
            {"message": ["chatId must be a string"], "error": "Bad Request"},
            Rejected("WAHA refuses the request (invalid request: chatId must be a string)"),
        ),
    ],
)
async def test_each_refusal_is_told_apart(
    status: int, body: dict[str, Any], outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(status, body))
    assert await make("waha", server.url).send(message) == outcome


@pytest.mark.parametrize(
    ("body", "health"),
    [
        ({"name": "shop", "status": "WORKING"}, Health(True, "session WORKING")),
        ({"name": "shop", "status": "SCAN_QR_CODE"}, Health(False, "session SCAN_QR_CODE")),
        ({"name": "shop"}, Health(False, "session unknown")),
    ],
)
async def test_a_check_reads_the_sessions_state(body: dict[str, str], health: Health, make: Make, serve: Serve) -> None:
    server = await serve(answer(200, body))
    assert await make("waha", server.url).check("my shop/1") == health
    assert (server.received[0].method, server.received[0].path) == ("GET", "/api/sessions/my%20shop%2F1")
