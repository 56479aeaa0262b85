"""WhatsApp's Cloud API as far as we use it: it counts, and answers each message as a function of its request says."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.helpers.http_server import HttpServer, Reply, Request

# From the n-th message (from 0) and its body to what comes instead of "accepted"; None accepts it.
Behaviour = Callable[[int, dict[str, Any]], Reply | None]


class CloudStub(HttpServer):
    """received: (path, body) of each message, in order. templates: what the business account lists, two a page."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.templates: list[dict[str, Any]] = []
        self.lists = 0

    @property
    def counts(self) -> Counter[str]:
        """How often each number was written to."""
        return Counter(body["to"] for _, body in self.received.copy())

    async def answer(self, request: Request) -> Reply:
        if "/message_templates" in request.path:
            return self.list_templates(request)
        if request.method == "GET":
            return Reply(body={"verified_name": "Shop", "status": "CONNECTED", "quality_rating": "GREEN"})
        number, body = len(self.received), request.json()
        self.received.append((request.path, body))
        instead = self.behaviour and self.behaviour(number, body)
        return instead or Reply(body={"messaging_product": "whatsapp", "messages": [{"id": f"wamid.{number}"}]})

    def list_templates(self, request: Request) -> Reply:
        """As Meta pages it (Graph API, "Paginated results")."""
        self.lists += 1
        query = parse_qs(urlsplit(request.path).query)
        first = int(query.get("after", ["0"])[0])
        page: dict[str, Any] = {"data": self.templates[first : first + 2]}
        if page["data"]:
            page["paging"] = {"cursors": {"before": str(first), "after": str(first + 2)}}
            if first + 2 < len(self.templates):
                page["paging"]["next"] = "https://graph.facebook.com/…"
        return Reply(body=page)


def refusal(code: int, details: str = "", status: int = 400) -> Reply:
    """An error as the Cloud API words it."""
    error = {"message": f"(#{code}) Something", "type": "OAuthException", "code": code}
    return Reply(status, {"error": {**error, "error_data": {"messaging_product": "whatsapp", "details": details}}})
