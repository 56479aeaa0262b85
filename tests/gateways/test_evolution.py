"""Evolution API: what it is sent, and what each of its errors means for the row."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.given import ACCEPTED, AUDIO, IMAGE, PDF, VIDEO, Make, Serve
from tests.gateways.server import answer
from worker.gateway.posting import DOUBT
from worker.models import Health, Media, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

TO = {"number": "919876543210"}


def media(kind: str, mime_type: str, url: str | None, name: str) -> dict[str, Any]:
    return {"mediatype": kind, "mimetype": mime_type, "media": url, "caption": "Hello 😀", "fileName": name}


@pytest.mark.parametrize(
    ("fields", "path", "body"),
    [
        ({}, "sendText", {"text": "Hello 😀", "linkPreview": False}),
        ({"kind": "image", "media": IMAGE}, "sendMedia", media("image", "image/png", IMAGE.url, "a.png")),
        ({"kind": "video", "media": VIDEO}, "sendMedia", media("video", "video/mp4", VIDEO.url, "video.mp4")),
        (
            {"kind": "document", "media": PDF},
            "sendMedia",
            media("document", "application/pdf", PDF.url, "r.pdf"),
        ),
        # It takes the type from the name's extension, and ".2" is none.
        (
            {"kind": "document", "media": Media(PDF.url, "document", None, "Plan v1.2")},
            "sendMedia",
            media("document", "application/octet-stream", PDF.url, "Plan v1.2.bin"),
        ),
        ({"kind": "audio", "media": AUDIO, "text": ""}, "sendWhatsAppAudio", {"audio": AUDIO.url}),
        (
            {"kind": "template", "template": {"name": "t", "language": {"code": "en_US"}, "components": []}},
            "sendTemplate",
            {"name": "t", "language": "en_US", "components": []},
        ),
    ],
)
async def test_each_kind_is_posted_as_documented(
    fields: dict[str, Any], path: str, body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["evolution"]))
    assert await make("evolution", server.url).send(replace(message, **fields)) == Sent("id-1")
    (request,) = server.received
    assert (request.method, request.path, request.body) == ("POST", f"/message/{path}/shop", {**TO, **body})


@pytest.mark.parametrize(
    ("recipient", "number"),
    [
        ("919876543210@c.us", "919876543210"),
        ("919876543210@s.whatsapp.net", "919876543210"),
        ("120363025246125486@g.us", "120363025246125486@g.us"),
        ("210913009393817@lid", "210913009393817@lid"),
    ],
)
async def test_people_are_digits_and_groups_keep_their_id(
    recipient: str, number: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED["evolution"]))
    await make("evolution", server.url).send(replace(message, recipient=recipient))
    assert server.received[0].body["number"] == number


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"messages": [{"id": "wamid.1"}]}, Sent("wamid.1")),
        ({"key": {"id": "3EB0"}, "status": "ERROR"}, Retry("WhatsApp Web could not send it")),
        (
            {"status": "PENDING"},
            Unconfirmed("Evolution accepted it, but named no message"),
        ),
    ],
)
async def test_what_it_accepted_is_read(
    body: dict[str, Any], outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, body))
    assert await make("evolution", server.url).send(message) == outcome


def wrapped(message: object) -> dict[str, Any]:
    return {"status": 0, "error": "Whatever", "response": {"message": message}}


DOWN = "The Evolution instance is not connected to WhatsApp"
ABSENT = {"jid": "919876543210@s.whatsapp.net", "exists": False, "number": "919876543210"}


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [
        (400, [ABSENT], Rejected("No WhatsApp account has this number (exists: false)")),
        (400, ["requires text"], Rejected("Evolution refuses the request (requires text)")),
        (400, ["Error: Connection Closed"], Stopped(f"{DOWN} (Error: Connection Closed)")),
        (500, "Connection Closed", Stopped(f"{DOWN} (Connection Closed)")),
        (400, ["SessionError: session closed"], Stopped(f"{DOWN} (SessionError: session closed)")),
        (500, "Error: Session Closed", Stopped(f"{DOWN} (Error: Session Closed)")),
        (401, "No", Stopped("The gateway does not accept our credentials (No)")),
        (
            400,
            ["Error: Timed Out"],
            Unconfirmed("Evolution lost WhatsApp's answer (Error: Timed Out)"),
        ),
        (500, "Internal Server Error", Unconfirmed(f"{DOUBT.reason} (Internal Server Error)")),
    ],
)
async def test_each_refusal_is_told_apart(
    status: int, said: object, outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(status, wrapped(said)))
    assert await make("evolution", server.url).send(message) == outcome


@pytest.mark.parametrize(
    ("body", "health"),
    [
        ({"instance": {"instanceName": "shop", "state": "open"}}, Health(True, "instance open")),
        ({"instance": {"instanceName": "shop", "state": "connecting"}}, Health(False, "instance connecting")),
        ({}, Health(False, "instance unknown")),
    ],
)
async def test_a_check_reads_the_instances_state(
    body: dict[str, Any], health: Health, make: Make, serve: Serve
) -> None:
    server = await serve(answer(200, body))
    assert await make("evolution", server.url).check("my shop") == health
    assert server.received[0].path == "/instance/connectionState/my%20shop"


@pytest.mark.parametrize("kind", ["text", "image", "audio"])
async def test_a_channel_is_not_mistaken_for_a_group(kind: Any, make: Make, serve: Serve, message: Message) -> None:
    """evolution-api/src/utils/createJid.ts makes …@g.us of it."""
    server = await serve(answer(201, ACCEPTED["evolution"]))
    channel = replace(message, recipient="120363025246125486@newsletter", kind=kind, media=IMAGE)
    outcome = await make("evolution", server.url).send(channel)
    assert isinstance(outcome, Rejected)
    assert "not to the channel" in outcome.reason
    assert server.received == []
