"""Whether a link in a text is shown with its title: the same on all gateways, by one setting, each in its own field."""

from typing import Any

import pytest

from tests.gateways.given import ACCEPTED, Serve
from tests.gateways.server import answer
from worker import config, gateway
from worker.gateway.client import dig
from worker.models import Message

FIELDS: dict[str, tuple[str, ...]] = {
    "cloud": ("text", "preview_url"),  # Meta, "Text messages"
    "waha": ("linkPreview",),  # WAHA/src/structures/chatting.dto.ts
    "evolution": ("linkPreview",),  # evolution-api/src/validate/message.schema.ts
    "wppconnect": ("options", "linkPreview"),  # wa-js/src/chat/functions/prepareLinkPreview.ts
}


def settings(name: str, url: str, given: dict[str, str]) -> config.Settings:
    addresses = dict.fromkeys(("WAHA_URL", "EVOLUTION_URL", "WPPCONNECT_URL", "WHATSAPP_API_BASE"), url)
    secrets = ("WPPCONNECT_TOKEN", "EVOLUTION_API_KEY", "WHATSAPP_ACCESS_TOKEN", "WHATSAPP_PHONE_NUMBER_ID")
    needed = {"SUPABASE_URL": url, "SUPABASE_SERVICE_ROLE_KEY": "x", "WAHA_CHECK_NUMBERS": "false"}
    return config.load({**needed, **addresses, **dict.fromkeys(secrets, "x"), "GATEWAY": name, **given}, dotenv=None)


@pytest.mark.parametrize("name", [*FIELDS])
@pytest.mark.parametrize(("given", "shown"), [({}, False), ({"LINK_PREVIEWS": "true"}, True)])
async def test_a_link_is_previewed_if_a_setting_says_so(
    name: str, given: dict[str, str], shown: bool, serve: Serve, message: Message
) -> None:
    server = await serve(answer(201, ACCEPTED[name]))
    built: Any = gateway.build(settings(name, server.url, given))
    await built.send(message)
    await built.aclose()
    assert dig(server.received[0].body, *FIELDS[name]) is shown
