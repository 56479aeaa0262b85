"""A gateway of WAHA's shape that counts what it is asked to send: the witness of "once each".

with CountingGateway(delay=0.05) as gateway:
    daemon(GATEWAY="waha", WAHA_URL=gateway.url)
    assert gateway.counts["919876543210@c.us"] == 1
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.helpers.http_server import HttpServer, Reply, Request


@dataclass(frozen=True, slots=True)
class Received:
    """One request to send. `at` is the wall clock's seconds, when the whole request had arrived."""

    chat_id: str
    session: str
    path: str
    text: str
    at: float


class CountingGateway(HttpServer):
    """delay: seconds that every send takes.
    behaviour: what the n-th send (from 0) is answered; None means: accepted.
    """

    def __init__(self, delay: float = 0.0, behaviour: Callable[[int, Received], Reply | None] | None = None) -> None:
        super().__init__()
        self.delay, self.behaviour = delay, behaviour
        self.received: list[Received] = []
        self.chats: dict[str, str] = {}  # by number, for those who ask; "" where there is no account
        self.looked_up: list[str] = []
        self.in_flight = self.most_in_flight = 0

    @property
    def counts(self) -> Counter[str]:
        """How often each chat was sent to."""
        return Counter(one.chat_id for one in self.received.copy())

    @property
    def repeated(self) -> dict[str, int]:
        """The chats that were sent to more than once."""
        return {chat: count for chat, count in self.counts.items() if count > 1}

    async def answer(self, request: Request) -> Reply:
        if request.method == "GET":
            return self.look_up(request.path)
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        try:
            number, one = len(self.received), self.note(request)
            if self.delay:
                await asyncio.sleep(self.delay)
            accepted = Reply(201, {"id": f"true_{one.chat_id}_{number:08X}"})
            return (self.behaviour and self.behaviour(number, one)) or accepted
        finally:
            self.in_flight -= 1

    def look_up(self, path: str) -> Reply:
        """A session's state, or what check-exists says of a number (WAHA/src/api/contacts.controller.ts)."""
        asked = parse_qs(urlsplit(path).query).get("phone", [""])[0]
        if asked not in self.chats:
            return Reply(body={"status": "WORKING"})
        self.looked_up.append(asked)
        chat = self.chats[asked]
        return Reply(body={"numberExists": True, "chatId": chat} if chat else {"numberExists": False})

    def note(self, request: Request) -> Received:
        body = request.json()
        text = body.get("text", body.get("caption", ""))
        one = Received(body["chatId"], body["session"], request.path, text, time.time())
        self.received.append(one)
        return one
