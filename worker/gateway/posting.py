"""What the gateways share that send a message with one POST."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from worker.errors import Shortage
from worker.gateway.base import parts
from worker.gateway.http import Answer, Answered, Http, settled
from worker.models import Health, Kind, Message, Rejected, Sent, Unconfirmed

# A row of a gateway's fault table: status (None: any), words in its error text ("": any), what they mean.
Fault = tuple[int | None, str, Answered]


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class File:
    """An attachment whose name and type are always known; self-hosted gateways want both."""

    kind: Kind
    url: str
    mime_type: str
    name: str


DEFAULTS: dict[Kind, tuple[str, str]] = {
    "image": ("image/jpeg", "image.jpg"),
    "video": ("video/mp4", "video.mp4"),
    "audio": ("audio/ogg; codecs=opus", "audio.ogg"),
    "document": ("application/octet-stream", "file"),
}


class PostingGateway(ABC):
    """A gateway gives its requests, tells where its answers hold what, and has a table of faults."""

    name: str
    faults: Sequence[Fault] = ()

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
                return interrupted(outcome, len(sent), len(planned))
            sent.append(outcome)
        return sent[0]

    async def send_part(self, message: Message, deadline: float) -> Answered:
        request = self.request(message)
        if isinstance(request, Rejected):
            return request
        answer = await self.http.call("POST", request.path, deadline, request.body)
        return self.outcome(answer) if isinstance(answer, Answer) else answer

    async def check(self, sender: str) -> Health:
        deadline = asyncio.get_running_loop().time() + self.timeout
        answer = await self.http.call("GET", self.health_path(sender), deadline)
        if isinstance(answer, Answer) and answer.ok:
            return self.health(answer.body)
        refused = self.refused(answer) if isinstance(answer, Answer) else answer
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

    def outcome(self, answer: Answer) -> Answered:
        return self.accepted(answer.body) if answer.ok else self.refused(answer)

    def refused(self, answer: Answer) -> Answered:
        words = self.words(answer.body)
        known = (
            outcome
            for status, needle, outcome in self.faults
            if status in (None, answer.status) and needle in words.lower()
        )
        return settled(next(known, None), answer, words)

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


def interrupted(outcome: Answered, done: int, planned: int) -> Answered:
    """Once a part went out, nothing of the message is tried again by itself."""
    if not done:
        return outcome
    reason = f"{done} of {planned} parts went out, then: {getattr(outcome, 'reason', '')}"
    return replace(outcome, reason=reason) if isinstance(outcome, Unconfirmed) else Rejected(reason)
