"""WhatsApp Cloud API (developers.facebook.com/documentation/business-messaging/whatsapp)."""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from worker.config import Settings
from worker.gateway import meta
from worker.gateway.base import person, timeout_within
from worker.gateway.client import Answer, Answered, Http, dig, first_text, settled
from worker.gateway.posting import File, PostingGateway, Request
from worker.gateway.words import PROXIES, judged
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

CODES = meta.CODES  # what an answer's code means
LONGEST_BACK_OFF = 7  # 4^7 s are four and a half hours

# Where there is no code, or one that Meta does not document. All of Meta's own statuses are refusals; only a
# time-out on the way, and a proxy's of somebody else's, may hide a message that went out.
NO_ANSWER_OF_ITS_OWN = Unconfirmed("The gateway gave no answer of its own")
OTHERWISE: dict[int, Answered] = {
    4: Rejected("The gateway refuses this message"),
    5: Retry("The gateway had a fault"),
    404: Stopped("The gateway does not know this session or address"),
    501: Rejected("The gateway cannot do this"),
    502: meta.PASSING,
    503: Retry("The gateway is not available"),
    **dict.fromkeys((408, 504, 520, 524), NO_ANSWER_OF_ITS_OWN),
}
BAD_STATES = ("BANNED", "DELETED", "DISCONNECTED", "MIGRATED", "RESTRICTED", "UNVERIFIED")


class Cloud(PostingGateway):
    name = "cloud"
    otherwise = OTHERWISE

    def __init__(self, http: Http, phone_number_id: str, *, link_previews: bool = False) -> None:
        super().__init__(http, link_previews=link_previews)
        self.phone_number_id = phone_number_id

    async def send_part(self, message: Message, deadline: float) -> Answered:
        outcome = await super().send_part(message, deadline)
        if isinstance(outcome, Throttled) and outcome.scope == "recipient":
            tries = message.attempt - 1 + message.throttled
            return replace(outcome, after=max(outcome.after or 0.0, 4.0 ** min(tries, LONGEST_BACK_OFF)))
        return outcome

    def text(self, message: Message) -> Request | Rejected:
        return self.posted(message, {"body": message.text, "preview_url": self.link_previews})

    def file(self, message: Message, file: File) -> Request | Rejected:
        body: dict[str, object] = {"link": file.url}
        if message.text:
            body["caption"] = message.text
        if file.kind == "document":
            body["filename"] = file.name
        return self.posted(message, body)

    def template(self, message: Message) -> Request | Rejected:
        return self.posted(message, message.template or {})

    def posted(self, message: Message, body: dict[str, object]) -> Request | Rejected:
        # Without the plus the sender's own country code may be put before a number; an id has a field of its own.
        digits = person(message.recipient)
        to = {"to": f"+{digits}"} if digits else {"recipient": message.recipient}
        if not digits and "@" in message.recipient:
            return Rejected("The WhatsApp Cloud API writes to people's numbers and business-scoped user ids alone")
        sender = quote(message.sender or self.phone_number_id, safe="")
        return Request(
            f"/{sender}/messages",
            {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                **to,
                "type": message.kind,
                message.kind: body,
                "biz_opaque_callback_data": callback_data(message),
            },
        )

    def accepted(self, body: Any) -> Answered:
        found = first_text(body, ("messages", 0, "id"))
        return Sent(found) if found else Unconfirmed("WhatsApp accepted it, but named no message")

    def outcome(self, answer: Answer, message: Message) -> Answered:  # noqa: ARG002
        taken = self.accepted(answer.body) if answer.ok else None
        if isinstance(taken, Sent) or (taken and not dig(answer.body, "error")):
            return taken
        return self.refused(answer)

    def refused(self, answer: Answer, message: Message | None = None) -> Answered:  # noqa: ARG002
        words = self.words(answer.body)
        known = meta.judged(dig(answer.body, "error"))
        if known is None and answer.ok:
            known = meta.BAD_REQUEST
        known = known or judged(PROXIES, answer.status, answer.text)
        return settled(known, answer, words, self.otherwise)

    def words(self, body: Any) -> str:
        return meta.words(dig(body, "error"))

    def health_path(self, sender: str) -> str:
        fields = "verified_name,quality_rating,status"
        return f"/{quote(sender or self.phone_number_id, safe='')}?fields={fields}"

    def health(self, body: Any) -> Health:
        """A number that is not registered answers too; its status tells."""
        status = first_text(body, ("status",)) or "reachable"
        quality = first_text(body, ("quality_rating",)) or "unknown"
        return Health(status not in BAD_STATES, f"number {status}, quality {quality}")


def callback_data(message: Message) -> str:
    """What each status of it comes back with (Meta's reference of messages: at most 512 characters)."""
    return f"{message.job_id}:{message.part}" if message.part else message.job_id


def build(settings: Settings) -> Cloud:
    headers = {"authorization": f"Bearer {settings.whatsapp_access_token or ''}"}
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.whatsapp_api_base, headers, timeout=timeout, connections=settings.concurrency)
    return Cloud(http, settings.whatsapp_phone_number_id or "", link_previews=settings.link_previews)
