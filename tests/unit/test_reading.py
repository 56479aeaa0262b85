"""What the database answers becomes values once; what cannot be read of one row is that row's fault alone."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.helpers.nouns import NOW, row
from worker import config
from worker.jobs import Series
from worker.planning.plan import decide
from worker.store import reading

SETTINGS = config.load({"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k"}, dotenv=None)
RECURRING = {"is_recurring": True, "recurrence_pattern": "daily", "timezone": "Asia/Kolkata"}


def test_a_row_that_does_not_recur_has_no_series_whatever_stands_there() -> None:
    due = reading.due(row(recurrence_pattern="daily", recurrence_end_at="infinity", occurrence_at="never"))
    assert (due.series, due.fault, due.scheduled_at) == (None, None, NOW)


def test_the_times_of_a_series_are_instants_and_its_anchor_is_a_wall_time() -> None:
    due = reading.due(row(**RECURRING, series_anchor="2026-01-31T09:00:00", occurrence_at="2026-11-26 03:30:00+00"))
    anchor, occurrence = datetime(2026, 1, 31, 9), datetime(2026, 11, 26, 3, 30, tzinfo=UTC)
    assert due.series == Series("daily", None, "Asia/Kolkata", anchor, occurrence)


@pytest.mark.parametrize(
    "columns",
    [
        {"scheduled_at": "-infinity"},
        {"scheduled_at": "0044-03-15 00:00:00+00 BC"},
        {**RECURRING, "recurrence_end_at": "infinity"},
        {**RECURRING, "occurrence_at": "12026-01-01T00:00:00+00:00"},
        {**RECURRING, "series_anchor": "-infinity"},
        {**RECURRING, "series_anchor": "12026-01-01T00:00:00"},
    ],
    ids=str,
)
def test_a_row_with_a_time_that_nobody_can_read_fails_and_says_which(columns: dict[str, Any]) -> None:
    due = reading.due(row(**columns))
    decision = decide(due, None, SETTINGS, NOW)
    assert str(decision.error).startswith("not a time ")
    assert "between the years 1 and 9999" in str(decision.error)
    assert (decision.id, decision.recipient, decision.next_at) == (due.id, None, None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        (None, None),
        ("infinity", None),
        ("-infinity", reading.EARLIEST),
        ("2026-11-26T17:30:00+05:30", NOW),
    ],
)
def test_what_never_comes_is_nothing_and_what_has_been_for_ever_is_past(text: str | None, instant: object) -> None:
    assert reading.instant_or_none(text) == instant


def test_a_contact_of_which_nobody_says_anything_is_none() -> None:
    known = {
        "id": "r", "phone_number": None, "is_blocked": None, "connection_exists": True, "timezone": None,
        "country_code": None, "gateway": None,
    }  # fmt: skip
    found = reading.all_known({"known": [known, {**known, "id": "s", "connection_exists": False}]})
    assert found["r"] == replace(found["s"], connection_exists=True)
    assert reading.all_known({"known": None}) == {}


@pytest.mark.parametrize("missing", ["id", "revision", "scheduled_at", "message", "is_recurring"])
def test_a_row_that_lacks_a_column_is_somebody_else_s_answer(missing: str) -> None:
    found = row()
    del found[missing]
    with pytest.raises(KeyError):
        reading.due(found)
