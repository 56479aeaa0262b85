"""Evolution API v2 (https://doc.evolution-api.com/v2/api-reference)."""

from typing import Any
from urllib.parse import quote

from worker.gateway.base import Settings, person, timeout_within
from worker.gateway.http import Answered, Http, dig, first_text
from worker.gateway.posting import Fault, File, PostingGateway, Request
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed

UNKNOWN = Rejected("No WhatsApp account has this number")
# evolution-api/src/utils/createJid.ts (2.3.x): what is neither a group's id nor a person's becomes one of the two
NO_CHANNELS = Rejected("Evolution would write to a group of this number and not to the channel: use another gateway")
INSTANCE_DOWN = Stopped("The Evolution instance is not connected to WhatsApp")
FAULTS: tuple[Fault, ...] = (
    (None, "exists: false", UNKNOWN),
    (None, "no lid", UNKNOWN),
    (None, "connection closed", INSTANCE_DOWN),
    (None, "session closed", INSTANCE_DOWN),
    (None, "no sessions", INSTANCE_DOWN),
    (None, "timed out", Unconfirmed("Evolution lost WhatsApp's answer")),
    (404, "", Stopped("Evolution does not know this instance")),
)


class Evolution(PostingGateway):
    name = "evolution"
    faults = FAULTS

    def text(self, message: Message) -> Request | Rejected:
        # evolution-api/src/validate/message.schema.ts, textMessageSchema; previewed unless it is false
        written = {"text": message.text, "linkPreview": self.link_previews}
        return addressed("sendText", message, written)

    def file(self, message: Message, file: File) -> Request | Rejected:
        if file.kind == "audio":
            return addressed("sendWhatsAppAudio", message, {"audio": file.url})
        return addressed(
            "sendMedia",
            message,
            {
                "mediatype": file.kind,
                "mimetype": file.mime_type,
                "media": file.url,
                "caption": message.text,
                "fileName": file.name,
            },
        )

    def template(self, message: Message) -> Request | Rejected:
        written = message.template or {}
        return addressed(
            "sendTemplate",
            message,
            {
                "name": written.get("name"),
                "language": dig(written, "language", "code"),
                "components": written.get("components"),
            },
        )

    def accepted(self, body: Any) -> Answered:
        if dig(body, "status") == "ERROR":
            return Retry("WhatsApp Web could not send it")
        found = first_text(body, ("key", "id"), ("messages", 0, "id"))
        return Sent(found) if found else Unconfirmed("Evolution accepted it, but named no message")

    def words(self, body: Any) -> str:
        """`response.message` is a text, a list of texts, or a list of `{jid, exists, number}`."""
        if dig(body, "response", "message", 0, "exists") is False:
            return "exists: false"
        return first_text(body, ("response", "message", 0), ("response", "message"), ("message",), ("error",))

    def health_path(self, sender: str) -> str:
        return f"/instance/connectionState/{quote(sender, safe='')}"

    def health(self, body: Any) -> Health:
        state = first_text(body, ("instance", "state"), ("state",)) or "unknown"
        return Health(state == "open", f"instance {state}")


def addressed(verb: str, message: Message, body: dict[str, object]) -> Request | Rejected:
    if message.recipient.endswith("@newsletter"):
        return NO_CHANNELS
    number = person(message.recipient) or message.recipient
    return Request(f"/message/{verb}/{quote(message.sender, safe='')}", {"number": number, **body})


def build(settings: Settings) -> Evolution:
    headers = {"apikey": settings.evolution_api_key or ""}
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.evolution_url or "", headers, timeout=timeout, connections=settings.concurrency)
    return Evolution(http, link_previews=settings.link_previews)
