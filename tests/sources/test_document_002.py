"""Document 002, sentence by sentence: what a user of scheduled campaigns sees through the API."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.helpers.accounts import only
from tests.helpers.zones import where_it_is_noon
from tests.sources.conftest import Shop, soon
from tests.sources.test_retries import counts


def history(shop: Shop, **params: str) -> list[dict]:
    """The page: campaigns with their runs."""
    select = "id,name,status,status_reason,scheduled_at,campaign_runs(status,status_reason,total,pending,sent,failed)"
    return list(shop.user.http.get("/campaigns", params={"select": select, "order": "name", **params}).json())


async def test_lifecycle_scheduled_then_processing_then_completed(shop, forward):
    shop.contacts(3)
    template = shop.template("Hello {name}, your {offer} is here")
    shop.campaign(template_id=template, message="", variables={"offer": "card"}, scheduled_at=soon(120))
    await forward()
    assert [(row["status"], row["campaign_runs"]) for row in history(shop)] == [("scheduled", [])]

    shop.time_comes()
    await forward(send=False)
    assert [run["status"] for run in history(shop)[0]["campaign_runs"]] == ["processing"]
    await forward()

    [row] = history(shop)
    [run] = row["campaign_runs"]
    assert (row["status"], run["status"], run["sent"]) == ("completed", "completed", 3)
    texts = shop.db.execute("select message from scheduled_messages order by source_position").fetchall()
    assert [text["message"] for text in texts] == [f"Hello Name {n}, your card is here" for n in range(3)]


async def test_it_sends_without_manual_action_and_within_a_minute_of_its_time(shop, forward):
    """The first messages are there before, due at that second."""
    shop.contacts(3)
    at = datetime.now(UTC) + timedelta(seconds=45)
    campaign = shop.campaign(scheduled_at=at.isoformat())

    await forward(send=False)

    due = [datetime.fromisoformat(m["due_at"]) for m in shop.messages(campaign)]
    assert len(due) == 3
    assert all(timedelta(0) <= one - at < timedelta(seconds=1) for one in due)


async def test_messages_go_out_at_29_a_second_at_most(shop, forward):
    shop.contacts(40)
    shop.settings(messages=29, period_seconds=1)
    campaign = shop.campaign()

    await forward(send=False)
    for _ in range(500):
        if not shop.run(campaign)["pending"]:
            break
        await forward()

    slots = [row["at"] for row in shop.db.execute(
        "select extract(epoch from send_at)::float as at from broadcast_jobs order by send_at"
    )]  # fmt: skip
    assert len(slots) == 40
    assert max(sum(start <= at < start + 1 for at in slots) for start in slots) <= 29


async def test_the_daily_usage_counter_is_updated(shop, forward):
    shop.contacts(7)
    shop.settings(daily_limit=100, timezone=where_it_is_noon())
    shop.campaign()
    await forward()
    usage = only(shop.user.http.post("/rpc/connection_usage", json={"connection_id": shop.connection}))
    assert (usage["sent_today"], usage["daily_limit"]) == (7, 100)
    [day] = shop.user.http.get("/daily_outcomes").json()
    assert (day["day"], day["sent"]) == (usage["today"], 7)


@pytest.mark.parametrize(
    ("written", "zone", "instant"),
    [
        ("2031-12-04T09:00:00", "Asia/Kolkata", "2031-12-04T03:30:00+00:00"),  # tomorrow morning
        ("2031-12-06T10:00:00", "America/New_York", "2031-12-06T15:00:00+00:00"),  # a Saturday
        ("2031-12-25T08:00:00", "Europe/Berlin", "2031-12-25T07:00:00+00:00"),  # Christmas
    ],
)
def test_examples_all_times_are_stored_in_utc(shop, written, zone, instant):
    shop.settings(timezone=zone)
    [contact] = shop.contacts(1)
    arguments = {"contact_ids": [contact], "message": "Hello", "scheduled_at": written}
    made = only(shop.user.http.post("/rpc/schedule_to_contacts", json=arguments))
    assert datetime.fromisoformat(shop.seen(made)["next_run_at"]) == datetime.fromisoformat(instant)


async def test_multiple_campaigns_run_simultaneously_and_none_waits_for_another(shop, other_shop, forward):
    for one in (shop, other_shop):
        one.contacts(120)
    shop.settings(messages=1, period_seconds=60)
    for n in range(3):
        shop.campaign(name=f"{n}")
    other_shop.campaign(name="of somebody else")

    await forward()

    of_each = Counter(
        row["source_id"] for row in shop.db.execute(
            "select source_id from scheduled_messages where connection_id = %s", (shop.connection,)
        )
    )  # fmt: skip
    # One has gone, and a window is filled up once half of it is free.
    assert sorted(of_each.values()) == [50, 50, 50]
    assert [row["campaign_runs"][0]["sent"] for row in history(other_shop)] == [120]


async def test_progress_shows_sent_failed_and_pending_counts(shop, forward):
    shop.contacts(5)
    shop.settings(messages=1, period_seconds=60)
    shop.campaign()
    await forward(send=False)
    shop.db.execute("update contacts set is_blocked = true where contact_name = 'Name 0'")
    await forward()
    [run] = history(shop)[0]["campaign_runs"]
    assert (run["total"], run["sent"], run["failed"], run["pending"]) == (5, 1, 1, 3)


async def test_after_a_restart_overdue_campaigns_are_processed_immediately(shop, forward):
    shop.contacts(2)
    shop.campaign(scheduled_at=soon(120))
    shop.time_comes(ago="3 hours")
    await forward()
    assert [run["sent"] for run in history(shop)[0]["campaign_runs"]] == [2]


async def test_but_not_what_is_later_than_the_operator_allows(shop, forward):
    shop.contacts(2)
    shop.campaign(scheduled_at=soon(120))
    shop.time_comes(ago="3 hours")
    await forward(max_lateness_seconds=3600)
    [row] = history(shop)
    assert (row["status"], row["campaign_runs"][0]["total"]) == ("failed", 0)
    assert "later than" in row["status_reason"]


async def test_if_the_daily_limit_is_exceeded_at_its_time_the_campaign_fails(shop, forward):
    shop.contacts(5)
    shop.settings(daily_limit=4)
    shop.campaign(at_daily_limit="fail")
    await forward()
    [row] = history(shop)
    assert (row["status"], row["campaign_runs"][0]["failed"]) == ("failed", 5)
    assert row["status_reason"].startswith("Nothing was sent: these are 5 messages")


async def test_credentials_are_required_when_it_is_scheduled(shop):
    shop.contacts(1)
    shop.db.execute("update connections set connected = false where id = %s", (shop.connection,))
    assert shop.refusal() == "The WhatsApp connection is not connected. Connect its phone first."


async def test_a_session_lost_by_then_is_told_and_what_waits_goes_when_it_is_back(shop, forward):
    """Not failed: the phone may be back in a minute. After `give_up_after` it is."""
    shop.contacts(2)
    campaign = shop.campaign(scheduled_at=soon(120))
    shop.db.execute("update connections set connected = false where id = %s", (shop.connection,))
    shop.time_comes()
    await forward()
    [run] = history(shop)[0]["campaign_runs"]
    assert (run["status"], run["pending"]) == ("processing", 2)
    assert run["status_reason"] == "The WhatsApp connection is not connected. Connect its phone first."

    shop.db.execute("update connections set connected = true where id = %s", (shop.connection,))
    await forward()
    assert (shop.run(campaign)["status"], shop.run(campaign)["status_reason"]) == ("completed", None)


async def test_a_connection_that_is_gone_by_then_fails_the_campaign_with_the_reason(shop, forward):
    shop.contacts(2)
    campaign = shop.campaign(scheduled_at=soon(120))
    shop.time_comes()
    shop.user.http.delete("/connections", params={"id": f"eq.{shop.connection}"})
    await forward()
    seen = shop.seen(campaign)
    assert (seen["status"], seen["status_reason"]) == (
        "failed", "The WhatsApp connection does not exist any more. Choose another one.",
    )  # fmt: skip


async def test_logs_all_activities(shop, forward):
    shop.contacts(2)
    campaign = shop.campaign()
    with capture_logs() as logs:
        await forward()
    run_id = shop.run(campaign)["id"]
    said = [(line["event"], line["run"]) for line in logs if line["event"] in ("a campaign begins", "a run is over")]
    assert said == [("a campaign begins", run_id), ("a run is over", run_id)]
    assert not any("98765" in str(line) for line in logs)


async def test_the_state_is_in_the_database_and_a_restart_goes_on(shop, parts, forward):
    """Another daemon goes on with a run that one has begun."""
    shop.contacts(60)
    shop.settings(messages=1, period_seconds=60)
    campaign = shop.campaign()
    first = await parts()
    for _ in range(4):
        await first.sources.move()
    shop.settings(messages=None, period_seconds=None)

    await forward()

    assert counts(shop.run(campaign)) == {"sent": 60}
