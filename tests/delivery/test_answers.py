"""What the row says after each answer of the gateways' own sources, and how often it was posted; through the stack."""

import json
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest

from tests.delivery.conftest import Pass
from tests.delivery.jobs import end_waits
from tests.gateways.answers import ANSWERS
from tests.gateways.fuzz import answers
from tests.helpers.any_gateway import SECRETS, AnyGateway
from tests.helpers.http_server import Reply
from tests.helpers.rows import Database, add_connections, schedule
from worker.models import Locked, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed

GATEWAYS = [*ANSWERS]
JSON = {"content-type": "application/json"}
SETTLED = (Sent, Rejected, Unconfirmed)


def write(db: Database, number: int) -> str:
    """A row of its own connection and recipient, so that no answer touches another's. Returns the digits."""
    add_connections(db, f"case-{number}")
    digits = f"9198765{number:05}"
    schedule(db, connection_id=f"case-{number}", contact_id=f"+{digits}")
    return digits


def rows(db: Database) -> dict[str, dict[str, Any]]:
    """By the recipient's digits."""
    return {row["contact_id"][1:]: row for row in db.execute("select * from scheduled_messages")}


def told(outcome: type, row: dict[str, Any]) -> tuple[str, str]:
    """The status that a row should have, and where its words are: the front end shows both."""
    if outcome in (Throttled, Stopped):
        return "processing", row["waiting_reason"] or ""
    if outcome is Locked:
        return "processing", f"{row['error']} {row['waiting_reason']}"
    statuses = {Sent: "sent", Rejected: "failed", Unconfirmed: "unconfirmed", Retry: "processing"}
    return statuses[outcome], row["error"] or ""


@pytest.mark.parametrize("name", GATEWAYS)
async def test_the_row_says_what_became_of_it_and_nothing_in_doubt_is_posted_again(
    name: str, db: Database, one_pass: Pass, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {write(db, number): case for number, case in enumerate(ANSWERS[name])}
    replies = {digits: Reply(case[0], json.dumps(case[1]).encode(), JSON) for digits, case in cases.items()}
    with AnyGateway(name, replies) as gateway:
        await one_pass(**gateway.settings)
        for digits, row in rows(db).items():
            _, body, outcome, words = cases[digits]
            status, text = told(outcome, row)
            assert row["status"] == status, (body, row)
            assert words in text, (body, row)
            assert ("It may have been sent: " in text) == (outcome is Unconfirmed)
            assert not any(secret in str(row) for secret in SECRETS)
        assert set(gateway.posts) == set(cases)
        log = "".join(capsys.readouterr())
        assert "late_ms" in log
        assert not any(secret in log for secret in SECRETS)
        end_waits(db)
        await one_pass(**gateway.settings)
        again = {digits: cases[digits] for digits, posts in gateway.posts.items() if posts > 1}
        assert [case for case in again.values() if case[2] in SETTLED] == []
        assert any(case[2] is Retry for case in again.values()), "nothing was due a second time: this shows nothing"


@pytest.mark.parametrize("name", GATEWAYS)
async def test_whatever_a_gateway_answers_no_row_lies_and_none_in_doubt_is_posted_again(
    name: str, db: Database, one_pass: Pass, size: Callable[[int], int]
) -> None:
    tried = {write(db, number): one for number, one in enumerate(islice(answers(name, seed=2), size(600)))}
    replies = {digits: Reply(one.status, one.body, {"content-type": one.content_type}) for digits, one in tried.items()}
    with AnyGateway(name, replies) as gateway:
        await one_pass(**gateway.settings, retry_delay_seconds=0)
        first = rows(db)
        for _ in range(3):
            end_waits(db)
            await one_pass(**gateway.settings, retry_delay_seconds=0)
        for digits, row in rows(db).items():
            one = tried[digits]
            assert row["status"] in ("sent", "failed", "unconfirmed", "processing"), (one, row)
            if row["status"] == "sent":
                assert row["message_id"] in one.ids, (one, row)
            else:
                assert row["error"] or row["waiting_reason"], (one, row)
            if first[digits]["status"] in ("sent", "unconfirmed"):
                assert (gateway.posts[digits], row["status"]) == (1, first[digits]["status"]), (one, row)
            assert gateway.posts[digits] <= 4
        assert len({row["status"] for row in first.values()}) > 2, "the answers are too much alike to show anything"
