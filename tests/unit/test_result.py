"""What an outcome means for its job: settled, or when it is tried again."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers import nouns
from worker import config
from worker.jobs import Settlement, Verdict
from worker.models import HandedOver, Locked, Outcome, Parts, Rejected, Retry, Sent, Stopped, Throttled, Unconfirmed
from worker.sending import result

NOW = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
BASE = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "HANDOVER_SECONDS": "700"}
AT_ONCE = config.load({**BASE, "RETRY_DELAY_SECONDS": "0"}, dotenv=None)
LATER = config.load({**BASE, "RETRY_DELAY_SECONDS": "3600"}, dotenv=None)
TWO = Parts(3, ("a", "b"))


THIS = nouns.job(id="job", scheduled_at=NOW - timedelta(seconds=90))


def settled_as(attempt: int, outcome: Outcome, settings: config.Settings, now: datetime) -> Settlement:
    """Answered at 0."""
    made = result.settle(job := replace(THIS, attempts=attempt), outcome, settings, now)
    assert made.job is job
    return replace(made, job=THIS, answered_at=0)


def settlement_of(verdict: Verdict, **more: Any) -> Settlement:
    return Settlement(THIS, verdict, answered_at=0, late=90, **more)


@pytest.mark.parametrize(
    ("attempt", "outcome", "settled", "error", "wait"),
    [
        (1, Retry("busy"), "retry", "try 2 of 3 at 23:30 UTC: busy", 0),
        (2, Retry("busy", 3600), "retry", "try 3 of 3 at 2026-11-27 00:30 UTC: busy", 3600),
        (3, Retry("busy"), "failed", "busy (given up after 3 tries)", None),
        (1, Locked("a stranger"), "locked_recipient", "try 2 of 3 at 2026-11-27 23:30 UTC: a stranger", 86_400),
        (2, Locked("a stranger", 7200), "locked_recipient", "try 3 of 3 at 2026-11-27 01:30 UTC: a stranger", 7200),
        (3, Locked("a stranger"), "failed", "a stranger (given up after 3 tries)", None),
    ],
)
def test_what_may_be_tried_again_says_when_until_the_tries_are_used_up(
    attempt: int, outcome: Outcome, settled: Verdict, error: str, wait: float | None
) -> None:
    settlement = settled_as(attempt, outcome, AT_ONCE, NOW)
    assert settlement == settlement_of(settled, error=error, wait=wait)


@pytest.mark.parametrize(("after", "least", "most"), [(None, 3600, 4500), (0, 0, 0), (5, 5, 5), (7200, 7200, 7200)])
def test_a_gateway_that_names_a_time_is_believed_also_where_it_says_at_once(
    after: float | None, least: float, most: float
) -> None:
    settlement = settled_as(1, Retry("busy", after), LATER, NOW)
    assert settlement.wait is not None
    assert least <= settlement.wait <= most


def test_many_that_failed_together_do_not_all_come_back_together() -> None:
    assert len({settled_as(1, Retry("busy"), LATER, NOW).wait for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("outcome", "settled", "error", "wait"),
    [
        (Sent("m"), "sent", None, None),
        (HandedOver(), "handed_over", None, 700),
        (Rejected("no such number"), "failed", "no such number", None),
        (Unconfirmed("no answer"), "unconfirmed", "It may have been sent: no answer", None),
        (Throttled("slow down", "connection"), "throttled_connection", "slow down", 10),
        (Throttled("slow down", "connection", 0), "throttled_connection", "slow down", 0),
        (Throttled("slow down", "recipient", 64), "throttled_recipient", "slow down", 64),
        (Stopped("banned"), "stopped", "banned", 0),
    ],
)
def test_everything_else_is_no_matter_of_tries(
    outcome: Outcome, settled: Verdict, error: str | None, wait: float | None
) -> None:
    for attempt in (1, 3):
        settlement = settled_as(attempt, outcome, AT_ONCE, NOW)
        message_id = "m" if settled == "sent" else None
        assert settlement == settlement_of(settled, message_id=message_id, error=error, wait=wait)


@pytest.mark.parametrize(
    ("outcome", "settled", "message_id", "error"),
    [
        (Sent("a", TWO), "sent", "a", None),
        (Rejected("no", TWO), "failed", None, "no"),
        (Unconfirmed("no answer", TWO), "unconfirmed", None, "It may have been sent: no answer"),
    ],
)
def test_what_went_out_of_several_parts_is_told_whatever_became_of_the_rest(
    outcome: Outcome, settled: Verdict, message_id: str | None, error: str | None
) -> None:
    told = settled_as(1, outcome, AT_ONCE, NOW)
    parts = json.dumps({"of": 3, "ids": ["a", "b"]})
    assert told == settlement_of(settled, message_id=message_id, error=error, parts=parts)


def test_the_only_try_is_told_in_the_singular() -> None:
    once = config.load({**BASE, "RETRY_ATTEMPTS": "1"}, dotenv=None)
    assert settled_as(1, Retry("busy"), once, NOW).error == "busy (given up after 1 try)"
