"""What each answer proves: out, not out, or nobody knows; and whose fault it is."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.answers import ANSWERS, LICENCE, evolution, waha, wppconnect, wrapped
from tests.gateways.given import PDF, Make, Serve
from tests.gateways.server import answer
from worker.models import Message, Rejected, Retry, Stopped, Throttled, Unconfirmed

EVERY = [
    pytest.param(name, *case, id=f"{name}-{number}-{case[0]}-{case[2].__name__}")
    for name, cases in ANSWERS.items()
    for number, case in enumerate(cases)
]


@pytest.mark.parametrize(("name", "status", "body", "outcome", "words"), EVERY)
async def test_an_answer_means_what_its_source_says(
    name: str, status: int, body: object, outcome: type, words: str, make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(status, body))
    told = await make(name, server.url).send(message)
    assert isinstance(told, outcome), told
    assert words in getattr(told, "reason", "")
    assert len(server.received) == 1


def within(told: Any, words: str) -> Any:
    """The same body, what it says being said inside other words."""
    if isinstance(told, dict):
        kept = ("code", "name", "session", "status")
        return {key: value if key in kept else within(value, words) for key, value in told.items()}
    if isinstance(told, list):
        return [within(value, words) for value in told]
    return f"{words}: {told}" if isinstance(told, str) else told


AGAIN = [
    pytest.param(name, status, body, id=f"{name}-{number}")
    for name, cases in ANSWERS.items()
    for number, (status, body, outcome, _) in enumerate(cases)
    if (name, status) in {("waha", 500), ("evolution", 400), ("wppconnect", 500)}
    and outcome in (Retry, Throttled, Stopped)
]


@pytest.mark.parametrize(("name", "status", "body"), AGAIN)
@pytest.mark.parametrize("words", ["Could not store what was sent", "Error: a hook failed"])
async def test_what_says_that_nothing_was_sent_leaves_doubt_where_it_is_said_inside_other_words(
    name: str, status: int, body: object, words: str, make: Make, serve: Serve, message: Message
) -> None:
    """They may come from a store, a hook or a page that failed after the message had gone."""
    server = await serve(answer(status, within(body, words)))
    assert isinstance(await make(name, server.url).send(message), Unconfirmed)


@pytest.mark.parametrize("name", ["evolution", "waha", "wppconnect"])
@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("getaddrinfo ENOTFOUND e.com", Rejected),
        ("request to https://e.com/r.pdf failed, reason: self-signed certificate", Rejected),
        ("Hostname/IP does not match certificate's altnames: Host: e.com. is not in the cert's altnames", Rejected),
        ("getaddrinfo EAI_AGAIN e.com", Retry),
        ("connect ECONNREFUSED e.com:443", Retry),
        # not the attachment's host: its own database, after sending
        ("getaddrinfo ENOTFOUND db.internal", Unconfirmed),
        # no fault of the network: it was fetched, and may have gone out
        ("Cannot store the message with https://e.com/r.pdf", Unconfirmed),
        ("E.COM", Unconfirmed),
    ],
)
async def test_a_fault_that_names_the_attachments_host_is_from_fetching_it(
    name: str, words: str, outcome: type, make: Make, serve: Serve, message: Message
) -> None:
    bodies = {"evolution": wrapped(words), "waha": waha(words), "wppconnect": wppconnect({"message": words})}
    server = await serve(answer(*bodies[name]))
    told = await make(name, server.url).send(replace(message, kind="document", media=PDF))
    assert isinstance(told, outcome), told
    assert "attachment" in told.reason or outcome is Unconfirmed
    text = await make(name, server.url).send(message)
    assert isinstance(text, Unconfirmed), "a text fetches nothing"


@pytest.mark.parametrize(
    ("body", "ok", "detail"),
    [
        ({"status": "WORKING", "engine": {"engine": "GOWS", "gows": {"connected": True}}}, True, "session WORKING"),
        ({"status": "WORKING", "engine": {"gows": {"connected": False}}}, False, "its engine is not connected"),
        ({"status": "WORKING", "me": {"reachoutTimelock": {"until": 1}}}, True, "does not let it write to strangers"),
        ({"status": "FAILED"}, False, "session FAILED"),
    ],
)
async def test_a_waha_session_is_working_when_its_engine_is(
    body: dict[str, Any], ok: bool, detail: str, make: Make, serve: Serve
) -> None:
    server = await serve(answer(200, body))
    health = await make("waha", server.url).check("shop")
    assert health.ok == ok
    assert detail in health.detail


async def test_a_check_speaks_of_no_message(make: Make, serve: Serve) -> None:
    server = await serve(answer(500, wppconnect({})[1]), answer(503, LICENCE))
    assert (
        await make("wppconnect", server.url).check("shop")
    ).detail == "The gateway answers 500 Erro ao enviar a mensagem."
    assert "activate the licence" in (await make("evolution", server.url).check("shop")).detail


async def test_the_attachments_host_is_its_fault_also_where_a_network_fault_would_pass(
    make: Make, serve: Serve, message: Message
) -> None:
    server = await serve(answer(*evolution(500, ["AxiosError: getaddrinfo ENOTFOUND e.com"])))
    told = await make("evolution", server.url).send(replace(message, kind="document", media=PDF))
    assert isinstance(told, Rejected)
    assert isinstance(await make("evolution", server.url).send(message), Retry)
