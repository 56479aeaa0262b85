"""Evolution API v2 (https://doc.evolution-api.com/v2/api-reference)."""

from typing import Any
from urllib.parse import quote

from worker.config import Settings
from worker.gateway import meta
from worker.gateway.base import person, timeout_within
from worker.gateway.client import Answer, Answered, Http, dig, first_text, settled
from worker.gateway.posting import File, PostingGateway, Request
from worker.gateway.words import ATTACHMENT, LOCKED, NOT_ASKED, NOT_FETCHED, SAID, UNKNOWN_NUMBER, Fault, baileys
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed
from worker.planning.attachments import extension

# evolution-api/src/utils/createJid.ts (2.3.x): what is neither a group's id nor a person's becomes one of the two
NO_CHANNELS = Rejected("Evolution would write to a group of this number and not to the channel: use another gateway")
INSTANCE_DOWN = Stopped("The Evolution instance is not connected to WhatsApp")
NOT_LOADED = Stopped("Evolution has not loaded this instance: restart the instance in its manager")
NO_INSTANCE = Stopped("Evolution does not know this instance: the connection's sender must be its name")
NO_LICENCE = Stopped("This Evolution API is not activated: open its manager and activate the licence")
NO_DATABASE = Retry("Evolution cannot read its database")
NOT_REACHED = Retry("Evolution could not reach what it needs before it sends: the attachment or its cache")
NO_ANSWER_FROM_META = Unconfirmed("Evolution got no answer from Meta")
LOST = Unconfirmed("Evolution lost WhatsApp's answer")
UNSTORED = Unconfirmed("Evolution could not store the message, which it does after sending")

# One `catch` stands around sending, storing and hooks, and makes a 400 of whatever they throw: a 400 proves nothing by
# itself, while a 500 comes from before it (whatsapp.baileys.service.ts, sendMessageWithTyping, prepareMediaMessage).
UNLOADED = r"cannot read propert\w+ of (?:undefined|null) \(reading '(?:{})'\)$"
FAULTS: tuple[Fault, ...] = (
    (None, r"^license_\w+: ", NO_LICENCE),
    (503, r"^(?:this evolution api instance is|service) not activated", NO_LICENCE),
    (404, r"^the \".*\" instance does not exist$", NO_INSTANCE),
    (404, r"^cannot (?:post|get) /", Stopped("Evolution does not know this address: check EVOLUTION_URL, its version")),
    (500, r"^not allowed by cors$", Stopped("Evolution's CORS_ORIGIN keeps us out: set it to * or leave it unset")),
    (400, r"^exists: false$", UNKNOWN_NUMBER),
    (
        400,
        r"^invalid request: |^(?:instance\S* )?requires |^[\w ]+ is required$",
        Rejected("Evolution refuses the request"),
    ),
    (400, r"^owned media must be|^file buffer, url, or base64", NOT_FETCHED),
    (400, r"^method not available on", Rejected("This kind of Evolution instance cannot send this")),
    (
        400,
        r"^\[object object\]$",
        Retry("Evolution cannot read this group: the phone is not in it, or is reconnecting"),
    ),
    (500, SAID + r"invalid `.*\b(?:contact\.findmany|instance\.find\w+|isonwhatsapp\.find\w+)\(", NO_DATABASE),
    (400, r"prisma", UNSTORED),
    (400, r"reading 'message'\)$", NO_ANSWER_FROM_META),
    (500, SAID + UNLOADED.format("textMessage|mediaMessage|audioWhatsapp|templateMessage|onWhatsApp"), NOT_LOADED),
    (500, SAID + UNLOADED.format("waUploadToServer"), NOT_LOADED),
    (400, SAID + UNLOADED.format("sendMessage|presenceSubscribe|sendPresenceUpdate|groupMetadata"), NOT_LOADED),
    (500, SAID + UNLOADED.format("find|exists"), NOT_ASKED),
    (None, SAID + r"session closed$", INSTANCE_DOWN),
    (500, SAID + r"request failed with status code (?:408|425|429|5\d\d)$", ATTACHMENT[0][2]),
    (500, SAID + r"request failed with status code [34]\d\d$", NOT_FETCHED),
    (
        500,
        SAID + r"input (?:buffer|file) ",
        Rejected("Evolution cannot read the picture: send it as a JPEG or a document"),
    ),
    (500, r"ffmpeg exited|failed to convert audio", Rejected("Evolution cannot convert the audio: send an MP3 or OGG")),
    (500, SAID + r"(?:fetch failed|socket hang up|timeout of \d+ ?ms exceeded)$", NOT_REACHED),
    (500, SAID + r"(?:connect|read|getaddrinfo) e[a-z_]+\b", NOT_REACHED),
    (None, SAID + r"no lid", UNKNOWN_NUMBER),
    *baileys(INSTANCE_DOWN, LOST),
    *ATTACHMENT,
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
                # The type is taken from the extension, and a name without one makes it the word "false".
                "fileName": file.name if extension(file.name) else f"{file.name}.bin",
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

    def outcome(self, answer: Answer, message: Message) -> Answered:
        """Of a WhatsApp Business instance Graph's refusal is passed on as a 201 (whatsapp.business.service.ts)."""
        error = dig(answer.body, "error") if isinstance(dig(answer.body, "error"), dict) else answer.body
        if answer.ok and meta.code_of(error) is not None and isinstance(dig(error, "message"), str):
            return settled(meta.judged(error) or meta.BAD_REQUEST, answer, meta.words(error), self.otherwise)
        return super().outcome(answer, message)

    def accepted(self, body: Any) -> Answered:
        found = first_text(body, ("key", "id"), ("messages", 0, "id"))
        stub = dig(body, "messageStubParameters")
        if isinstance(stub, list) and "463" in map(str, stub):
            return LOCKED
        if found and dig(body, "status") == "ERROR":
            return Retry("WhatsApp Web could not send it")
        return Sent(found) if found else Unconfirmed("Evolution accepted it, but named no message")

    def words(self, body: Any) -> str:
        """`response.message` is a text, a list of texts, of `{jid, exists, number}`, or of a list: the validation's."""
        said = dig(body, "response", "message")
        code = first_text(body, ("code",))
        if code.startswith("LICENSE_"):  # evolution-api 2.4, licensing/runtime.ts
            return f"{code}: {first_text(body, ('message',), ('error',))}"
        if False in (dig(said, 0, "exists"), dig(said, "exists")):
            return "exists: false"
        if isinstance(dig(said, 0), list):
            return "invalid request: " + "; ".join(text for text in dig(said, 0) if isinstance(text, str))
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
