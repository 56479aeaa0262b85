"""What Meta posts to a webhook, and how it signs it."""

import hashlib
import hmac
import json
from typing import Any

SECRET, TOKEN = "app-secret", "verify-me"
JOB = "0b7f9b3e-8f0e-5d0e-9d52-3f6d3a1b2c4d"


def sign(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def envelope(*statuses: Any) -> bytes:
    value = {"messaging_product": "whatsapp", "statuses": list(statuses)}
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def status(kind: str = "delivered", **more: Any) -> dict[str, Any]:
    known = {"id": "wamid.1", "status": kind, "timestamp": "1750030073", "recipient_id": "919876543210"}
    return known | {"biz_opaque_callback_data": JOB} | more


def told_of_template(**value: Any) -> bytes:
    """As Meta's page "message_template_status_update" has it."""
    known = {
        "event": "PAUSED", "message_template_id": 1689556908129832, "message_template_name": "visit",
        "message_template_language": "en-US", "reason": "NONE", "message_template_category": "UTILITY",
    }  # fmt: skip
    change = {"field": "message_template_status_update", "value": {**known, **value}}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1022", "changes": [change]}]}).encode()
