"""The list of a business account's templates: what is asked for it, and what is read of it."""

from typing import Any

import pytest

from tests.gateways.given import Serve
from tests.gateways.server import answer
from worker.config import load
from worker.errors import WorkerError
from worker.gateway.approved import PAGE, ApprovedTemplates, read_by, template
from worker.gateway.client import Http
from worker.models import ApprovedTemplate

# As Meta's page of the edge and its examples of components show them.
NAMED: dict[str, Any] = {
    "id": "1", "name": "visit", "language": "en_US", "status": "APPROVED", "category": "UTILITY",
    "parameter_format": "NAMED", "rejected_reason": "NONE",
    "components": [
        {"type": "HEADER", "format": "TEXT", "text": "For {{patient}}"},
        {"type": "BODY", "text": "Dear {{patient}}, Dr {{doctor}} sees you. {{patient}}!"},
        {"type": "FOOTER", "text": "{{not_a_place}}"},
        {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "See", "url": "https://e.com/{{1}}"}]},
    ],
}  # fmt: skip
REJECTED = {**NAMED, "status": "rejected", "rejected_reason": "INVALID_FORMAT", "components": []}


def test_a_template_is_read_with_its_places_and_its_header() -> None:
    assert template(NAMED) == ApprovedTemplate(
        "visit", "en_US", "APPROVED", None, "named", ["patient", "doctor"], "text", ["patient"]
    )
    assert template(REJECTED) == ApprovedTemplate("visit", "en_US", "REJECTED", "INVALID_FORMAT", "named", [], None, [])


@pytest.mark.parametrize(
    ("text", "expected"), [("{{1}} {{ 2 }}", "positional"), ("{{name}}", "named"), ("", "positional")]
)
def test_where_the_format_is_not_told_the_places_tell_it(text: str, expected: str) -> None:
    found = template({**NAMED, "parameter_format": None, "components": [{"type": "BODY", "text": text}]})
    assert found
    assert found.format == expected


@pytest.mark.parametrize("header", ["IMAGE", "VIDEO", "DOCUMENT", "LOCATION"])
def test_a_header_may_be_a_file(header: str) -> None:
    found = template({**NAMED, "components": [{"type": "HEADER", "format": header}]})
    assert found
    assert (found.header, found.header_places) == (header.lower(), [])


@pytest.mark.parametrize(
    "entry", [None, [], "x", {}, {"name": "x"}, {"name": 1, "language": "en", "status": "APPROVED"}]
)
def test_what_is_no_template_is_passed_over(entry: object) -> None:
    assert template(entry) is None


async def read(serve: Serve, *answers: Any) -> tuple[list[ApprovedTemplate], list[str]]:
    server = await serve(*answers)
    listed = ApprovedTemplates(Http(server.url, {}, timeout=5, connections=1), "10/66")
    try:
        return await listed.read(), [request.path for request in server.received]
    finally:
        await listed.aclose()


async def test_it_goes_from_page_to_page(serve: Serve) -> None:
    paging = {"cursors": {"after": "a=b"}}
    first = answer(200, {"data": [NAMED], "paging": {**paging, "next": "https://graph.facebook.com/x"}})
    found, paths = await read(serve, first, answer(200, {"data": [REJECTED, None], "paging": paging}))
    assert [one.status for one in found] == ["APPROVED", "REJECTED"]
    assert paths[0].startswith("/10%2F66/message_templates?fields=name,language,status,")
    assert paths[1].endswith("&after=a%3Db")


async def test_a_page_of_templates_with_carousels_is_read_whole(serve: Serve) -> None:
    """Up to ten cards each, with the examples of their files (Meta, "Media card carousel templates")."""
    card = {"components": [{"type": "HEADER", "example": {"header_handle": ["https://e.com/" + "x" * 1000]}}] * 2}
    carousels = [{**NAMED, "components": [{"type": "CAROUSEL", "cards": [card] * 10}]}] * PAGE
    server = await serve(answer(200, {"data": carousels}))
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "mock"}
    account = {"WHATSAPP_BUSINESS_ACCOUNT_ID": "1", "WHATSAPP_ACCESS_TOKEN": "t", "WHATSAPP_API_BASE": server.url}
    listed = read_by(load({**given, **account}, dotenv=None))
    assert listed
    try:
        assert len(await listed.read()) == PAGE
    finally:
        await listed.aclose()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(400, {"error": {"code": 200, "message": "(#200) Permissions error"}}), "200: Permissions error"),
        (answer(500, {}), "HTTP 500"),
        (answer(200, "no list"), "no list"),
    ],
)
async def test_what_meta_refuses_is_said_in_its_words(given: Any, words: str, serve: Serve) -> None:
    with pytest.raises(WorkerError, match=words):
        await read(serve, given)


def test_without_an_account_nothing_is_read() -> None:
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "mock"}
    assert read_by(load(given, dotenv=None)) is None
    assert read_by(load({**given, "WHATSAPP_BUSINESS_ACCOUNT_ID": "1"}, dotenv=None)) is None
