"""WAHA, the WhatsApp HTTP API (https://waha.devlike.pro/docs/how-to/send-messages)."""

from typing import Any
from urllib.parse import quote

from worker.gateway.base import Settings, person, timeout_within
from worker.gateway.http import Answered, Http, dig, first_text
from worker.gateway.posting import Fault, File, PostingGateway, Request
from worker.models import Health, Kind, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

ROUTES: dict[Kind, str] = {
    "image": "/api/sendImage",
    "video": "/api/sendVideo",
    "audio": "/api/sendVoice",
    "document": "/api/sendFile",
}
ACK_ERROR = -1

UNKNOWN = Rejected("No WhatsApp account has this number")
SESSION_DOWN = Stopped("The WAHA session is not connected to WhatsApp")
FAULTS: tuple[Fault, ...] = (
    (None, "plus version", Rejected("This edition of WAHA cannot send this kind")),
    (None, "no lid", UNKNOWN),
    (None, "not registered", UNKNOWN),
    (None, "number does not exist", UNKNOWN),
    (None, "connection closed", SESSION_DOWN),
    (None, "timed out", Unconfirmed("WAHA lost WhatsApp's answer")),
    (422, "", SESSION_DOWN),
    (404, "", Stopped("WAHA does not know this session")),
)


class Waha(PostingGateway):
    name = "waha"
    faults = FAULTS

    def text(self, message: Message) -> Request:
        return Request("/api/sendText", {**addressed(message), "text": message.text})

    def file(self, message: Message, file: File) -> Request:
        described = {"mimetype": file.mime_type, "filename": file.name, "url": file.url}
        body: dict[str, object] = {**addressed(message), "file": described}
        if file.kind == "audio":
            return Request(ROUTES["audio"], {**body, "convert": True})  # WhatsApp plays Opus alone
        return Request(ROUTES[file.kind], {**body, "caption": message.text})

    def accepted(self, body: Any) -> Answered:
        """The id is a string, an object, or a raw Baileys key, by WAHA's engine."""
        if ACK_ERROR in (dig(body, "ack"), dig(body, "_data", "ack")):
            return Retry("WhatsApp Web could not send it")
        paths = (("id",), ("id", "_serialized"), ("key", "id"), ("id", "id"), ("_data", "id", "_serialized"))
        found = first_text(body, *paths)
        return Sent(found) if found else Unconfirmed("WAHA accepted it, but named no message")

    def words(self, body: Any) -> str:
        return first_text(body, ("exception", "message"), ("message",), ("error",))

    def health_path(self, sender: str) -> str:
        return f"/api/sessions/{quote(sender, safe='')}"

    def health(self, body: Any) -> Health:
        status = first_text(body, ("status",)) or "unknown"
        return Health(status == "WORKING", f"session {status}")


def addressed(message: Message) -> dict[str, object]:
    digits = person(message.recipient)
    return {"session": message.sender, "chatId": f"{digits}@c.us" if digits else message.recipient}


def build(settings: Settings) -> Waha:
    headers = {"x-api-key": settings.waha_api_key or ""}
    timeout = timeout_within(settings.lease_seconds)
    return Waha(Http(settings.waha_url or "", headers, timeout=timeout, connections=settings.concurrency))
