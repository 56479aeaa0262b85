"""Which run of a campaign begins, and why one does not."""

from datetime import UTC, datetime, timedelta

import pytest

from worker import config
from worker.jobs import Series
from worker.sources.campaigns import begins
from worker.store.campaigns import Start

NOON = datetime(2030, 2, 10, 12, tzinfo=UTC)
SETTINGS = config.load(
    {"SUPABASE_URL": "http://x", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "mock", "MAX_LATENESS_SECONDS": "3600"},
    dotenv=None,
)


def start(series=None):
    return Start("c", 1, NOON, NOON, series)


@pytest.mark.parametrize(("minutes", "begun"), [(0, True), (60, True), (61, False)])
def test_a_run_that_is_too_late_fails(minutes, begun):
    begin = begins(start(), SETTINGS, NOON + timedelta(minutes=minutes))

    assert begin.occurrence == NOON
    assert (begin.refusal is None) is begun
    assert begun or begin.refusal.startswith("Not sent: it was ")


def test_of_what_was_missed_the_latest_begins():
    daily = Series("daily", None, "UTC", None, NOON)

    begin = begins(start(daily), SETTINGS, NOON + timedelta(days=3, minutes=10))

    assert (begin.occurrence, begin.next_at) == (NOON + timedelta(days=3), NOON + timedelta(days=4))
    assert begin.refusal is None


def test_a_pattern_that_is_none_is_a_refusal():
    broken = Series("now and then", None, "UTC", None, NOON)

    assert "pattern" in begins(start(broken), SETTINGS, NOON).refusal
