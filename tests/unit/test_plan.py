"""What becomes of a due row: whom it goes to or why it fails, until when it is any use, and when its series goes on."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.nouns import due
from tests.helpers.nouns import row as as_read
from worker import config
from worker.jobs import Decision, Due, Known
from worker.planning.plan import decide, failed, spell
from worker.store import reading
from worker.store.store import PLANNED_ROW, objects, p_rows

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ROW = {"id": "r", "revision": 7, "owner_id": "o", "contact_id": "+919876543210", "scheduled_at": NOW}
DAILY = {"recurrence_pattern": "daily"}
CONTACT = {"contact_id": "42"}
KNOWN = {"connection_exists": True, "phone_number": "+91 98765 43210"}


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat()


USE = "use daily, weekly, monthly, yearly, weekdays or an RRULE such as FREQ=MONTHLY;BYDAY=1MO"
TIMES = ("scheduled_at", "recurrence_end_at", "series_anchor", "occurrence_at", "not_after")


def timed(fields: dict[str, Any]) -> dict[str, Any]:
    """The same, of which a test wrote the times as the database does."""
    return {
        name: datetime.fromisoformat(value) if name in TIMES and isinstance(value, str) else value
        for name, value in fields.items()
    }


def told(decision: Decision) -> SimpleNamespace:
    """As the database is told of it."""
    [found] = json.loads(p_rows(objects([decision], PLANNED_ROW))["p_rows"])
    return SimpleNamespace(**{name: found.get(name) for name in PLANNED_ROW})


def planned(
    row: dict[str, Any] | None = None, known: dict[str, Any] | None = None, **settings: object
) -> SimpleNamespace:
    given = {"SUPABASE_URL": "http://127.0.0.1:1", "SUPABASE_SERVICE_ROLE_KEY": "k", "GATEWAY": "mock"}
    given |= {name.upper(): str(value) for name, value in settings.items()}
    made = row if isinstance(row, Due) else due(**timed({**ROW, **(row or {})}))
    return told(decide(made, None if known is None else Known(**known), config.load(given, dotenv=None), NOW))


def test_what_is_planned_is_of_the_row_as_it_was_read() -> None:
    found = planned()
    assert (found.id, found.revision, found.recipient, found.error) == ("r", 7, "+919876543210", None)
    assert found.job_id != planned().job_id


def test_a_row_that_fails_after_all_keeps_whose_it_is_and_takes_its_series_no_further() -> None:
    decision = Decision("r", 7, "j", "+919876543210", next_at=NOW, timezone="UTC", phone="9876543210")
    assert failed(decision, "Refused.") == Decision("r", 7, "j", error="Refused.")


def test_what_could_not_be_read_fails_with_the_reason_that_was_found() -> None:
    assert planned({"fault": "The row has no time."}).error == "The row has no time."


def test_a_text_is_as_long_as_its_connections_gateway_takes() -> None:
    row = {"message": "x" * 5000}
    assert planned(row, {**KNOWN, "gateway": "waha"}).error is None
    assert "4096" in str(planned(row, {**KNOWN, "gateway": "cloud"}).error)


# --- Lateness


@pytest.mark.parametrize(
    ("limit", "late", "error"),
    [
        (0, {"days": 400}, None),
        (600, {"seconds": 600}, None),
        (600, {"seconds": -3600}, None),
        (600, {"seconds": 601}, "it was 10 min 1 s late, and messages later than 10 min are not sent"),
        (5400, {"days": 3, "hours": 2, "seconds": 5}, "it was 3 d 2 h late, and messages later than 1 h 30 min"),
    ],
)
def test_a_message_later_than_its_limit_is_not_sent(limit: float, late: dict[str, float], error: str | None) -> None:
    found = planned({"scheduled_at": ago(**late)}, max_lateness_seconds=limit)
    if error is None:
        assert (found.error, found.recipient) == (None, "+919876543210")
        due = NOW - timedelta(**late)
        assert found.expires_at == ((due + timedelta(seconds=limit)).isoformat() if limit else None)
    else:
        assert error in str(found.error)
        assert found.expires_at is None


@pytest.mark.parametrize(("limit", "expires"), [(0, 300), (600, 300), (120, 60)])
def test_a_message_is_of_use_until_its_own_end_or_its_limits(limit: float, expires: float) -> None:
    """A reminder, a minute late, whose appointment begins in five minutes."""
    found = planned({"scheduled_at": ago(minutes=1), "not_after": ago(minutes=-5)}, max_lateness_seconds=limit)
    assert found.error is None
    assert datetime.fromisoformat(found.expires_at) == NOW + timedelta(seconds=expires)


def test_what_is_of_no_use_any_more_is_not_sent_and_says_since_when() -> None:
    found = planned({"scheduled_at": ago(hours=3), "not_after": ago(minutes=90)})
    assert found.error == "Not sent: it would have come 1 h 30 min after it was of any use."
    assert planned({"scheduled_at": ago(hours=3), "not_after": ago()}).error is None  # to the last


def test_of_a_series_that_was_down_the_latest_is_of_use_as_long_as_the_missed_one_would_have_been() -> None:
    row = {"scheduled_at": ago(days=3, minutes=10), "not_after": ago(days=3, minutes=-20), **DAILY}
    found = planned(row)
    assert (found.error, found.missed) == (None, 3)
    assert found.expires_at == ago(minutes=-20)
    late = planned({**row, "not_after": ago(days=3, minutes=5)})
    assert late.error == "Not sent: it would have come 5 min after it was of any use."


def test_what_was_missed_counts_by_its_latest_occurrence() -> None:
    """A series that stood still for three days: the occurrence of five minutes ago is not three days late."""
    row = {**DAILY, "scheduled_at": ago(days=3, minutes=5)}
    found = planned(row, max_lateness_seconds=600)
    assert (found.error, found.missed, found.occurrence) == (None, 3, ago(minutes=5))
    assert found.expires_at == (NOW + timedelta(minutes=5)).isoformat()
    late = planned({**DAILY, "scheduled_at": ago(days=3, minutes=11)}, max_lateness_seconds=600)
    assert "11 min late" in str(late.error)


@pytest.mark.parametrize("fault", [{"scheduled_at": ago(hours=1)}, {"contact_id": "+1234"}, {"message": ""}])
def test_an_occurrence_that_fails_says_all_the_same_when_its_series_goes_on(fault: dict[str, Any]) -> None:
    found = planned({**DAILY, **fault}, max_lateness_seconds=600)
    assert found.error
    assert found.next_at
    assert found.timezone == "UTC"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90_000, "1 d 1 h"), (86_405, "1 d 5 s")],
)
def test_a_duration_is_told_by_its_two_largest_units(seconds: float, words: str) -> None:
    assert spell(timedelta(seconds=seconds)) == words


# --- Whom


def test_the_number_that_was_read_goes_along_so_that_a_change_of_it_is_noticed() -> None:
    found = planned(CONTACT, KNOWN)
    assert (found.recipient, found.phone) == ("+919876543210", "+91 98765 43210")
    assert planned(CONTACT, {**KNOWN, "phone_number": ""}).phone is None
    assert planned({"contact_id": "919876543210"}, {"connection_exists": True}).phone is None


@pytest.mark.parametrize("contact_id", ["+919876500001", "919876500001@c.us", "BR.1502576394655843"])
def test_what_names_a_person_itself_does_not_go_by_a_contact(contact_id: str) -> None:
    found = planned({"contact_id": contact_id}, {**KNOWN, "is_blocked": True})
    assert (found.recipient, found.phone, found.error) == (contact_id, None, None)


@pytest.mark.parametrize(
    ("known", "error"),
    [
        ({**KNOWN, "is_blocked": True}, "This contact is blocked"),
        ({**KNOWN, "connection_exists": False}, "does not exist any more"),
        ({**KNOWN, "phone_number": ""}, "has no phone number"),
        (None, "neither a contact nor a full phone number"),
    ],
)
def test_whom_nothing_can_be_sent_to_fails_with_a_reason(known: dict[str, Any] | None, error: str) -> None:
    found = planned(CONTACT, known)
    assert error in str(found.error)
    assert (found.recipient, found.phone) == (None, None)


def test_the_connections_country_and_gateway_come_before_the_environments() -> None:
    local = {"contact_id": "07400 123456"}
    known = {"connection_exists": True, "country_code": "GB"}
    assert planned(local, known, default_country_code="IN").recipient == "+447400123456"
    assert planned({"contact_id": "09876543210"}, {}, default_country_code="IN").recipient == "+919876543210"
    stranger = planned({"contact_id": "BR.1502576394655843"}, {"connection_exists": True, "gateway": "waha"})
    assert "only the WhatsApp Cloud API" in str(stranger.error)


@pytest.mark.parametrize(
    ("row", "known", "told"),
    [
        (CONTACT, {**KNOWN, "is_blocked": True}, "This contact is blocked. Unblock the contact to write to it."),
        (
            CONTACT,
            {**KNOWN, "connection_exists": False},
            "The WhatsApp connection of this message does not exist any more. Choose another one.",
        ),
        (
            {"scheduled_at": ago(seconds=601)},
            KNOWN,
            "Not sent: it was 10 min 1 s late, and messages later than 10 min are not sent any more.",
        ),
        ({**DAILY, "recurrence_pattern": None}, KNOWN, f"unknown recurrence pattern '': {USE}"),
    ],
)
def test_a_refusal_says_in_whole_what_is_wrong(row: dict[str, Any], known: dict[str, Any], told: str) -> None:
    assert planned(row, known, max_lateness_seconds=600).error == told


def test_a_setting_allows_links_without_encryption() -> None:
    row = {"type": "image", "media_url": "http://files.example.com/a.png"}
    assert planned(row).error
    assert planned(row, allow_http_media=True).error is None


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "document", "media": [{"url": "https://e.com/a.pdf", "caption": "\ud800"}]},
        {"type": "template", "media": {"name": "t", "language": "en", "components": [{"index": float("inf")}]}},
    ],
)
def test_what_no_gateway_can_be_sent_fails_before_anybody_is_dialled(fields: dict[str, Any]) -> None:
    assert str(planned(fields).error).startswith("It holds a value that cannot be sent")


# --- Its series


def test_the_whole_of_what_is_planned_of_a_series() -> None:
    """Berlin, an hour ahead of UTC: three of its days were missed."""
    row = {**DAILY, "scheduled_at": ago(days=3), "timezone": "europe/berlin"}
    found = planned({**row, "contact_id": "42"}, KNOWN, max_lateness_seconds=60)
    assert vars(found) == {
        **dict.fromkeys(PLANNED_ROW),
        "id": "r", "revision": 7, "job_id": found.job_id, "recipient": "+919876543210", "phone": "+91 98765 43210",
        "timezone": "Europe/Berlin", "anchor": "2026-11-23T13:00:00", "occurrence": ago(), "missed": 3,
        "next_at": ago(days=-1), "next_after": ago(days=-2), "expires_at": ago(seconds=-60),
    }  # fmt: skip


def test_a_retry_goes_on_where_its_series_went_on() -> None:
    began = {"series_anchor": "2026-11-20T12:00:00", "occurrence_at": ago(days=5), "next_id": "n"}
    row = {**DAILY, **began, "scheduled_at": ago(minutes=1)}
    found = planned(row)
    assert (found.anchor, found.next_at, found.next_after) == ("2026-11-20T12:00:00", ago(days=4), None)
    assert planned({**row, "recurrence_end_at": ago(days=4)}).next_at == ago(days=4)
    assert planned({**row, "recurrence_end_at": ago(days=4, seconds=1)}).next_at is None


def test_a_retry_is_as_late_as_it_was_asked_for_and_keeps_its_zone() -> None:
    began = {"series_anchor": "2026-11-20T17:30:00", "occurrence_at": ago(days=5), "next_id": "n"}
    row = {**DAILY, **began, "scheduled_at": ago(minutes=1), "timezone": "Asia/Kolkata"}
    found = planned(row, max_lateness_seconds=600)
    assert (found.error, found.timezone, found.next_at) == (None, "Asia/Kolkata", ago(days=4))
    assert found.expires_at == ago(minutes=-9)


def test_what_a_series_missed_after_its_end_is_not_counted() -> None:
    found = planned({**DAILY, "scheduled_at": ago(days=5), "recurrence_end_at": ago(days=2)})
    assert (found.occurrence, found.missed, found.next_at) == (ago(days=2), 3, None)


def test_no_series_leaves_the_years_that_the_table_takes() -> None:
    last = planned({**DAILY, "scheduled_at": "2199-12-31T12:00:00+00:00"})
    assert (last.error, last.next_at) == (None, None)


@pytest.mark.parametrize(
    ("row", "connection", "environment", "zone"),
    [
        ("Europe/Berlin", "Asia/Kolkata", "America/New_York", "Europe/Berlin"),
        (None, "Asia/Kolkata", "America/New_York", "Asia/Kolkata"),
        ("  ", "Asia/Kolkata", "America/New_York", "Asia/Kolkata"),
        (None, None, "America/New_York", "America/New_York"),
        (None, " ", "America/New_York", "America/New_York"),
    ],
)
def test_the_row_then_its_connection_then_the_environment_name_the_zone(
    row: str | None, connection: str | None, environment: str, zone: str
) -> None:
    known = {"connection_exists": True, "timezone": connection}
    found = planned({**DAILY, "timezone": row}, known, default_timezone=environment)
    assert found.timezone == zone


def test_a_series_keeps_the_wall_time_of_its_connections_zone() -> None:
    """New York leaves summer time on 1 November 2026, Kolkata has none: the zone decides about an hour."""
    row = {**DAILY, "scheduled_at": "2026-10-31T13:00:00+00:00", "recurrence_pattern": "FREQ=MONTHLY;BYMONTHDAY=-1"}
    known = {"connection_exists": True, "timezone": "America/New_York"}
    assert planned(row, known).next_at == "2026-11-30T14:00:00+00:00"
    assert planned(row, {**known, "timezone": "Asia/Kolkata"}).next_at == "2026-11-30T13:00:00+00:00"


def test_a_row_that_does_not_recur_needs_neither_a_zone_nor_a_pattern() -> None:
    found = planned(reading.due(as_read(recurrence_pattern="whenever", timezone="Mars/Olympus")))
    assert (found.error, found.timezone, found.next_at, found.occurrence) == (None, None, None, None)


@pytest.mark.parametrize("fault", [{"recurrence_pattern": "whenever"}, {"timezone": "Mars/Olympus"}])
def test_a_series_that_nobody_can_read_fails_and_does_not_go_on(fault: dict[str, Any]) -> None:
    found = planned({**DAILY, **fault})
    assert found.error
    assert (found.recipient, found.next_at) == (None, None)


def test_a_retry_of_an_occurrence_neither_skips_to_the_latest_nor_loses_its_place() -> None:
    at = ago(days=5)
    found = planned({**DAILY, "scheduled_at": ago(minutes=1), "occurrence_at": at, "next_id": "n"})
    assert (found.missed, found.occurrence, found.error) == (0, at, None)


def test_days_of_the_month_are_counted_from_the_series_anchor_and_not_from_the_last_short_month() -> None:
    row = {"scheduled_at": "2026-09-30T09:00:00+00:00", "series_anchor": "2026-08-31T09:00:00"}
    found = planned({**DAILY, **row, "recurrence_pattern": "monthly", "timezone": "UTC"})
    assert (found.occurrence, found.missed) == ("2026-10-31T09:00:00+00:00", 1)


def test_the_last_occurrence_has_no_next_one() -> None:
    end = (NOW + timedelta(hours=36)).isoformat()
    found = planned({**DAILY, "recurrence_end_at": end})
    assert (found.next_at, found.next_after) == ((NOW + timedelta(days=1)).isoformat(), None)
    assert planned({**DAILY, "recurrence_end_at": (NOW + timedelta(hours=23)).isoformat()}).next_at is None


GATEWAYS: dict[str, dict[str, object]] = {
    "mock": {},
    "cloud": {"whatsapp_phone_number_id": "1", "whatsapp_access_token": "t"},
    "waha": {"waha_url": "http://waha:3000"},
    "evolution": {"evolution_url": "http://evolution:8080", "evolution_api_key": "k"},
    "wppconnect": {"wppconnect_url": "http://wppconnect:21465", "wppconnect_token": "t"},
    "bullmq": {"redis_url": "redis://redis"},
}


@pytest.mark.parametrize(("gateway", "inside"), [(name, name not in ("mock", "cloud")) for name in GATEWAYS])
@pytest.mark.parametrize("whose", ["the environment's", "the connection's"])
def test_what_fetches_attachments_from_inside_our_network_is_not_sent_into_it(
    gateway: str, inside: bool, whose: str
) -> None:
    row = {"type": "image", "media_url": "https://10.0.0.5/a.png"}
    if whose == "the environment's":
        found = planned(row, gateway=gateway, **GATEWAYS[gateway])
    else:
        found = planned(row, {**KNOWN, "gateway": gateway})
    assert bool(found.error) is inside
    assert not inside or "points into a private network" in str(found.error)


def test_a_connections_own_gateway_is_asked_and_not_the_environments() -> None:
    row = {"type": "image", "media_url": "https://10.0.0.5/a.png"}
    cloud, waha = {"gateway": "cloud", **GATEWAYS["cloud"]}, {"gateway": "waha", **GATEWAYS["waha"]}
    assert planned(row, {**KNOWN, "gateway": "waha"}, **cloud).error
    assert planned(row, {**KNOWN, "gateway": None}, **cloud).error is None
    assert planned(row, {**KNOWN, "gateway": "cloud"}, **waha).error is None
    assert planned(row, {**KNOWN, "gateway": None}, **waha).error
