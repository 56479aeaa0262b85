"""Which run of a campaign begins, and why one does not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.gateways import server as wire
from worker import config
from worker.jobs import Series, Written
from worker.planning import plan
from worker.sources.campaigns import begins, why_never
from worker.store.api import Api
from worker.store.campaigns import Attachment, Campaigns, Start
from worker.store.clock import Clock
from worker.watch.metrics import Metrics

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


ROW = {
    "id": "c", "revision": 1, "scheduled_at": NOON.isoformat(), "next_run_at": NOON.isoformat(),
    "series_anchor": None, "timezone": "UTC", "is_recurring": True, "recurrence_pattern": "daily",
    "recurrence_end_at": None, "attachment": None,
}  # fmt: skip


async def starts(*rows: dict[str, Any]) -> list[Start]:
    """As the daemon reads them of an agenda."""
    agenda = {"starts": [*rows], "runs": None, "has_ended": False}
    async with wire.Server([wire.answer(200, [agenda])]) as server:
        asked = SETTINGS.model_copy(update={"supabase_url": server.url})
        api = await Api.connect(asked, Clock(), Metrics(), attempts=1)
        try:
            return (await Campaigns(api).get_agenda()).starts
        finally:
            await api.aclose()


@pytest.mark.parametrize("end", ["infinity", "-infinity", "12026-01-01T00:00:00+00:00", "0044-03-15T00:00:00+00:00 BC"])
async def test_one_whose_end_no_calendar_has_does_not_begin_and_all_others_do(end):
    strange, other, never_again = await starts(
        {**ROW, "recurrence_end_at": end},
        {**ROW, "id": "d"},
        {**ROW, "id": "e", "is_recurring": False, "recurrence_end_at": end},
    )
    assert "between the years 1 and 9999" in begins(strange, SETTINGS, NOON).refusal
    assert begins(other, SETTINGS, NOON).refusal is None
    assert begins(never_again, SETTINGS, NOON).refusal is None


FILE = Attachment(Written("image", None, "https://e.com/a.png", None, None), None)
DAILY = Series("daily", None, "UTC", None, NOON)


@pytest.mark.parametrize("place", ["step_of", "read"])
def test_one_that_we_cannot_even_think_about_does_not_begin_and_the_daemon_goes_on(monkeypatch, place):
    def unexpected(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(plan, place, unexpected)
    begin = begins(Start("c", 1, NOON, NOON, DAILY, FILE), SETTINGS, NOON)
    assert begin.refusal == "This campaign could not be understood. The operator's log says why."
    if place == "read":
        assert why_never(FILE, SETTINGS) == begin.refusal


def test_what_this_machine_lacks_is_no_campaigns_fault(monkeypatch):
    def lacking(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(plan, "step_of", lacking)
    with pytest.raises(OSError, match="Too many open files"):
        begins(start(DAILY), SETTINGS, NOON)
