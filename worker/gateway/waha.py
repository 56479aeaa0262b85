"""WAHA, the WhatsApp HTTP API (https://waha.devlike.pro/docs/how-to/send-messages)."""

import asyncio
import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from worker.config import Settings
from worker.gateway.base import person, timeout_within
from worker.gateway.client import Answer, Answered, Http, dig, first_text
from worker.gateway.numbers import Numbers
from worker.gateway.posting import File, PostingGateway, Request
from worker.gateway.words import ATTACHMENT, UNKNOWN_NUMBER, Fault, baileys, browser, whatsmeow
from worker.models import ContentKind, Health, Message, Rejected, Retry, Sent, Stopped, Unconfirmed
from worker.planning.attachments import PLAYED, base_type
from worker.planning.recipient import PERSON_ID

ROUTES: dict[ContentKind, str] = {
    "image": "/api/sendImage",
    "video": "/api/sendVideo",
    "audio": "/api/sendVoice",
    "document": "/api/sendFile",
}
ACK_ERROR = -1
LOOK_UP_SECONDS = 5.0

NOT_THERE = Rejected("WAHA says that no WhatsApp account has this number: check it, or set WAHA_CHECK_NUMBERS=false")
SESSION_DOWN = Stopped("The WAHA session is not connected to WhatsApp")
ONLY_DEFAULT = Stopped("WAHA Core has the session `default` alone: set the connection's sender to default, or get Plus")
NO_SESSION = Stopped(
    "WAHA does not know this session: the connection's sender must be its name, and it must be started"
)
NOT_HERE = Rejected("This edition or engine of WAHA cannot send this kind")
LOST = Unconfirmed("WAHA lost WhatsApp's answer")

# waha/src/nestjs/AllExceptionsFilter.ts: what NestJS refuses keeps its status, whatever else is thrown becomes a 500
# with `exception.message`. Sources of the rows: core/manager.core.ts, core/abc/manager.abc.ts, core/exceptions.ts.
FAULTS: tuple[Fault, ...] = (
    (422, r"^waha core .*only 'default' session", ONLY_DEFAULT),
    (422, r"^session\b", SESSION_DOWN),
    (422, r"plus version|not implemented by the engine|docker image|not supported by the engine", NOT_HERE),
    (404, r"^we didn't find|^(?:the )?session\b.*\b(?:not found|not exist)", NO_SESSION),
    (404, r"^cannot (?:post|get) /", Stopped("WAHA does not know this address: check WAHA_URL and WAHA's version")),
    (400, r"^invalid request: ", Rejected("WAHA refuses the request")),
    (None, r"^(?:.* is )?not registered|number does not exist", UNKNOWN_NUMBER),
    *whatsmeow(SESSION_DOWN),
    *baileys(SESSION_DOWN, LOST),
    *browser(SESSION_DOWN),
    *ATTACHMENT,
)


class Waha(PostingGateway):
    """check_numbers: WAHA is asked which chat a number has before it is first written to."""

    name = "waha"
    faults = FAULTS

    def __init__(self, http: Http, *, link_previews: bool = False, check_numbers: bool = False) -> None:
        super().__init__(http, link_previews=link_previews)
        self.numbers = Numbers(self.look_up) if check_numbers else None

    async def send_part(self, message: Message, deadline: float) -> Answered:
        """What it answers is written to; where it does not answer, the number as it is."""
        digits = person(message.recipient)
        chat = await self.numbers.of(message.sender, digits) if self.numbers and digits else None
        if chat == "":
            return NOT_THERE
        return await super().send_part(replace(message, recipient=chat or message.recipient), deadline)

    async def look_up(self, session: str, digits: str) -> str | None:
        """GET /api/contacts/check-exists (WAHA/src/api/contacts.controller.ts: `{numberExists, chatId}`)."""
        deadline = asyncio.get_running_loop().time() + min(LOOK_UP_SECONDS, self.timeout / 6)
        query = urlencode({"phone": digits, "session": session})
        answer = await self.http.call("GET", f"/api/contacts/check-exists?{query}", deadline)
        if not isinstance(answer, Answer) or not answer.ok:
            return None
        if dig(answer.body, "numberExists") is False:
            return ""
        chat = first_text(answer.body, ("chatId",), ("chatId", "_serialized")).lower()
        return chat if PERSON_ID.fullmatch(chat) else None

    def text(self, message: Message) -> Request:
        previewed = {"linkPreview": self.link_previews}  # WAHA/src/structures/chatting.dto.ts; true by default
        return Request("/api/sendText", {**addressed(message), "text": message.text, **previewed})

    def file(self, message: Message, file: File) -> Request:
        described = {"mimetype": file.mime_type, "filename": file.name, "url": file.url}
        body: dict[str, object] = {**addressed(message), "file": described}
        if file.kind == "audio":
            return Request(ROUTES["audio"], {**body, "convert": True})  # WhatsApp plays Opus alone
        if file.kind == "video" and base_type(file.mime_type) not in PLAYED["video"]:
            body["convert"] = True
        return Request(ROUTES[file.kind], {**body, "caption": message.text})

    def accepted(self, body: Any) -> Answered:
        """The id is a string, an object, or a raw Baileys key, by WAHA's engine."""
        if any(dig(body, name) for name in ("exception", "error", "statusCode")):
            return Unconfirmed("WAHA accepted it, but reports a fault")
        if ACK_ERROR in (dig(body, "ack"), dig(body, "_data", "ack")) or "ERROR" in (
            dig(body, "ack"),
            dig(body, "ackName"),
        ):
            return Retry("WhatsApp Web could not send it")
        if raw_status(body) in (0, "ERROR"):
            return Retry("WhatsApp Web could not send it")
        paths = (("id",), ("id", "_serialized"), ("key", "id"), ("id", "id"), ("_data", "id", "_serialized"))
        found = first_text(body, *paths)
        return Sent(found) if found else Unconfirmed("WAHA accepted it, but named no message")

    def words(self, body: Any) -> str:
        """Never the `request` that it repeats. A list is NestJS' validation's.

        `status` beside `expected` is the session's (manager.abc.ts), whatever the words are.
        """
        said, status = dig(body, "message"), first_text(body, ("status",))
        if isinstance(dig(body, "expected"), list) and re.fullmatch(r"[A-Z_]+", status):
            return f"session status {status}: {first_text(body, ('error',), ('message',))}"
        if isinstance(said, list):
            return "invalid request: " + "; ".join(text for text in said if isinstance(text, str))
        return first_text(body, ("exception", "message"), ("message",), ("error",), ("error", "message"))

    def health_path(self, sender: str) -> str:
        return f"/api/sessions/{quote(sender, safe='')}"

    def health(self, body: Any) -> Health:
        """Of the GOWS engine a session is WORKING also while it has no connection."""
        status = first_text(body, ("status",)) or "unknown"
        if dig(body, "engine", "gows", "connected") is False:
            return Health(False, f"session {status}, its engine is not connected to WhatsApp")
        locked = ", WhatsApp does not let it write to strangers for now" if dig(body, "me", "reachoutTimelock") else ""
        return Health(status == "WORKING", f"session {status}{locked}")


def raw_status(body: Any) -> Any:
    """Of NOWEB's raw reply alone; Baileys counts from 0, an error."""
    return dig(body, "status") if dig(body, "key", "id") else None


def addressed(message: Message) -> dict[str, object]:
    digits = person(message.recipient)
    return {"session": message.sender, "chatId": f"{digits}@c.us" if digits else message.recipient}


def build(settings: Settings) -> Waha:
    headers = {"x-api-key": settings.waha_api_key or ""}
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.waha_url or "", headers, timeout=timeout, connections=settings.concurrency)
    return Waha(http, link_previews=settings.link_previews, check_numbers=settings.waha_check_numbers)
