"""What an outcome means for its job: settled, or when it is tried again."""

from datetime import UTC, datetime

import pytest

from worker import config, result
from worker.models import Locked, Outcome, Retry

NOW = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
SETTINGS = config.load(
    {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "RETRY_DELAY_SECONDS": "0"}, dotenv=None
)


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
    attempt: int, outcome: Outcome, settled: str, error: str, wait: float | None
) -> None:
    settlement = result.settle("job", "token", attempt, outcome, SETTINGS, NOW)
    assert (settlement.outcome, settlement.error, settlement.wait) == (settled, error, wait)
