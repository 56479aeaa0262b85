"""What is read of Meta's posts: what became of messages and of templates; and that nothing in them raises."""

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.webhooks import JOB, envelope, status, told_of_template
from worker.http.webhook import is_signed, parse_updates
from worker.models import TemplateStatus


def test_the_signature_is_that_of_rfc_4231_for_a_known_body() -> None:
    known = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert is_signed(b"what do ya want for nothing?", known, "Jefe")


@pytest.mark.parametrize("kind", ["sent", "delivered", "read", "failed"])
def test_each_status_keeps_its_name(kind: str) -> None:
    assert [update.status for update in parse_updates(envelope(status(kind)))] == [kind]


def test_a_voice_message_that_was_played_was_read() -> None:
    assert parse_updates(envelope(status("played")))[0].status == "read"


def test_a_failed_status_says_why() -> None:
    errors = [{"code": 131026, "title": "Undeliverable", "error_data": {"details": "not on WhatsApp"}}]
    assert parse_updates(envelope(status("failed", errors=errors)))[0].error == "131026: not on WhatsApp"
    assert parse_updates(envelope(status("failed", errors=errors[:0])))[0].error == "WhatsApp gave no reason"
    assert parse_updates(envelope(status("failed", errors=[{"title": "No"}])))[0].error == "No"


def test_what_postgresql_cannot_hold_is_taken_out() -> None:
    errors = [{"code": 1, "title": "a\0b\ud800c"}]
    assert parse_updates(envelope(status("failed", errors=errors)))[0].error == "1: ab?c"


def test_a_message_of_somebody_else_has_no_job() -> None:
    updates = parse_updates(envelope(status(biz_opaque_callback_data="campaign 7"), status()))
    assert [update.job_id for update in updates] == [None, JOB]


@pytest.mark.parametrize("bad", [{"id": ""}, {"status": "warning"}, {"status": []}, {"timestamp": "1e9"}])
def test_one_unreadable_status_does_not_hide_the_next(bad: dict[str, Any]) -> None:
    assert len(parse_updates(envelope(status() | bad, status()))) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "code", "details", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*status(), "errors"]), json_values), json_values)
def test_no_json_makes_the_parser_raise(strange: dict[str, Any], value: Any) -> None:
    for update in parse_updates(envelope(status() | strange, value)):
        assert update.timestamp.tzinfo is UTC
        assert update.message_id.encode()


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ({}, "PAUSED", None),
        ({"event": "REJECTED", "reason": "INVALID_FORMAT"}, "REJECTED", "INVALID_FORMAT"),
        ({"event": "DISABLED", "disable_info": {"disable_date": 1}}, "DISABLED", None),
        ({"event": "PENDING_DELETION", "reason": None}, "PENDING_DELETION", None),
        ({"event": "ARCHIVED"}, "ARCHIVED", None),
        ({"event": "APPROVED"}, "APPROVED", None),
        ({"event": "REINSTATED"}, "APPROVED", None),
        ({"event": "UNARCHIVED"}, "APPROVED", None),
        ({"event": "FLAGGED"}, "APPROVED", None),
        ({"event": "LOCKED", "other_info": {"title": "SECOND_PAUSE", "description": "x"}}, "PAUSED", None),
        ({"event": "LOCKED", "other_info": {"title": "UNPAUSE", "description": "x"}}, "APPROVED", None),
    ],
)
def test_what_becomes_of_a_template_is_read(value: dict[str, Any], status: str, reason: str | None) -> None:
    assert parse_updates(told_of_template(**value)) == [TemplateStatus("1022", "visit", "en-US", status, reason)]


@pytest.mark.parametrize(
    "value",
    [
        {"event": "LOCKED"}, {"event": "LOCKED", "other_info": []}, {"event": "LIMIT_EXCEEDED"}, {"event": None},
        {"message_template_name": ""}, {"message_template_language": {}},
    ],
)  # fmt: skip
def test_what_says_nothing_of_a_template_is_passed_over(value: dict[str, Any]) -> None:
    assert parse_updates(told_of_template(**value)) == []
