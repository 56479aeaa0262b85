"""Document 000, sentence by sentence: what a clinic sees through the API as its signed-in user."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.helpers.accounts import only
from tests.sources.conftest import Shop, soon
from tests.sources.test_retries import counts, retry


@pytest.fixture
def clinic(shop: Shop) -> Shop:
    """With fifty patients, and twelve seconds between two messages."""
    shop.contacts(50, "patient")
    shop.user.insert("connection_settings", connection_id=shop.connection, timezone="Asia/Kolkata")
    shop.settings(messages=1, period_seconds=12)
    return shop


def unpaced(clinic: Shop) -> None:
    clinic.settings(messages=None, period_seconds=None)


def patients(clinic: Shop, **params: str) -> list[int]:
    found = clinic.user.http.get("/contacts", params={"select": "id", "order": "id", **params}).json()
    return [one["id"] for one in found]


def answer(clinic: Shop, ids: list[int], at: str, message: str = "We are closed on Friday."):
    arguments = {"contact_ids": ids, "message": message, "scheduled_at": at}
    return clinic.user.http.post("/rpc/schedule_to_contacts", json=arguments)


def schedule(clinic: Shop, ids: list[int], at: str | None = None, message: str = "We are closed on Friday.") -> dict:
    return only(answer(clinic, ids, at or soon(0), message))


def history(clinic: Shop) -> list[dict]:
    """What the panel shows, in one request."""
    select = "id,message,scheduled_at,status,created_at,audience,campaign_runs(status,total,sent,failed,finished_at)"
    return list(clinic.user.http.get("/campaigns", params={"select": select, "order": "scheduled_at"}).json())


def test_search_and_select_multiple_patients_all_or_individual(clinic):
    assert len(patients(clinic)) == 50
    assert len(patients(clinic, contact_name="ilike.*Name 1*")) == 11
    assert schedule(clinic, patients(clinic), soon(600))["recipient_count"] == 50


def test_maximum_50_patients_per_scheduled_message(clinic):
    ids = patients(clinic) + clinic.contacts(1, first=50)
    refused = answer(clinic, ids, soon(600))
    assert (refused.status_code, refused.json()["message"]) == (
        400, "At most 50 at once can be written to; these are 51.",
    )  # fmt: skip


def test_the_request_is_ids_a_text_and_an_iso_time_and_the_answer_has_the_id(clinic):
    made = schedule(clinic, patients(clinic)[:3], "2030-01-15T14:30:00", "Your message text")

    seen = clinic.seen(made)
    assert (seen["message"], seen["status"]) == ("Your message text", "scheduled")
    assert seen["audience"] == {"contacts": patients(clinic)[:3]}
    assert (seen["connection_id"], seen["created_by"]) == (clinic.connection, clinic.user.id)
    assert datetime.fromisoformat(seen["scheduled_at"]) == datetime(2030, 1, 15, 9, tzinfo=UTC)  # stored in UTC


@pytest.mark.parametrize("at", ["15/01/2030 14:30", "soon", "2024-01-15T14:30:00"])
def test_it_validates_the_format_and_that_it_is_in_the_future(clinic, at):
    assert answer(clinic, patients(clinic)[:1], at).status_code == 400
    assert history(clinic) == []


def test_it_verifies_that_all_patients_are_the_clinics_and_have_numbers(clinic, other_shop):
    [theirs] = other_shop.contacts(1)
    ours = patients(clinic)[:2]
    assert answer(clinic, [*ours, theirs], soon(600)).json()["message"] == f"There are no such contacts: {theirs}."
    clinic.db.execute("update contacts set phone_number = null where id = %s", (ours[1],))
    assert answer(clinic, ours, soon(600)).json()["message"] == "No phone number: Name 1. Add it, or leave them out."
    assert history(clinic) == []


async def test_before_its_time_nothing_is_sent_and_when_it_has_come_all_is(clinic, forward):
    unpaced(clinic)
    made = schedule(clinic, patients(clinic)[:3], soon(3600))
    await forward()
    assert [one["campaign_runs"] for one in history(clinic)] == [[]]

    clinic.time_comes()
    await forward()

    [row] = history(clinic)
    [run] = row["campaign_runs"]
    assert (row["id"], row["message"], row["status"]) == (made["id"], "We are closed on Friday.", "completed")
    assert (run["status"], run["total"], run["sent"], run["failed"]) == ("completed", 3, 3, 0)
    assert datetime.fromisoformat(run["finished_at"]) >= datetime.fromisoformat(row["created_at"])


async def test_phone_numbers_are_those_of_the_moment_of_sending(clinic, forward):
    unpaced(clinic)
    ids = patients(clinic)[:2]
    made = schedule(clinic, ids, soon(3600))
    clinic.db.execute("update contacts set phone_number = '+919999900000' where id = %s", (ids[0],))
    clinic.time_comes()

    await forward()

    recipients = clinic.db.execute("select recipient from broadcast_jobs order by recipient").fetchall()
    assert [row["recipient"] for row in recipients] == ["+919876500001", "+919999900000"]
    assert clinic.run(made)["sent"] == 2


async def test_12_seconds_lie_between_each_message_so_50_take_about_10_minutes(clinic, forward):
    at = datetime.now(UTC)
    made = schedule(clinic, patients(clinic), at.isoformat())
    assert timedelta(minutes=9.5) < datetime.fromisoformat(made["estimated_finish_at"]) - at < timedelta(minutes=10.5)

    await forward()

    assert clinic.run(made)["sent"] == 1
    waiting = {m["waiting_reason"] for m in clinic.messages(made) if m["status"] != "sent"}
    assert waiting == {"its turn: at most 1 in 12 s"}


async def test_one_that_fails_is_counted_and_does_not_stop_the_rest_and_the_status_is_partial(clinic, forward):
    unpaced(clinic)
    ids = patients(clinic)[:5]
    made = schedule(clinic, ids)
    await forward(send=False)
    clinic.db.execute("update contacts set is_blocked = true where id = %s", (ids[2],))

    await forward()

    [run] = history(clinic)[0]["campaign_runs"]
    assert (run["status"], run["total"], run["sent"], run["failed"]) == ("partial", 5, 4, 1)
    errors = [m["error"] for m in clinic.messages(made) if m["status"] == "failed"]
    assert errors == ["This contact is blocked. Unblock the contact to write to it."]


async def test_the_status_is_failed_where_nothing_could_be_sent(clinic, forward):
    unpaced(clinic)
    made = schedule(clinic, patients(clinic)[:2])
    await forward(send=False)
    clinic.db.execute("update contacts set is_blocked = true")
    await forward()
    assert (clinic.run(made)["status"], counts(clinic.run(made))) == ("failed", {"failed": 2})


async def test_future_enhancement_cancel(clinic, forward):
    made = schedule(clinic, patients(clinic))
    await forward()
    clinic.set(made, status="cancelled")
    assert (clinic.run(made)["status"], counts(clinic.run(made))) == ("cancelled", {"sent": 1, "cancelled": 49})


async def test_future_enhancement_retry_failed(clinic, forward):
    unpaced(clinic)
    made = schedule(clinic, patients(clinic)[:3])
    await forward(send=False)
    clinic.db.execute("update contacts set is_blocked = true where contact_name = 'Name 1'")
    await forward()
    clinic.db.execute("update contacts set is_blocked = false")
    assert retry(clinic, clinic.run(made)["id"]) == {"retried": 1, "left_out": []}
    await forward()
    assert (clinic.run(made)["status"], counts(clinic.run(made))) == ("completed", {"sent": 3})


@pytest.mark.parametrize("pattern", ["daily", "weekly", "monthly"])
async def test_future_enhancement_recurring_with_time_zone(clinic, forward, pattern):
    unpaced(clinic)
    made = schedule(clinic, patients(clinic)[:1], soon(600))
    clinic.set(made, is_recurring=True, recurrence_pattern=pattern, timezone="Asia/Kolkata", max_recipients=50)
    clinic.time_comes()
    await forward()
    assert clinic.run(made)["sent"] == 1
    seen = clinic.seen(made)
    ahead = datetime.fromisoformat(seen["next_run_at"]) - datetime.now(UTC)
    assert ahead > timedelta(hours=23) * {"daily": 1, "weekly": 7, "monthly": 28}[pattern]
    wall = datetime.fromisoformat(seen["scheduled_at"]).astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None)
    assert datetime.fromisoformat(seen["series_anchor"]) == wall


def test_run_once_for_cron(clinic, daemon):
    unpaced(clinic)
    made = schedule(clinic, patients(clinic)[:2])
    once = daemon("once")
    assert once.wait(60) == 0, once.text
    assert (clinic.run(made)["status"], clinic.run(made)["sent"]) == ("completed", 2)
