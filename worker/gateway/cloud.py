"""WhatsApp Cloud API (developers.facebook.com/documentation/business-messaging/whatsapp).

Meta says to decide on the error's code and details, not on the HTTP status.
"""

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from worker.gateway.base import Settings, person, timeout_within
from worker.gateway.http import Answer, Answered, Http, dig, first_text, settled
from worker.gateway.posting import File, PostingGateway, Request
from worker.models import Health, Message, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

PICTURES = ("image/jpeg", "image/png")  # others are accepted and then fail unseen
DAY = 86_400.0
LONGEST_BACK_OFF = 7  # 4^7 s are four and a half hours

PASSING = Retry("WhatsApp had a passing fault")
NO_ACCESS = Stopped("WhatsApp does not accept our credentials: check the access token and its permissions")
CLOSED = Stopped("WhatsApp has restricted this business account")
SLOW_DOWN = Throttled("This number sends faster than WhatsApp allows", "connection")
NO_TEMPLATE = Rejected("WhatsApp does not offer this template: check its name, language and status")
BAD_PARAMETERS = Rejected("The template's parameters do not fit it")
BAD_REQUEST = Rejected("WhatsApp refuses the request")
BAD_MEDIA = Rejected("WhatsApp cannot use the attachment: check its address, type and size")

CODES: dict[int, Answered] = {
    **dict.fromkeys((1, 2, 131000, 131016, 133004, 131057), PASSING),
    **dict.fromkeys((4, 80007, 130429), SLOW_DOWN),
    131056: Throttled("Too many messages to this recipient in a short time", "recipient"),
    131049: Retry("WhatsApp holds marketing back from this recipient for now", after=DAY),
    131064: Retry("This number has reached WhatsApp's messaging limit", after=DAY),
    132015: Retry("WhatsApp has paused this template for low quality", after=DAY),
    132069: Retry("WhatsApp throttles this flow", after=DAY),
    130472: Rejected("WhatsApp keeps this recipient out of marketing by an experiment: do not send it again"),
    **dict.fromkeys((0, 190, 3, 10, 131005, *range(200, 300)), NO_ACCESS),
    **dict.fromkeys((368, 131031), CLOSED),
    131042: Stopped("WhatsApp has a payment problem with this business account"),
    **dict.fromkeys((131045, 133010, 133016), Stopped("This phone number is not registered with WhatsApp")),
    131048: Stopped("WhatsApp restricts this number because messages were reported as spam"),
    131047: Rejected("More than 24 hours since the recipient's last message: only a template may be sent"),
    **dict.fromkeys((132001, 132007, 132016), NO_TEMPLATE),
    **dict.fromkeys((132000, 132005, 132008, 132012, 132068), BAD_PARAMETERS),
    131026: Rejected("WhatsApp cannot deliver to this number: it may have no WhatsApp account"),
    131050: Rejected("The recipient has opted out of these messages"),
    131021: Rejected("The recipient is the sending number itself"),
    131030: Rejected("The recipient is not in the test number's list"),
    131037: Rejected("The sending number needs an approved display name"),
    130497: Rejected("WhatsApp does not let this business write to the recipient's country"),
    **dict.fromkeys((131051, 131052, 131053), BAD_MEDIA),
    **dict.fromkeys((33, 100, 131008, 131009, 131062, 131063, 135000, 137000), BAD_REQUEST),
}
BAD_STATES = ("BANNED", "DELETED", "DISCONNECTED", "MIGRATED", "RESTRICTED", "UNVERIFIED")


class Cloud(PostingGateway):
    name = "cloud"

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
        if file.kind == "image" and file.mime_type.partition(";")[0] not in PICTURES:
            return Rejected("WhatsApp takes JPEG and PNG pictures: convert it, or send it as a document")
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
                "biz_opaque_callback_data": message.job_id,
            },
        )

    def accepted(self, body: Any) -> Answered:
        found = first_text(body, ("messages", 0, "id"))
        return Sent(found) if found else Unconfirmed("WhatsApp accepted it, but named no message")

    def refused(self, answer: Answer) -> Answered:
        error = dig(answer.body, "error")
        code = dig(error, "code")
        passing = PASSING if dig(error, "is_transient") is True or answer.status == 502 else None
        known = CODES.get(code, passing) if isinstance(code, int) else passing
        return settled(known, answer, self.words(answer.body))

    def words(self, body: Any) -> str:
        code = dig(body, "error", "code")
        said = first_text(body, ("error", "error_data", "details"), ("error", "message"))
        return f"{code}: {said.removeprefix(f'(#{code}) ')}" if isinstance(code, int) else said

    def health_path(self, sender: str) -> str:
        fields = "verified_name,quality_rating,status"
        return f"/{quote(sender or self.phone_number_id, safe='')}?fields={fields}"

    def health(self, body: Any) -> Health:
        """A number that is not registered answers too; its status tells."""
        status = first_text(body, ("status",)) or "reachable"
        quality = first_text(body, ("quality_rating",)) or "unknown"
        return Health(status not in BAD_STATES, f"number {status}, quality {quality}")


def build(settings: Settings) -> Cloud:
    headers = {"authorization": f"Bearer {settings.whatsapp_access_token or ''}"}
    timeout = timeout_within(settings.lease_seconds)
    http = Http(settings.whatsapp_api_base, headers, timeout=timeout, connections=settings.concurrency)
    return Cloud(http, settings.whatsapp_phone_number_id or "", link_previews=settings.link_previews)
