"""WAHA, the WhatsApp HTTP API (https://waha.devlike.pro/docs/how-to/send-messages)."""

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from worker.gateway.base import Settings, person, timeout_within
from worker.gateway.http import Answer, Answered, Http, dig, first_text
from worker.gateway.numbers import Numbers
from worker.gateway.posting import Fault, File, PostingGateway, Request
from worker.models import Health, Kind, Message, Rejected, Retry, Sent, Stopped, Unconfirmed
from worker.recipient import PERSON_ID

ROUTES: dict[Kind, str] = {
    "image": "/api/sendImage",
    "video": "/api/sendVideo",
    "audio": "/api/sendVoice",
    "document": "/api/sendFile",
}
ACK_ERROR = -1
LOOK_UP_SECONDS = 5.0

NOT_THERE = Rejected("WAHA says that no WhatsApp account has this number: check it, or set WAHA_CHECK_NUMBERS=false")
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
    http = Http(settings.waha_url or "", headers, timeout=timeout, connections=settings.concurrency)
    return Waha(http, link_previews=settings.link_previews, check_numbers=settings.waha_check_numbers)
