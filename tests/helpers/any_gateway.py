"""A double of every gateway that takes one POST for a message: it answers each number as it is told, and counts.

Its addresses and the places of the number are those of worker/gateway/*; its sessions are always well.
"""

import re
from collections import Counter
from urllib.parse import unquote

from tests.helpers.http_server import HttpServer, Reply, Request

WELL = {
    "cloud": {"status": "CONNECTED"},
    "waha": {"status": "WORKING"},
    "evolution": {"instance": {"state": "open"}},
    "wppconnect": {"status": "CONNECTED"},
}
SETTINGS: dict[str, dict[str, object]] = {
    "cloud": {"whatsapp_phone_number_id": "1066", "whatsapp_access_token": "s3cret-of-meta"},
    "waha": {"waha_api_key": "s3cret-of-waha", "waha_check_numbers": False},
    "evolution": {"evolution_api_key": "s3cret-of-evolution"},
    "wppconnect": {"wppconnect_secret_key": "s3cret-of-wppconnect"},
}
SECRETS = ("s3cret-of-meta", "s3cret-of-waha", "s3cret-of-evolution", "s3cret-of-wppconnect", "made-token")


class AnyGateway(HttpServer):
    """answers: by the digits of the number that is written to. posts: how often each was."""

    def __init__(self, name: str, answers: dict[str, Reply]) -> None:
        super().__init__()
        self.name, self.answers, self.posts = name, answers, Counter[str]()

    @property
    def settings(self) -> dict[str, object]:
        """What a daemon needs to send through it."""
        address = "whatsapp_api_base" if self.name == "cloud" else f"{self.name}_url"
        return {"gateway": self.name, address: self.url, **SETTINGS[self.name]}

    async def answer(self, request: Request) -> Reply:
        if request.method == "GET":
            return Reply(body=WELL[self.name])
        if request.path.endswith("/generate-token"):
            right = "/s3cret-of-wppconnect/" in unquote(request.path)
            return (
                Reply(201, {"token": "made-token"}) if right else Reply(400, {"message": "The SECRET_KEY is incorrect"})
            )
        body = request.json()
        digits = re.sub(r"\D", "", next(body[key] for key in ("chatId", "number", "phone", "to") if key in body))
        self.posts[digits] += 1
        return self.answers[digits]
