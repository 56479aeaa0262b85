"""WAHA, Evolution, wppconnect and the Cloud API behind one address, each session always well when it is asked.

Their requests and answers are those of worker/gateway/, which names its sources.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.helpers.http_server import HttpServer, Reply, Request

GATEWAYS = ("waha", "evolution", "wppconnect", "cloud")
# From the gateway, the session and the recipient's digits (or WhatsApp id) to what comes instead of "accepted".
Behaviour = Callable[[str, str, str], Reply | None]


class FourGateways(HttpServer):
    """posts: (session, recipient) of every message that was asked for, in order. checks: by session."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.posts: list[tuple[str, str]] = []
        self.accepted: list[tuple[str, str]] = []
        self.checks: Counter[str] = Counter()

    @property
    def environment(self) -> dict[str, str]:
        """For a daemon: all four can be used, by connection."""
        return {
            "WAHA_URL": self.url, "WAHA_API_KEY": "key", "EVOLUTION_URL": f"{self.url}/evolution",
            "EVOLUTION_API_KEY": "key", "WPPCONNECT_URL": f"{self.url}/wppconnect", "WPPCONNECT_TOKEN": "token",
            "WHATSAPP_API_BASE": f"{self.url}/cloud", "WHATSAPP_PHONE_NUMBER_ID": "1066",
            "WHATSAPP_ACCESS_TOKEN": "token",
        }  # fmt: skip

    def well(self, gateway: str, session: str) -> Reply:
        """What a session says of itself."""
        state = {"state": "open"}
        return Reply(
            body={"status": {"waha": "WORKING", "wppconnect": "CONNECTED"}.get(gateway, True), "instance": state}
        )

    async def answer(self, request: Request) -> Reply:
        path = request.path.partition("?")[0].split("/")
        gateway = path[1] if path[1] in GATEWAYS else "waha"
        if request.method == "GET":
            session = next(part for part in path[2:] if part.endswith("~"))
            self.checks[session] += 1
            if path[-1] == "check-connection-session":
                return Reply(body={"status": True, "message": "Connected"})
            return self.well(gateway, session)
        body = request.json()
        session = body["session"] if gateway == "waha" else next(part for part in path[2:] if part.endswith("~"))
        recipient = str(body.get("chatId") or body.get("number") or body.get("to") or self._named(body)).lstrip("+")
        recipient = recipient.removesuffix("@c.us")
        self.posts.append((session, recipient))
        if instead := self.behaviour and self.behaviour(gateway, session, recipient):
            return instead
        self.accepted.append((session, recipient))
        return Reply(201, accepted(gateway, f"id-{len(self.posts)}"))

    @staticmethod
    def _named(body: dict[str, Any]) -> str:
        return f"{body['phone']}@g.us" if body["isGroup"] else str(body["phone"])


def accepted(gateway: str, name: str) -> dict[str, Any]:
    """A message's id where each gateway has it."""
    ids: dict[str, dict[str, Any]] = {
        "waha": {"id": name},
        "evolution": {"key": {"id": name}, "status": "PENDING"},
        "wppconnect": {"status": "success", "response": [{"id": name}]},
        "cloud": {"messages": [{"id": name}]},
    }
    return ids[gateway]


def stopping(gateway: str, words: str) -> Reply:
    """An answer that says of the whole connection that it cannot be used, in words that nobody has read before."""
    return {
        "waha": Reply(401, {"message": words}),
        "evolution": Reply(403, {"response": {"message": [words]}}),
        "wppconnect": Reply(401, {"message": words}),
        "cloud": Reply(400, {"error": {"code": 190, "message": words}}),
    }[gateway]
