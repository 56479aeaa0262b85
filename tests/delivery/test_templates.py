"""An approved template beside a text: the Cloud API is sent the template, every other gateway the text."""

import json
from typing import Any

import pytest

from tests.delivery.cloud_stub import CloudStub, refusal
from tests.delivery.conftest import Pass
from tests.helpers.counting_gateway import CountingGateway
from tests.helpers.rows import Database, message, schedule

ASHA = "+919876543210"
NAMED = {
    "name": "appointment", "language": {"code": "en_US"},
    "components": [
        {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://e.com/a.png"}}]},
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "patient_name", "text": "Asha"}]},
    ],
}  # fmt: skip


def with_template(db: Database, template: Any = NAMED, **columns: Any) -> str:
    return schedule(db, contact_id=ASHA, message="Hello Asha", template=json.dumps(template), **columns)


async def test_the_cloud_api_is_sent_the_template(db: Database, shop: str, cloud: CloudStub, by_cloud: Pass) -> None:
    row = with_template(db)
    await by_cloud()
    [(_, body)] = cloud.received
    assert (body["type"], body["template"], body.get("text")) == ("template", NAMED, None)
    assert message(db, row)["status"] == "sent"


async def test_every_other_gateway_is_sent_the_text(
    db: Database, shop: str, waha: CountingGateway, by_waha: Pass
) -> None:
    row = with_template(db)
    await by_waha()
    assert [one.text for one in waha.received] == ["Hello Asha"]
    assert message(db, row)["status"] == "sent"


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (132000, "give it as many as it has places"),
        (132001, "compare both with what stands in WhatsApp Manager"),
        (132005, "shorten the values"),
        (132007, "change it in WhatsApp Manager"),
        (132008, "each of its kind and under its name"),
        (132012, "each of its kind and under its name"),
        (132016, "write another one in WhatsApp Manager"),
        (132018, "each of its kind and under its name"),
        (132068, "publish or mend it"),
    ],
)
async def test_what_is_wrong_with_a_template_is_said_with_what_to_do(
    code: int, advice: str, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda *_: refusal(code, "why")
    row = with_template(db)
    await by_cloud()
    failed = message(db, row)
    assert failed["status"] == "failed"
    assert advice in failed["error"]
    assert f"({code}: why)" in failed["error"]


@pytest.mark.parametrize("code", [132015, 132069])
async def test_a_template_that_is_paused_for_a_while_is_tried_again_a_day_later(
    code: int, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    cloud.behaviour = lambda *_: refusal(code, "why")
    row = with_template(db)
    await by_cloud(retry_attempts=3)
    assert (message(db, row)["status"], len(cloud.received)) == ("processing", 1)
    assert "try 2 of 3" in message(db, row)["error"]


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ({"name": "t"}, "A template needs"),
        ({"name": "t", "language": "en", "components": "x"}, "must be a list of objects"),
        (
            {"name": "t", "language": "en", "components": [{"type": "body", "parameters": [{"type": "text"}]}]},
            "The template 't' has no value for {{1}}",
        ),
    ],
)
async def test_a_template_that_cannot_be_sent_fails_before_anything_is_posted_and_keeps_nobody_waiting(
    template: Any, error: str, db: Database, shop: str, cloud: CloudStub, by_cloud: Pass
) -> None:
    row, other = with_template(db, template), with_template(db)
    await by_cloud()
    assert message(db, row)["status"] == "failed"
    assert error in message(db, row)["error"]
    assert (len(cloud.received), message(db, other)["status"]) == (1, "sent")
