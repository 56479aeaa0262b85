"""What the gateways share that send a message with one POST."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import Shortage
from worker.gateway.client import NO_ADDRESS, Answer, Answered, Http, clean, dig, settled
from worker.gateway.words import PROXIES, Fault, judged
from worker.models import ContentKind, Health, Message, Parts, Rejected, Sent, Unconfirmed

# A gateway's fault says nothing of when it happened: many come after the message has gone.
DOUBT = Unconfirmed("The gateway reports a fault and does not tell whether the message went out")


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class File:
    """An attachment whose name and type are always known; self-hosted gateways want both."""

    kind: ContentKind
    url: str
    mime_type: str
    name: str


DEFAULTS: dict[ContentKind, tuple[str, str]] = {
    "image": ("image/jpeg", "image.jpg"),
    "video": ("video/mp4", "video.mp4"),
    "audio": ("audio/ogg; codecs=opus", "audio.ogg"),
    "document": ("application/octet-stream", "file"),
}


class PostingGateway(ABC):
    """A gateway gives its requests, tells where its answers hold what, and has a table of faults."""

    name: str
    faults: Sequence[Fault] = ()
    otherwise: Mapping[int, Answered] = {4: DOUBT, 5: DOUBT}  # by status or its first digit, where no row fits

    def __init__(self, http: Http, *, link_previews: bool = False) -> None:
        """link_previews: whether a text's first link is shown with a picture and a title."""
        self.http, self.link_previews = http, link_previews
        self.timeout = http.timeout

    async def send(self, message: Message) -> Answered:
        """The first part's id, or what stopped the sending."""
        deadline = asyncio.get_running_loop().time() + self.timeout
        planned = parts(message)
        sent: list[Sent] = []
        for part in planned:
            try:
                outcome = await self.send_part(part, deadline)
            except Shortage as fault:
                if not sent:
                    raise
                outcome = Rejected(str(fault))
            if not isinstance(outcome, Sent):
                return interrupted(outcome, sent, len(planned))
            sent.append(outcome)
        return sent[0] if len(planned) == 1 else replace(sent[0], parts=parts_of(sent, len(planned)))

    async def send_part(self, message: Message, deadline: float) -> Answered:
        request = self.request(message)
        if isinstance(request, Rejected):
            return request
        answer = await self.post(message, request, deadline)
        return self.outcome(answer, message) if isinstance(answer, Answer) else answer

    async def post(self, message: Message, request: Request, deadline: float) -> Answer | Answered:  # noqa: ARG002
        return await self.http.call("POST", request.path, deadline, request.body)

    async def get(self, sender: str, path: str, deadline: float) -> Answer | Answered:  # noqa: ARG002
        return await self.http.call("GET", path, deadline)

    async def check(self, sender: str) -> Health:
        deadline = asyncio.get_running_loop().time() + self.timeout
        answer = await self.get(sender, self.health_path(sender), deadline)
        if not isinstance(answer, Answer):
            return Health(False, getattr(answer, "reason", ""))
        if answer.ok:
            return self.health(answer.body)
        refused = self.refused(answer)
        if isinstance(refused, Unconfirmed):  # of a message; nothing was sent here
            return Health(False, f"The gateway answers {answer.status} {clean(self.words(answer.body))}".rstrip())
        return Health(False, getattr(refused, "reason", ""))

    async def aclose(self) -> None:
        await self.http.aclose()

    def request(self, message: Message) -> Request | Rejected:
        if message.kind == "text":
            return self.text(message)
        if message.kind == "template":
            return self.template(message)
        media = message.media
        if media is None or media.url is None:
            return Rejected("The attachment has no address: give one in media_url")
        mime_type, name = DEFAULTS[message.kind]
        return self.file(message, File(message.kind, media.url, media.mime_type or mime_type, media.filename or name))

    def outcome(self, answer: Answer, message: Message) -> Answered:
        """A 2xx may hold a refusal too; without an id only its words tell."""
        if not answer.ok:
            return self.refused(answer, message)
        taken = self.accepted(answer.body)
        if not isinstance(taken, Unconfirmed):
            return taken
        words, status = self.words(answer.body), dig(answer.body, "statusCode")
        known = judged(self.faults, status if isinstance(status, int) else answer.status, words, message)
        return settled(known or taken, answer, words, self.otherwise)

    def refused(self, answer: Answer, message: Message | None = None) -> Answered:
        words = self.words(answer.body)
        known = judged(self.faults, answer.status, words, message)
        if known is None and answer.body is None and answer.status == 404:
            known = NO_ADDRESS
        known = known or judged(PROXIES, answer.status, answer.text or words)
        return settled(known, answer, words, self.otherwise)

    @abstractmethod
    def text(self, message: Message) -> Request | Rejected: ...

    @abstractmethod
    def file(self, message: Message, file: File) -> Request | Rejected: ...

    def template(self, message: Message) -> Request | Rejected:  # noqa: ARG002
        return Rejected("This gateway has no templates: write a text")

    @abstractmethod
    def accepted(self, body: Any) -> Answered:
        """A 2xx with JSON in it."""

    @abstractmethod
    def words(self, body: Any) -> str:
        """The error text of a refusal, "" where there is none; never what the request held."""

    @abstractmethod
    def health_path(self, sender: str) -> str: ...

    @abstractmethod
    def health(self, body: Any) -> Health: ...


def parts(message: Message) -> list[Message]:
    """One WhatsApp message for each attachment; audio shows no caption, so its text follows on its own.

    Each knows its place, by which a webhook tells of it alone.
    """
    files = [message, *(replace(message, kind=m.kind, media=m, text=m.caption) for m in message.more)]
    texts = [replace(part, kind="text", media=None) for part in files if part.kind == "audio" and part.text]
    planned = [replace(part, text="") if part.kind == "audio" else part for part in files] + texts
    if len(planned) == 1:
        return planned
    return [replace(part, part=f"{place}/{len(planned)}") for place, part in enumerate(planned, 1)]


def parts_of(sent: list[Sent], planned: int) -> Parts:
    return Parts(planned, tuple(one.message_id for one in sent))


def interrupted(outcome: Answered, sent: list[Sent], planned: int) -> Answered:
    """Once a part went out, nothing of the message is tried again by itself."""
    if planned == 1 or not (sent or isinstance(outcome, Unconfirmed)):
        return outcome
    reason = getattr(outcome, "reason", "")
    told = f"{len(sent)} of {planned} parts went out, then: {reason}" if sent else reason
    kind = Unconfirmed if isinstance(outcome, Unconfirmed) else Rejected
    return kind(told, parts_of(sent, planned))
