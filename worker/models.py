"""The values that flow through the daemon. All frozen; times are aware datetimes in UTC unless said otherwise."""

from dataclasses import field
from datetime import datetime
from typing import Literal

from worker.values import value

ContentKind = Literal["text", "image", "video", "audio", "document", "template"]


@value(frozen=True, slots=True)
class Media:
    """One attachment, passed on as a link.

    url: None where only the asset library knows the file (Message.asset_id).
    mime_type, filename: None where neither the author nor the link tells.
    caption: of a further attachment; the first one's is Message.text.
    """

    url: str | None
    kind: ContentKind
    mime_type: str | None = None
    filename: str | None = None
    caption: str = ""


@value(frozen=True, slots=True)
class Message:
    """What a gateway sends: one job, one recipient.

    recipient: E.164 with its plus ("+919876543210"), or a WhatsApp id as the author wrote it ("…@c.us", "…@g.us").
    sender: the gateway's session or instance name, or the Cloud API's phone number id.
    job_id: a UUID, stable over all attempts of one revision.
    text: the body of a text; for media the caption ("" where there is none).
    more: further attachments, each of which goes out as a WhatsApp message of its own, after the first.
    throttled: how often a limit has already put this job off; the pair limit's wait grows with it.
    part: "2/3", where this is one of the WhatsApp messages that the whole goes out as; "" where there is one.
    scheduled_message_id, owner_id, api_key: what the Node broadcast worker expects beside the message.
    """

    job_id: str
    connection_id: str
    sender: str
    recipient: str
    kind: ContentKind
    text: str
    media: Media | None = None
    template: dict[str, object] | None = None
    asset_id: str | None = None
    attempt: int = 1
    more: tuple[Media, ...] = ()
    throttled: int = 0
    part: str = ""
    scheduled_message_id: str = ""
    owner_id: str | None = None
    api_key: str | None = field(default=None, repr=False)


@value(frozen=True, slots=True)
class Parts:
    """How far a message of several parts came. planned: how many it has. ids: of those that went out, in order."""

    planned: int
    ids: tuple[str, ...] = ()


@value(frozen=True, slots=True)
class Sent:
    """The gateway took it and named it. parts: None where it has only one, here and below."""

    message_id: str
    parts: Parts | None = field(default=None, compare=False)


@value(frozen=True, slots=True)
class Rejected:
    """It will never go out like this."""

    reason: str
    parts: Parts | None = field(default=None, compare=False)


@value(frozen=True, slots=True)
class Retry:
    """Nothing went out; the next try may work. `after` (seconds) overrides RETRY_DELAY_SECONDS."""

    reason: str
    after: float | None = None


@value(frozen=True, slots=True)
class Throttled:
    """Too fast, for this recipient or for the whole connection. Nothing went out; costs no attempt.

    after: seconds to wait, where the gateway says; else THROTTLED_SECONDS of sending/result.
    """

    reason: str
    scope: Literal["recipient", "connection"]
    after: float | None = None


@value(frozen=True, slots=True)
class Locked:
    """WhatsApp does not let this connection write to this recipient for now, mostly because they have not met before.

    Nothing went out; the next try, `after` seconds later, may work. It costs a try, and the connection slows down: who
    goes on writing to strangers is locked for longer, then banned.
    """

    reason: str
    after: float = 86_400.0


@value(frozen=True, slots=True)
class Stopped:
    """The connection itself is unusable (credentials, banned, session down). Nothing went out; costs no attempt."""

    reason: str


@value(frozen=True, slots=True)
class Unconfirmed:
    """It may have gone out and nobody can tell. Never sent again by itself."""

    reason: str
    parts: Parts | None = field(default=None, compare=False)


@value(frozen=True, slots=True)
class HandedOver:
    """The Node broadcast worker has it; its outcome arrives in `broadcast_messages`."""


Outcome = Sent | Rejected | Retry | Throttled | Locked | Stopped | Unconfirmed | HandedOver


@value(frozen=True, slots=True)
class Health:
    """What a gateway says of a connection without sending anything."""

    ok: bool
    detail: str = field(default="")


@value(frozen=True, slots=True)
class ApprovedTemplate:
    """A template of a WhatsApp business account, approved or not.

    status, reason: Meta's words, such as APPROVED, PAUSED. format: positional or named. places: of its body, in order.
    header: text, image, video, document or location; None where there is none. header_places: of a text.
    """

    name: str
    language: str
    status: str
    reason: str | None
    format: str
    places: list[str]
    header: str | None
    header_places: list[str]


@value(frozen=True, slots=True)
class TemplateStatus:
    """What has become of a template of a business account, told by a webhook; as in ApprovedTemplate."""

    account_id: str
    name: str
    language: str
    status: str
    reason: str | None


DeliveryStatus = Literal["sent", "delivered", "read", "failed"]


@value(frozen=True, slots=True)
class StatusUpdate:
    """What became of one message, told by a webhook. job_id: a UUID, None where it is not one of ours.

    error: "code: details" of a failed one.
    part, parts: which of how many WhatsApp messages it is, where ours went out as several.
    """

    job_id: str | None
    message_id: str
    status: DeliveryStatus
    timestamp: datetime
    error: str | None = None
    part: int | None = None
    parts: int | None = None
