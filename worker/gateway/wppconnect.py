"""wppconnect-server 2.x (https://wppconnect.io/docs/projects/wppserver)."""

from typing import Any
from urllib.parse import quote

from worker.gateway.base import Settings, timeout_within
from worker.gateway.http import Answered, Http, dig, first_text
from worker.gateway.posting import Fault, File, PostingGateway, Request
from worker.models import Health, Kind, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

ROUTES: dict[Kind, str] = {
    "image": "send-image",
    "video": "send-file",
    "audio": "send-voice",
    "document": "send-file",
}
ACK_ERROR = -1

UNKNOWN = Rejected("No WhatsApp account has this number")
SESSION_DOWN = Stopped("The wppconnect session is not connected to WhatsApp")
FAULTS: tuple[Fault, ...] = (
    (400, "não existe", UNKNOWN),
    (400, "not exist", UNKNOWN),
    (None, "no lid", UNKNOWN),
    (None, "não está ativa", SESSION_DOWN),
    (None, "disconnected", SESSION_DOWN),
    (None, "timed out", Unconfirmed("wppconnect lost WhatsApp's answer")),
    (404, "", SESSION_DOWN),
)


class Wppconnect(PostingGateway):
    name = "wppconnect"
    faults = FAULTS

    def text(self, message: Message) -> Request:
        # wppconnect-server/src/controller/messageController.ts hands `options` to wa-js, whose sendTextMessage reads it
        options = {"linkPreview": self.link_previews}
        return Request(
            path("send-message", message), {**addressed(message), "message": message.text, "options": options}
        )

    def file(self, message: Message, file: File) -> Request:
        body = {**addressed(message), "path": file.url, "filename": file.name}
        if file.kind == "audio":
            return Request(path(ROUTES[file.kind], message), body)
        # Without it the kind is detected, and a picture that its author sends as a document arrives as a picture
        # (wppconnect/src/api/layers/sender.layer.ts, sendFile: `auto-detect`).
        options = {"type": file.kind}
        return Request(path(ROUTES[file.kind], message), {**body, "caption": message.text, "options": options})

    def accepted(self, body: Any) -> Answered:
        """A 201 also comes for what WhatsApp Web gave up at once; the message tells (its issue 2517)."""
        sent = dig(body, "response", 0)
        if dig(sent, "ack") == ACK_ERROR or dig(sent, "isSendFailure") is True:
            return Retry("WhatsApp Web could not send it")
        if str(dig(body, "status")).lower() == "error":
            return Retry("wppconnect could not send it")
        found = first_text(sent, ("id",), ("id", "_serialized"), ("key", "id"), ("id", "id"))
        return Sent(found) if found else Unconfirmed("wppconnect accepted it, but named no message")

    def words(self, body: Any) -> str:
        said = (
            first_text(body, ("error", "message"), ("error",)),
            first_text(body, ("message",), ("status",)),
        )
        return " ".join(word for word in said if word)

    def health_path(self, sender: str) -> str:
        return f"/api/{quote(sender, safe='')}/check-connection-session"

    def health(self, body: Any) -> Health:
        return Health(dig(body, "status") is True, f"session {first_text(body, ('message',)) or 'unknown'}")


def path(verb: str, message: Message) -> str:
    return f"/api/{quote(message.sender, safe='')}/{verb}"


def addressed(message: Message) -> dict[str, object]:
    """The server cuts the domain off and adds its own, by these flags."""
    name, _, domain = message.recipient.lstrip("+").partition("@")
    return {
        "phone": name,
        "isGroup": domain == "g.us",
        "isNewsletter": domain == "newsletter",
        "isLid": domain == "lid",
    }


def build(settings: Settings) -> Wppconnect:
    headers = {"authorization": f"Bearer {settings.wppconnect_token or ''}"}
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.wppconnect_url or "", headers, timeout=timeout, connections=settings.concurrency)
    return Wppconnect(http, link_previews=settings.link_previews)
