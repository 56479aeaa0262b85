"""What the gateways' tests share."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid5

import httpx

from tests.gateways.server import Server
from worker.gateway.client import Http
from worker.gateway.cloud import Cloud
from worker.gateway.evolution import Evolution
from worker.gateway.posting import PostingGateway
from worker.gateway.waha import Waha
from worker.gateway.wppconnect import Wppconnect
from worker.models import Media

TIMEOUT = 30.0  # seconds, where none is expected
SHORT = 1.0  # where the test waits for it; for all else a busy machine may take longer
JOB = str(uuid5(UUID(int=0), "message/1/1"))
MAKERS: dict[str, Callable[[Http], PostingGateway]] = {
    "cloud": lambda http: Cloud(http, "1066"),
    "waha": Waha,
    "evolution": Evolution,
    "wppconnect": Wppconnect,
}
ACCEPTED: dict[str, Any] = {
    "cloud": {"messaging_product": "whatsapp", "messages": [{"id": "id-1", "message_status": "accepted"}]},
    "waha": {"id": "id-1", "ack": 0},
    "evolution": {"key": {"remoteJid": "919876543210@s.whatsapp.net", "id": "id-1"}, "status": "PENDING"},
    "wppconnect": {"status": "success", "response": [{"id": "id-1", "ack": 0}], "mapper": "return"},
}
IMAGE = Media("https://e.com/a.png", "image", "image/png", "a.png")
VIDEO = Media("https://e.com/v", "video")
AUDIO = Media("https://e.com/n.mp3", "audio", "audio/mpeg", "n.mp3")
PDF = Media("https://e.com/r.pdf", "document", "application/pdf", "r.pdf")


def connects_in_its_own_time(http: Http) -> Http:
    """It is the answer that does not come in time; on a busy machine connecting may take longer than its share."""
    for client in http.busy:
        client.timeout = httpx.Timeout(None, pool=client.timeout.pool)
    return http


Make = Callable[..., PostingGateway]
Serve = Callable[..., Awaitable[Server]]
