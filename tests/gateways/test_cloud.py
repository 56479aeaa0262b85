"""WhatsApp Cloud API: what it is sent, and what each of its errors means for the row."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.given import ACCEPTED, AUDIO, IMAGE, JOB, PDF, VIDEO, Make, Serve
from tests.gateways.server import answer
from worker.gateway.cloud import CODES
from worker.models import Message, Rejected, Retry, Sent, Stopped, Throttled

DAY = 86_400
TEMPLATE = {
    "name": "reminder",
    "language": {"code": "en_US"},
    "components": [{"type": "body", "parameters": [{"type": "text", "text": "Asha"}]}],
}


def error(code: int, details: str = "", **more: Any) -> dict[str, Any]:
    """As Meta documents it."""
    return {
        "error": {
            "message": f"(#{code}) Title", "type": "OAuthException", "code": code, "fbtrace_id": "AbC",
            "error_data": {"messaging_product": "whatsapp", "details": details}, **more,
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({}, {"type": "text", "text": {"body": "Hello 😀", "preview_url": False}}),
        (
            {"kind": "image", "media": IMAGE},
            {"type": "image", "image": {"link": IMAGE.url, "caption": "Hello 😀"}},
        ),
        ({"kind": "video", "media": VIDEO, "text": ""}, {"type": "video", "video": {"link": VIDEO.url}}),
        ({"kind": "audio", "media": AUDIO, "text": ""}, {"type": "audio", "audio": {"link": AUDIO.url}}),
        (
            {"kind": "document", "media": PDF},
            {"type": "document", "document": {"link": PDF.url, "caption": "Hello 😀", "filename": "r.pdf"}},
        ),
        ({"kind": "template", "template": TEMPLATE, "text": ""}, {"type": "template", "template": TEMPLATE}),
    ],
)
async def test_each_kind_is_posted_as_documented(
    fields: dict[str, Any], body: dict[str, Any], make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(200, ACCEPTED["cloud"]))
    assert await make("cloud", server.url + "/v25.0").send(replace(message, **fields)) == Sent("id-1")
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/v25.0/shop/messages")
    assert request.body == {
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+919876543210",
        "biz_opaque_callback_data": JOB, **body,
    }  # fmt: skip


async def test_a_connection_without_a_sender_uses_the_environments_number(
    make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(200, ACCEPTED["cloud"]))
    await make("cloud", server.url).send(replace(message, sender=""))
    assert server.received[0].path == "/1066/messages"


@pytest.mark.parametrize("written", ["919876543210@c.us", "919876543210@s.whatsapp.net"])
async def test_a_persons_id_becomes_a_number_with_its_plus(
    written: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(200, ACCEPTED["cloud"]))
    await make("cloud", server.url).send(replace(message, recipient=written))
    assert server.received[0].body["to"] == "+919876543210"


@pytest.mark.parametrize("written", ["BR.1502576394655843", "US.ENT.11815799212886844830"])
async def test_a_business_scoped_user_id_has_a_field_of_its_own(
    written: str, make: Make, serve: Serve, message: Message
) -> None:
    """Meta, "Business-scoped user IDs", Messages API: `recipient`; with a `to` beside it that one would count."""
    server = await serve(answer(200, ACCEPTED["cloud"]))
    assert await make("cloud", server.url).send(replace(message, recipient=written)) == Sent("id-1")
    body = server.received[0].body
    assert (body["recipient"], body.get("to")) == (written, None)


async def test_a_group_is_refused_before_anything_is_sent(make: Make, serve: Serve, message: Message) -> None:
    server = await serve(answer(200, ACCEPTED["cloud"]))
    outcome = await make("cloud", server.url).send(replace(message, recipient="120363@g.us"))
    assert outcome == Rejected("The WhatsApp Cloud API writes to people's numbers and business-scoped user ids alone")
    assert server.received == []


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        ((1, 2, 131000, 131016, 133004, 131057), Retry),
        ((4, 80007, 130429), Throttled),
        (
            (0, 190, 3, 10, 200, 250, 299, 131005, 131031, 368, 131042, 131045, 133010, 131048, 133016, 33, 131037),
            Stopped,
        ),
        (
            (131047, 132001, 132016, 132007, 100, 131008, 131009, 131021, 131026, 131030, 131050),
            Rejected,
        ),
        ((131051, 131052, 131053, 130497, 131062, 131063, 132000, 132005, 132008, 132012, 132068), Rejected),
        ((135000, 137000, 130472), Rejected),
        ((131049, 131064, 132015, 132069), Retry),
    ],
)
def test_every_documented_code_has_its_class(codes: tuple[int, ...], outcome: type) -> None:
    assert {code: type(CODES[code]) for code in codes} == dict.fromkeys(codes, outcome)


LATER = "WhatsApp holds marketing back from this recipient for now (131049: Title)"
REVOKED = "WhatsApp does not accept our credentials: check the access token and its permissions (190: Title)"
NOBODY = "WhatsApp cannot deliver to this number: it may have no WhatsApp account (131026: Undeliverable)"
CLOSED = "More than 24 hours since the recipient's last message: only a template may be sent (131047: Title)"
OPTED_OUT = "The recipient has opted out of these messages (131050: Title)"
TOO_FAST = "This number sends faster than WhatsApp allows (130429: Throughput)"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (500, error(131000), Retry("WhatsApp had a passing fault (131000: Title)")),
        (429, error(130429, "Throughput"), Throttled(TOO_FAST, "connection")),
        (400, error(131049), Retry(LATER, DAY)),
        (401, error(190), Stopped(REVOKED)),
        (403, error(368, "L"), Stopped("WhatsApp has restricted this business account (368: L)")),
        (400, error(131026, "Undeliverable"), Rejected(NOBODY)),
        (400, error(131050), Rejected(OPTED_OUT)),
        (400, error(131047), Rejected(CLOSED)),
        (500, error(100, "Not valid"), Rejected("WhatsApp refuses the request (100: Not valid)")),
        (400, error(999999), Rejected("The gateway refuses this message (999999: Title)")),
        (400, error(999999, is_transient=True), Retry("WhatsApp had a passing fault (999999: Title)")),
        (500, error(999999), Retry("The gateway had a fault (999999: Title)")),
        (400, {"error": "nonsense"}, Rejected("The gateway refuses this message")),
    ],
)
async def test_the_code_decides_and_the_row_says_why(
    status: int, body: dict[str, Any], outcome: object, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(status, body))
    assert await make("cloud", server.url).send(message) == outcome


@pytest.mark.parametrize(
    ("attempt", "throttled", "seconds"), [(1, 0, 1), (2, 0, 4), (1, 3, 64), (3, 1, 64), (1, 99, 16_384)]
)
async def test_the_pair_limit_backs_off_by_fours(
    attempt: int, throttled: int, seconds: float, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(400, error(131056)))
    outcome = await make("cloud", server.url).send(replace(message, attempt=attempt, throttled=throttled))
    reason = "Too many messages to this recipient in a short time (131056: Title)"
    assert outcome == Throttled(reason, "recipient", seconds)


async def test_a_token_in_the_error_does_not_reach_the_row(make: Make, serve: Serve, message: Message) -> None:
    body = error(190)
    body["error"] = {"code": 190, "message": "Malformed access token EAAGm0PX4ZCpsBAKZCmdG34ZB"}
    server = await serve(answer(401, body))
    outcome = await make("cloud", server.url).send(message)
    assert isinstance(outcome, Stopped)
    assert "EAAG" not in outcome.reason


@pytest.mark.parametrize(
    ("body", "ok", "detail"),
    [
        (
            {"id": "1066", "verified_name": "Shop", "quality_rating": "GREEN", "status": "CONNECTED"},
            True,
            "number CONNECTED, quality GREEN",
        ),
        *(
            ({"id": "1066", "status": status}, False, f"number {status}, quality unknown")
            for status in ("BANNED", "DELETED", "DISCONNECTED", "MIGRATED", "RESTRICTED", "UNVERIFIED")
        ),
        *(
            ({"id": "1066", "status": status}, True, f"number {status}, quality unknown")
            for status in ("PENDING", "FLAGGED", "RATE_LIMITED", "UNKNOWN")
        ),
        ({"id": "1066"}, True, "number reachable, quality unknown"),
    ],
)
async def test_a_check_asks_for_the_number_and_sends_nothing(
    body: dict[str, str], ok: bool, detail: str, make: Make, serve: Serve
) -> None:
    server = await serve(answer(200, body))
    health = await make("cloud", server.url + "/v25.0").check("")
    assert (health.ok, health.detail) == (ok, detail)
    (request,) = server.received
    assert request.method == "GET"
    assert request.path == "/v25.0/1066?fields=verified_name,quality_rating,status"
