"""Which row of a table of faults an answer is judged by; and what Meta's error objects say."""

from dataclasses import replace
from typing import Any

import pytest

from tests.gateways.answers import ANSWERS
from tests.gateways.given import PDF, Make, Serve
from tests.gateways.server import answer
from worker.gateway import meta, posting, words
from worker.gateway.words import NOT_FETCHED, NOT_FETCHED_YET, Fault, judged
from worker.models import Media, Message, Rejected, Retry

ONE, TWO, THREE = Retry("one"), Retry("two"), Rejected("three")
TABLE: list[Fault] = [(500, r"^a b c$", ONE), (None, r"d", TWO), (500, r"d|e", THREE)]


@pytest.mark.parametrize("name", ["evolution", "waha", "wppconnect"])
async def test_every_row_of_a_table_is_met_by_an_answer_that_a_source_gives(
    name: str, make: Make, serve: Serve, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that no answer meets first could be dropped, or be wrong, and nobody would know."""
    met: set[tuple[int | None, str]] = set()

    def noted(faults: Any, status: int | None, said: str, of: Message | None = None) -> Any:
        met.update([row[:2] for row in faults if judged([row], status, said)][:1])
        return judged(faults, status, said, of)

    monkeypatch.setattr(posting, "judged", noted)
    server = await serve(*(answer(status, body) for status, body, *_ in ANSWERS[name]))
    gateway = make(name, server.url)
    for _ in ANSWERS[name]:
        await gateway.send(message)
    elsewhere = {(400, r"não existe|not exist")}  # tests/gateways/test_wppconnect_sessions.py: it asks once more
    assert {row[:2] for row in gateway.faults} - met - elsewhere == set()


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [
        (500, "a b c", ONE), (500, " A\n\tB  c ", ONE), (400, "a b c", None), (500, "a b c .", None),
        (400, "xDx", TWO), (500, "xDx", TWO), (None, "d", TWO), (500, "e", THREE), (None, "e", None), (500, "", None),
        # what is beyond four thousand characters is not looked at, and the words do not end where the look does
        (500, "x" * 3999 + "d", TWO), (500, "x" * 4000 + "d", None),
    ],
)  # fmt: skip
def test_the_first_row_that_fits_counts(status: int | None, said: str, outcome: object) -> None:
    assert judged(TABLE, status, said) is outcome


def test_a_cut_text_is_not_taken_for_its_end() -> None:
    ends: list[Fault] = [(None, r"x$", ONE)]
    assert judged(ends, None, "x" * words.LONGEST) is ONE
    assert judged(ends, None, "x" * (words.LONGEST + 1)) is None


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ("connect ECONNREFUSED E.com:443", NOT_FETCHED_YET), ("getaddrinfo EAI_AGAIN e.com", NOT_FETCHED_YET),
        ("getaddrinfo ENOTFOUND e.com", NOT_FETCHED), ("e.com: a certificate", NOT_FETCHED),
        ("getaddrinfo ENOTFOUND db.internal", None), ("e.com", None), ("getaddrinfo ENOTFOUND", None),
    ],
)  # fmt: skip
def test_a_fault_of_the_network_that_names_the_attachments_host_is_of_fetching_it(
    said: str, outcome: object, message: Message
) -> None:
    row: list[Fault] = [(None, r".", ONE)]
    assert judged(row, 500, said, replace(message, kind="document", media=PDF)) is (outcome or ONE)
    assert judged(row, 500, said, message) is ONE
    assert judged(row, 500, said, replace(message, kind="document", media=Media(None, "document"))) is ONE
    assert judged(row, 500, said) is ONE


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ({"code": 131026}, meta.CODES[131026]), ({"code": "131026"}, meta.CODES[131026]),
        ({"code": 131026, "is_transient": True}, meta.CODES[131026]),
        ({"code": 100}, meta.BAD_REQUEST), ({"code": 100, "error_subcode": 33}, meta.NO_NUMBER),
        ({"code": "100", "error_subcode": "33"}, meta.NO_NUMBER),
        ({"code": 100, "error_subcode": 34}, meta.BAD_REQUEST),
        ({"code": 999_999}, None), ({"code": 999_999, "is_transient": True}, meta.PASSING),
        ({"is_transient": True}, meta.PASSING), ({"is_transient": "true"}, None), ({"is_transient": False}, None),
        ({}, None), (None, None), ("131026", None), ([], None),
        ({"code": 999_999, "error_subcode": 33, "is_transient": 1}, None),
    ],
)  # fmt: skip
def test_an_error_object_of_metas_is_judged_by_its_code_and_then_by_whether_it_passes(
    error: object, outcome: object
) -> None:
    assert meta.judged(error) is outcome


@pytest.mark.parametrize(
    ("written", "code"),
    [
        (190, 190), (0, 0), ("190", 190), ("999999999", 999_999_999), ("1000000000", None), ("19a", None), ("", None),
        ("-1", None), ("\u0661", None), (True, None), (1.5, None), (None, None), ([190], None),
    ],
)  # fmt: skip
def test_a_code_may_be_a_text(written: object, code: int | None) -> None:
    assert meta.code_of({"code": written}) == code
    assert meta.code_of({"error_subcode": written}, "error_subcode") == code


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ({"code": 100, "message": "(#100) Invalid parameter"}, "100: Invalid parameter"),
        ({"code": 100, "message": "(#200) Invalid"}, "100: (#200) Invalid"),
        ({"code": 100, "message": "Short", "error_data": {"details": "Long"}}, "100: Long"),
        ({"code": 100, "message": "Short", "error_data": {"details": " "}}, "100: Short"),
        ({"message": "Short"}, "Short"), ({"code": 100}, "100: "), ({}, ""),
    ],
)  # fmt: skip
def test_the_words_of_an_error_object(error: object, told: str) -> None:
    assert meta.words(error) == told
